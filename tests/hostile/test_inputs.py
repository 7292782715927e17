"""Whatever stands in a file that somebody brings: it is read, or one short line says what is wrong. Nothing hangs."""

import contextlib
import gzip
import io
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import classify
from catalog import tables, text_lines
from catalog.context import Snippet, read_entries
from catalog.errors import ShelfmarkError, nearest
from catalog.products import products_from_frame, read_labels, read_products
from catalog.schema import PRESETS, load_schema
from catalog.tables import read_table
from catalog.taxonomy import Taxonomy
from classify.costs import load_prices
from classify.scoring import evaluate_files
from classify.search.generic import read_endpoint
from finetune.cards import load_cards
from finetune.recipe import load_recipe
from postprocess.answers import read_answers
from submissions.archive import validate_archive, write_submission
from submissions.scoreboard import read_scoreboard
from tests.hostile.mutate import RAW, toml, write_mutant

SCHEMA = PRESETS["indoml"]
LABEL = dict(zip(SCHEMA.levels, ("food", "dairy", "milk", "own"), strict=True))


def product(name: Any, **changes: Any) -> dict[str, Any]:
    return {"indoml_id": name, "description": f"milk {name}", "retailer": "tesco", "price": 1.5, **LABEL, **changes}


ROWS = [product(name) for name in range(1, 6)]


def refusal(work: Callable[[], Any]) -> str:
    with pytest.raises(ShelfmarkError) as error:
        work()
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 2_000
    return line


def lines_of(path: Path) -> str:
    return refusal(lambda: read_products(path, SCHEMA, labels=True))


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return path


# Bounds.


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("," * 300_000, "300,001 columns; keep those of the schema"),
        (",".join(f"c{number}" for number in range(60_000)), "60,000 columns; keep those of the schema"),
        (",".join(f"c{number}" for number in range(9_000)), "no column 'indoml_id'"),
        ("a," * 4_000 + "b", "two columns are called 'a'"),
        (",".join("x" * 5_000 + str(number) for number in range(500)), "no column 'indoml_id'"),
    ],
)
def test_a_header_without_end(tmp_path: Path, header: str, said: str) -> None:
    path = write(tmp_path / "a.csv", header + "\n" + header + "\n")
    assert said in lines_of(path)
    keys = header.split(",")
    if len(set(keys)) == len(keys):
        path = write(tmp_path / "a.jsonl", json.dumps(dict.fromkeys(keys, 1)))
        assert said in lines_of(path)


def test_names_are_compared_as_far_as_that_takes_no_time() -> None:
    assert nearest("x" * 100_000, ["x" * 100_000]) == ""
    assert nearest("price", ["x" * 10**6, "pirce"]) == " (did you mean 'pirce'?)"


def test_a_key_that_stands_twice_among_many(tmp_path: Path) -> None:
    keys = ", ".join(f'"k{number}": 1' for number in range(100_000))
    assert "'last' stands twice" in lines_of(write(tmp_path / "a.jsonl", f'{{{keys}, "last": 1, "last": 2}}'))


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".jsonl.gz"])
def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(text_lines, "MOST_LINE", 1 << 20)
    content = b"x" * (1 << 21)
    path = write(tmp_path / f"a{suffix}", gzip.compress(content, 1) if suffix.endswith("gz") else content)
    assert "line 1: longer than 1 MiB" in lines_of(path)


def test_a_quote_that_is_never_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_LINE", 1 << 16)
    path = write(tmp_path / "a.csv", 'a,b\n1,2\n3,"4\n' + "5,6\n" * 50_000)
    assert "line 3: not CSV (a row of more than" in refusal(lambda: list(read_table(path)))


def test_gzipped_text_that_swells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "UNSUSPICIOUS", 1 << 16)
    path = write(tmp_path / "a.jsonl.gz", gzip.compress(b"\n" * (1 << 22)))
    assert "more than 200 times its size" in lines_of(path)


def test_a_zip_that_swells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("submissions.archive.UNSUSPICIOUS", 1 << 16)
    test = write(tmp_path / "t.jsonl", json.dumps(ROWS[0]))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as out:
        row = json.dumps({"indoml_id": 1, **LABEL}) + "\n"
        out.writestr("a.predict", row * 50_000)
    said = refusal(lambda: validate_archive(tmp_path / "a.zip", test, SCHEMA))
    assert "more than 200 times its size" in said


@pytest.mark.parametrize("text", ["<!--" * 5_000, "<script>" * 2_500, "<script" * 2_800, "<style></script>" * 1_250])
def test_markup_that_is_never_closed(text: str) -> None:
    assert Snippet.of(text + " tea").text.count("<") == 0


def test_markup_goes_with_what_is_in_it() -> None:
    text = "a<!-- x -->b<SCRIPT>x</script >c<style>x</script></style>d<script>e"
    assert Snippet.of(text).text == "a b c d e"


def test_marks_that_take_their_number_squared(tmp_path: Path) -> None:
    marks = "a" + "\u0301\u0316" * 30_000
    assert "accents" in lines_of(write(tmp_path / "a.jsonl", json.dumps(product(1, description=marks))))
    line = json.dumps({"query": marks, "snippets": []})
    assert "accents" in refusal(lambda: list(read_entries(write(tmp_path / "c.jsonl", line + "\n"))))


# Values.


@pytest.mark.parametrize("column", ["indoml_id", "description", "retailer", "price", "brand", "other"])
@pytest.mark.parametrize("value", RAW.values(), ids=RAW)
def test_any_json_in_any_column(tmp_path: Path, column: str, value: str) -> None:
    row = json.dumps({**ROWS[0], column: "HERE"}).replace('"HERE"', value)
    path = write(tmp_path / "a.jsonl", row + "\n" + json.dumps(product(99)) + "\n")
    with contextlib.suppress(ShelfmarkError):
        assert len(read_products(path, SCHEMA, labels=True)) == 2
    with contextlib.suppress(ShelfmarkError):
        read_answers(path, SCHEMA)


def test_what_two_kinds_of_files_say_twice_is_refused_in_both(tmp_path: Path) -> None:
    row = json.dumps(ROWS[0])
    twice = write(tmp_path / "a.jsonl", row[:-1] + ', "brand": "other"}')
    assert "line 1: the key 'brand' stands twice" in lines_of(twice)
    columns = {name: pa.array([value]) for name, value in ROWS[0].items()}
    both = pa.Table.from_arrays([*columns.values(), columns["brand"]], names=[*columns, "brand"])
    pq.write_table(both, tmp_path / "a.parquet")
    assert "two columns are called 'brand'" in lines_of(tmp_path / "a.parquet")


@pytest.mark.parametrize("value", [1e300, 2.0**60, 10**600, True, "x" * 600], ids=lambda value: str(value)[:9])
def test_what_is_no_id(value: Any) -> None:
    assert "column 'id'" in refusal(lambda: tables.Row("FILE", "line 1", {"id": value}).id("id"))


STRANGE = {
    "not UTF-8": pa.array([b"\xff\xfe"] * 2).view(pa.string()),
    "no year of Python's": pa.array([2**60] * 2).cast(pa.timestamp("us")),
    "no time zone": pa.array([1, 2]).cast(pa.timestamp("s", "No/Where")),
    "decimals": pa.array([1, 2]).cast(pa.decimal128(30, 2)),
    "maps": pa.array([[("a", 1)]] * 2, pa.map_(pa.string(), pa.int64())),
    "structs": pa.array([{"a": [1]}] * 2),
    "nothing": pa.nulls(2),
    "durations": pa.array([2**62] * 2).cast(pa.duration("ns")),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_strange_columns_of_parquet(tmp_path: Path, kind: str) -> None:
    rows = {name: pa.array([row[name] for row in ROWS[:2]]) for name in ROWS[0]}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({**rows, "other": STRANGE[kind]}), path)
    assert len(read_products(path, SCHEMA, labels=True)) == 2  # nobody asked for it
    assert len(list(read_table(path))) == 2
    for column in ("indoml_id", "description", "price", "brand"):
        pq.write_table(pa.table({**rows, column: STRANGE[kind]}), path)
        with contextlib.suppress(ShelfmarkError):
            read_products(path, SCHEMA, labels=True)


def test_repeated_text_of_parquet_is_read(tmp_path: Path) -> None:
    rows = {name: pa.array([row[name] for row in ROWS]) for name in ROWS[0]}
    rows["brand"] = rows["brand"].dictionary_encode()
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    assert read_products(tmp_path / "a.parquet", SCHEMA, labels=True).labels == [tuple(LABEL.values())] * 5


def frame(**changes: Any) -> pd.DataFrame:
    return pd.DataFrame(ROWS[:2]).assign(**changes)


class Rude:
    """An object that answers nothing."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __float__ = __eq__ = __repr__  # type: ignore[assignment]
    __hash__ = object.__hash__


@pytest.mark.parametrize("column", ["indoml_id", "description", "retailer", "price", "brand"])
@pytest.mark.parametrize(
    "value",
    [
        pd.NA, pd.NaT, None, [1, 2], np.array([1.0, np.nan]), {"a": 1}, Rude(), 10**5000, b"x", np.datetime64("2024"),
        pd.Timestamp("2024-01-01"), 1 + 2j, "\ud800", pd.DataFrame({"a": [1]}),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_any_object_in_a_frame(column: str, value: Any) -> None:
    cells = pd.Series([value, frame()[column].iloc[1]], dtype=object)
    with contextlib.suppress(ShelfmarkError):
        products_from_frame(frame(**{column: cells}), SCHEMA, labels=True)


def test_frames_of_odd_shapes() -> None:
    twice = pd.concat([frame(), frame()[["price"]]], axis=1)
    assert "two columns 'price'" in refusal(lambda: products_from_frame(twice, SCHEMA))
    numbered = frame().set_axis(range(frame().shape[1]), axis=1)
    assert "no column" in refusal(lambda: products_from_frame(numbered, SCHEMA))
    nested = pd.concat({"x": frame()}, axis=1)
    assert "no column" in refusal(lambda: products_from_frame(nested, SCHEMA))
    odd = frame(retailer=pd.Categorical(["a", None]), indoml_id=pd.Series([np.int64(3), "x"], dtype=object))
    odd.index = pd.MultiIndex.from_tuples([(1, 1), (1, 1)])
    found = products_from_frame(odd, SCHEMA)
    assert (found.ids, found.retailers) == ([3, "x"], ["a", ""])
    for wrong in (None, 7, {"a": 1}, []):
        assert refusal(lambda wrong=wrong: classify.fit(wrong, strategy="rag"))


# Everything at once.


def test_mutants_are_read_or_refused(tmp_path: Path) -> None:
    test = write(tmp_path / "test.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS))
    batch = [
        {"custom_id": f"{row['indoml_id']}", "response": {"status_code": 200, "body": {"choices": []}}} for row in ROWS
    ]
    answers = [{"indoml_id": row["indoml_id"], "answer": "milk"} for row in ROWS]
    labels = [{"indoml_id": row["indoml_id"], **LABEL} for row in ROWS]
    counted = [{**LABEL, "brand": f"b{number}", "count": number} for number in range(1, 5)]
    board = [
        {"number": 1, "score": 0.5, "file_name": "a", "date_time": "2024-01-01", "size_bytes": 3, "status": "scored"}
    ]
    snippets = [{"description": "milk", "snippet": "white"}, {"description": "tea", "snippet": "green"}]
    readers: list[tuple[list[dict[str, Any]], Callable[[Path], object]]] = [
        (ROWS, lambda path: read_products(path, SCHEMA, labels=True)),
        (labels, lambda path: read_labels(path, SCHEMA)),
        (labels, lambda path: evaluate_files(path, test, SCHEMA, by="brand")),
        (labels, lambda path: write_submission(path, test, SCHEMA, tmp_path / "s.zip", "s")),
        (counted, lambda path: Taxonomy.read(path, SCHEMA)),
        (answers, lambda path: read_answers(path, SCHEMA)),
        (batch, lambda path: read_answers(path, SCHEMA)),
        (board, read_scoreboard),
        (snippets, lambda path: list(read_entries(path))),
    ]
    for seed in range(int(os.environ.get("SHELFMARK_MUTANTS", "25"))):
        for number, (rows, read) in enumerate(readers):
            path = write_mutant(tmp_path, f"m{number}", rows, seed)
            with contextlib.suppress(ShelfmarkError):
                read(path)


def test_settings_are_read_or_refused(tmp_path: Path) -> None:
    schema = ['id = "a"', 'text = ["b"]', 'levels = ["c"]', 'price = "p"']
    prices = ['["m"]', "input = 1", "output = 2.0", "batch = 0.5"]
    endpoint = ['url = "http://h/s?q={query}"', 'method = "POST"', 'headers = {a = "b"}', 'body = {q = "{query}"}']
    cards = ["[cards.x]", "memory = 1", "dollars = 2"]
    recipe = ["rank = 8", "epochs = 1.5", 'base = "x"']
    readers: list[tuple[list[str], Callable[[str], object]]] = [
        (schema, load_schema),
        (prices, load_prices),
        (endpoint, read_endpoint),
        (cards, load_cards),
        (recipe, load_recipe),
    ]
    for seed in range(int(os.environ.get("SHELFMARK_MUTANTS", "25"))):
        for lines, read in readers:
            path = write(tmp_path / "m.toml", toml(lines, random.Random(seed)))
            with contextlib.suppress(ShelfmarkError):
                read(str(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [("a" + ".a" * 5_000 + "=1", "dots"), ("#" * 100_000, "larger than 64 KiB"), (b"a='\xff'", "byte 4 is not UTF-8")],
)
def test_settings_that_are_none(tmp_path: Path, text: str | bytes, said: str) -> None:
    assert said in refusal(lambda: load_schema(str(write(tmp_path / "s.toml", text))))


@pytest.mark.parametrize("damage", range(40))
def test_damaged_zips(tmp_path: Path, damage: int) -> None:
    test = write(tmp_path / "t.jsonl", json.dumps(ROWS[0]))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.predict", json.dumps({"indoml_id": 1, **LABEL}) + "\n")
    chance = random.Random(damage)
    content = bytearray(out.getvalue())
    for _ in range(chance.randrange(1, 4)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    with contextlib.suppress(ShelfmarkError):
        validate_archive(write(tmp_path / "a.zip", bytes(content)), test, SCHEMA)


def test_a_day_at_the_end_of_the_calendar(tmp_path: Path) -> None:
    head = "number,score,file_name,date_time,size_bytes,status\n"
    board = write(tmp_path / "b.csv", head + "1,,a.zip,0001-01-01T00:00:00+23:00,1,ready\n")
    assert "is not a date and time" in refusal(lambda: read_scoreboard(board))
    board = write(tmp_path / "b.csv", head + f"1,,a.zip,{datetime.now(UTC).isoformat()},{'9' * 5000},ready\n")
    assert "is not a size" in refusal(lambda: read_scoreboard(board))


# The process around it.


def run(script: str, folder: Path, **environment: str) -> tuple[int, str]:
    """Run a line of a shell in which ``$C`` is the command; return its exit code and what is in the file ``e``."""
    settings = {**os.environ, "C": f"{sys.executable} -m classify.cli", **environment}
    settings["PYTHONPATH"] = str(Path(__file__).parents[2])
    code = subprocess.run(["bash", "-c", script], cwd=folder, env=settings, check=False).returncode
    said = (folder / "e").read_text(encoding="utf-8", errors="replace") if (folder / "e").exists() else ""
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    return code, said


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("ulimit -v 600000; $C evaluate a b >o 2>e", 2, "address space"),
        ("ulimit -n 16; $C evaluate a b >o 2>e", 2, "open 16 files"),
        ("$C evaluate a b >&- 2>&-", 2, ""),
        ("$C evaluate a b >o 2>/dev/full", 2, ""),
        ("$C --help >/dev/full 2>e", 2, "No space left"),
        ("set -o pipefail; $C --help 2>e | true", 141, ""),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONIOENCODING=ascii $C evaluate d\u00fc/\udcff b >o 2>e", 2, "no such file"),
    ],
)
def test_a_process_that_has_little(tmp_path: Path, script: str, code: int, said: str) -> None:
    found, line = run(script, tmp_path)
    assert found == code
    assert said in line
    assert line.count("\n") <= 1
