import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import ShelfmarkError
from catalog.tables import Row, read_table, table_kind

ODD = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["a/b", "a | b", 'say "x"', "two\nlines", "two\r\nlines", "a,b;c\td", "日本", "\ufeff", "'", " ", "\x00", "\u2028"]
)


def values(path: Path, **kwargs: Any) -> list[dict[str, Any]]:
    return [row.values for row in read_table(path, **kwargs)]


def message(path: Path, **kwargs: Any) -> str:
    with pytest.raises(ShelfmarkError) as error:
        list(read_table(path, **kwargs))
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text.removeprefix(str(path))


def row(**cells: Any) -> Row:
    return Row("FILE", "line 7", cells)


@given(st.lists(st.tuples(ODD, ODD), min_size=1, max_size=6))
def test_any_text_survives_json_lines(tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.mktemp("t") / "a.jsonl"
    rows = [{"a": first, "b": second} for first, second in cells]
    text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in rows)
    path.write_bytes(text.encode())
    assert values(path) == rows
    with gzip.open(f"{path}.gz", "wb") as stream:
        stream.write(text.encode())
    assert values(Path(f"{path}.gz")) == rows


@given(st.lists(st.tuples(ODD, ODD), min_size=1, max_size=6), st.sampled_from(["csv", "tsv"]))
def test_any_text_survives_csv(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]], kind: str
) -> None:
    path = tmp_path_factory.mktemp("t") / f"a.{kind}"
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="," if kind == "csv" else "\t", quoting=csv.QUOTE_ALL)
        writer.writerows([("a", "b"), *cells])
    assert values(path) == [{"a": first, "b": second} for first, second in cells]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"id": [1, 2], "text": ["a/b", None], "price": [1.5, None]}).to_parquet(path)
    rows = list(read_table(path))
    assert (rows[0].id("id"), rows[0].text("text"), rows[0].price("price")) == (1, "a/b", 1.5)
    assert rows[1].text("text") == ""
    assert rows[1].price("price") != rows[1].price("price")
    assert rows[1].place == "row 2"


def test_a_byte_order_mark_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n  \n{"a": 2}')
    assert [(r.place, r.values) for r in read_table(path)] == [("line 1", {"a": 1}), ("line 4", {"a": 2})]
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n1,2\r\n\r\n3,4\r\n")
    assert values(path) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_rows_of_csv_know_the_line_on_which_they_begin(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b\n"1\n2",x\n3,y\n')
    assert [r.place for r in read_table(path)] == ["line 2", "line 4"]


@pytest.mark.parametrize(
    ("name", "kind"), [("a.CSV", ".csv"), ("a.features.gz", ".features"), ("b.parquet", ".parquet")]
)
def test_kinds(name: str, kind: str) -> None:
    assert table_kind(name) == kind


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.gz", "a.zip"])
def test_other_kinds_are_refused(tmp_path: Path, name: str) -> None:
    assert message(tmp_path / name) == ": no such file"
    (tmp_path / name).write_text("something")
    assert message(tmp_path / name).startswith(": cannot tell its kind; name it .jsonl, ")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert message(tmp_path / "a.csv") == ": no such file"
    (tmp_path / "b.csv").mkdir()
    assert message(tmp_path / "b.csv") == ": a folder, not a file"


@pytest.mark.parametrize(
    ("name", "content"), [("a.jsonl", ""), ("a.jsonl", "\n \n"), ("a.csv", ""), ("a.csv", "a,b\n")]
)
def test_empty_files(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert message(tmp_path / name) == ": it has no rows"


def test_an_empty_parquet_file(tmp_path: Path) -> None:
    pd.DataFrame({"a": []}).to_parquet(tmp_path / "a.parquet")
    assert message(tmp_path / "a.parquet") == ": it has no rows"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"a": 1,}', ", line 48211, column 9: not JSON ("),
        ('{"a": 1', ", line 48211, column 8: not JSON (Expecting ',' delimiter); write one object a line"),
        ("a,b", ", line 48211, column 1: not JSON (Expecting value); write one object a line"),
        ("[1]", ", line 48211: [1] is not an object; write one object a line"),
        ("null", ", line 48211: None is not an object; write one object a line"),
        ("[" * 100_000, ", line 48211: nested too deep; write one flat object a line"),
        ('{"a": 1' + "0" * 5000 + "}", ", line 48211: a number of more than 4,300 digits"),
    ],
)
def test_wrong_json_says_which_line(tmp_path: Path, line: str, expected: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' * 48210 + line + "\n")
    assert message(path).startswith(expected)


def test_wrong_encoding_says_which_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"a": "x"}\n{"a": "caf\u00e9"}\n'.encode("latin-1"))
    assert message(path) == ", line 2, byte 11: not UTF-8; save the file as UTF-8"
    path.write_bytes('{"a": "x"}\n'.encode("utf-16"))
    assert message(path) == ": UTF-16 text; save it as UTF-8"


def test_damaged_gzip(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    whole = gzip.compress(b'{"a": "some text, and more"}\n' * 1000, mtime=0)
    path.write_bytes(whole[:-20])
    assert "damaged gzip data" in message(path)
    path.write_bytes(b"not gzip at all")
    assert message(path).startswith(", after line 0: damaged gzip data (Not a gzipped file")
    path.write_bytes(whole[:40] + b"\xff" * 10 + whole[50:])
    assert "damaged gzip data" in message(path)


def test_damaged_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"a": [f"row {n}" for n in range(5000)]}).to_parquet(path)
    whole = path.read_bytes()
    for damaged in (b"", b"PAR1", whole[: len(whole) // 2], b"PAR1" + b"\x07" * 9000 + whole[9004:]):
        path.write_bytes(damaged)
        assert "not readable as Parquet" in message(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n1,2,3\n", ", line 3: 3 fields where the header has 2; quote values that contain the delimiter"),
        ("a,b\n1\n", ", line 2: 1 fields where the header has 2; quote values that contain the delimiter"),
        ("a,a\n1,2\n", ", line 1: two columns are called 'a'; rename one"),
        ('a,b\n1,2\n"1,2\n', ", line 3: not CSV (unexpected end of data); check the quotes"),
        ('a,b\n"1"x,2\n', ", line 2: not CSV (',' expected after '\"'); check the quotes"),
    ],
)
def test_wrong_csv_says_which_line(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    assert message(path) == expected


def test_a_missing_column_is_named_with_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1, "desciption": "x"}\n')
    assert message(path, required=["description"]) == (
        ", line 1: no column 'description' (did you mean 'desciption'?); columns here: a, desciption"
    )


def test_an_optional_column_may_be_absent_from_rows_but_not_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": 2, "price": 3}\n')
    assert len(values(path, required=["a"], optional=["price"])) == 2
    assert message(path, optional=["retailer"]) == (
        ": no row has a column 'retailer'; columns here: a, price; where the data has none, use a --schema without it"
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [(7, 7), ("7", 7), (7.0, 7), ("0", 0), ("007", "007"), ("a-7", "a-7"), (-1, -1), ("１", "１")],
)
def test_ids(value: Any, expected: Any) -> None:
    assert row(id=value).id("id") == expected


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "the id is missing; give each row one"),
        ("", "the id is missing; give each row one"),
        (1.5, "1.5 is not an id; use a whole number or text"),
        (True, "True is not an id; use a whole number or text"),
        ([1], "[1] is not an id; use a whole number or text"),
        ("\ud800", "'\\ud800' holds half a surrogate pair; write the whole character"),
    ],
)
def test_wrong_ids(value: Any, problem: str) -> None:
    with pytest.raises(ShelfmarkError) as error:
        row(id=value).id("id")
    assert str(error.value) == f"FILE, line 7, column 'id': {problem}"


@pytest.mark.parametrize(("value", "expected"), [("3.99", 3.99), (4, 4.0), (0, 0.0), (1e-9, 1e-9)])
def test_prices(value: Any, expected: float) -> None:
    assert row(price=value).price("price") == expected


@pytest.mark.parametrize("value", [None, ""])
def test_missing_prices(value: Any) -> None:
    assert row(price=value).price("price") != row(price=value).price("price")
    assert row().price("price") != row().price("price")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (-0.01, "the price -0.01 is negative; leave it empty (null) where it is unknown"),
        (float("nan"), "nan is not a price; leave it empty (null) where it is unknown"),
        ("nan", "'nan' is not a price; leave it empty (null) where it is unknown"),
        (float("inf"), "inf is not a price; leave it empty (null) where it is unknown"),
        (True, "True is not a price; leave it empty (null) where it is unknown"),
        ("£3", "'£3' is not a number; write the price as 3.99"),
        ("3,99", "'3,99' is not a number; write the price as 3.99"),
        ([3], "[3] is not a number; write the price as 3.99"),
    ],
)
def test_wrong_prices(value: Any, problem: str) -> None:
    with pytest.raises(ShelfmarkError) as error:
        row(price=value).price("price")
    assert str(error.value) == f"FILE, line 7, column 'price': {problem}"


def test_a_price_too_large_for_a_float() -> None:
    with pytest.raises(ShelfmarkError, match="is not a price"):
        row(price=10**400).price("price")


def test_texts() -> None:
    assert row(a=None).text("a") == ""
    assert row(a=7).text("a") == "7"
    assert row(a=10**400).text("a") == "1" + "0" * 400
    assert row().text("a", default="x") == "x"
    for value in ([1], {"b": 1}, True, float("nan")):
        with pytest.raises(ShelfmarkError, match=r"FILE, line 7, column 'a': .* is not text"):
            row(a=value).text("a")
    with pytest.raises(ShelfmarkError, match="holds half a surrogate pair"):
        row(a="x\udc00").text("a")


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(ShelfmarkError) as error:
        row(a=["x" * 500]).text("a")
    assert len(str(error.value)) < 120


@given(st.lists(ODD.filter(lambda value: value and "__" not in value), min_size=2, max_size=2))
def test_labels_may_hold_any_other_sign(path: list[str]) -> None:
    assert row(a=path[0], b=path[1]).label(["a", "b"]) == tuple(path)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "the label is empty; every level needs a value"),
        (None, "the label is empty; every level needs a value"),
        ("x__y", "'x__y' contains '__', which separates the levels; write it otherwise"),
    ],
)
def test_wrong_labels(value: Any, problem: str) -> None:
    with pytest.raises(ShelfmarkError) as error:
        row(a="fine", b=value).label(["a", "b"])
    assert str(error.value) == f"FILE, line 7, column 'b': {problem}"


def test_counts() -> None:
    assert row(count="3").whole_number("count", default=1) == 3
    assert row(count=3.0).whole_number("count", default=1) == 3
    assert row(count="").whole_number("count", default=1) == 1
    assert row().whole_number("count", default=1) == 1
    for value in (0, -1, 2.5, "2.5", "x", True, float("inf"), float("nan")):
        with pytest.raises(ShelfmarkError, match=r"column 'count': .* is not a whole number of at least 1"):
            row(count=value).whole_number("count", default=1)
