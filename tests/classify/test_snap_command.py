"""``classify snap``: answers in every form go in, predictions and changes come out; mistakes are one line."""

import csv
import gzip
import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from catalog.extras import install_command
from catalog.products import read_products
from catalog.schema import PRESETS
from catalog.taxonomy import Taxonomy
from postprocess import read_answers
from rag.encoders import Vectors

SCHEMA = PRESETS["indoml"]
HEAD = ("indoml_id", *SCHEMA.levels)
PATHS = [
    ("beverages", "cider", "cider", "bulmers"),
    ("beverages", "cider", "cider", "kopparberg"),
    ("beverages", "beer", "beer lager", "stella artois"),
    ("pantry", "sauces", "pizza & pasta", "leggo's"),
    ("pantry", "sauces", "ketchup, mustard", "heinz"),
    ("pantry", "beans", "beans baked", "heinz"),
]
SAID = {
    1: "beverages__cider__cider__bulmers",
    2: "Beverages > Cider > cider > Bulmers",
    "x": "pantry__sauces__pizza & pasta__legos",
    4: "I cannot tell.",
}
BRANDS = {1: "bulmers", 2: "bulmers", "x": "leggo's", 4: "heinz"}
STATUSES = {1: "exact", 2: "exact", "x": "repaired", 4: "fallback"}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def answer(name, text):
    return {"indoml_id": name, "answer": text}


def batch_line(name, content):
    body = {"choices": [{"message": {"role": "assistant", "content": content}}]}
    return {"custom_id": str(name), "response": {"status_code": 200, "body": body}, "error": None}


def batch_error(name):
    return {"custom_id": str(name), "response": {"status_code": 400, "body": {"error": {"code": "x"}}}, "error": None}


@pytest.fixture
def shelves(tmp_path):
    """Write the valid paths; the last is the most frequent."""
    file = tmp_path / "taxonomy.csv"
    Taxonomy(SCHEMA.levels, {path: 1 + number for number, path in enumerate(PATHS)}).write(file)
    return file


@pytest.fixture
def snap(command, shelves, tmp_path, lines):
    """Snap files and return the predictions by id."""

    def run(*arguments, out="out.jsonl"):
        done = command("snap", *arguments, "--taxonomy", shelves, "--out", tmp_path / out)
        assert (done.code, done.err) == (0, "")
        return {row["indoml_id"]: row for row in lines(tmp_path / out)}

    return run


def as_json_lines(folder):
    return [write(folder / "a.jsonl", [answer(*item) for item in SAID.items()])]


def as_csv(folder):
    with open(folder / "a.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("indoml_id", "answer"), *SAID.items()])
    return [folder / "a.csv"]


def as_gzip(folder):
    text = "".join(json.dumps(answer(*item)) + "\n" for item in SAID.items())
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return [folder / "a.jsonl.gz"]


def as_parquet(folder):
    frame = pd.DataFrame({"indoml_id": [str(name) for name in SAID], "answer": list(SAID.values())})
    frame.to_parquet(folder / "a.parquet")
    return [folder / "a.parquet"]


def as_predict(folder):
    rows = [dict(zip(HEAD, (name, *text.lower().replace(" > ", "__").split("__")), strict=False)) for name, text in
            SAID.items() if name != 4]  # fmt: skip
    return [write(folder / "a.predict", [*rows, dict.fromkeys(HEAD) | {"indoml_id": 4}])]


def as_batch_files(folder):
    rows = [batch_line(f"{name}-1f3a9cd{at}", text) for at, (name, text) in enumerate(SAID.items())]
    return [write(folder / "output.jsonl", rows[:2]), write(folder / "more.jsonl", rows[2:])]


def as_completions(folder):
    rows = [{"id": f"{name}-1f3a9cd{at}", "text": text} for at, (name, text) in enumerate(SAID.items())]
    return [write(folder / "completions.jsonl", rows)]


def as_run(folder):
    names = [f"{name}-1f3a9cd{at}" for at, name in enumerate(SAID)]
    turn = {"role": "user", "content": "?"}
    requests = [{"id": name, "messages": [turn], "candidates": []} for name in names]
    requests[0] |= {"messages": [], "candidates": [list(PATHS[0])], "scores": [0.9]}
    answers = [{"id": name, "text": text} for name, text in zip(names, SAID.values(), strict=True)][1:]
    held = {"id": "x-00000000", "text": "pantry__beans__beans baked__heinz"}
    (folder / "run").mkdir()
    write(folder / "run" / "requests.jsonl", requests)
    write(folder / "run" / "completions.jsonl", [held, {"id": names[1], "text": "", "error": "x"}, *answers])
    return [folder / "run"]


@pytest.mark.parametrize(
    "form",
    [as_json_lines, as_csv, as_gzip, as_parquet, as_predict, as_batch_files, as_completions, as_run],
)
def test_every_form_of_answers(snap, tmp_path, form) -> None:
    rows = snap(*form(tmp_path))
    assert list(rows) == list(SAID)
    assert {name: row["brand"] for name, row in rows.items()} == BRANDS
    assert {name: row["status"] for name, row in rows.items()} == STATUSES
    assert all(tuple(row[level] for level in SCHEMA.levels) in PATHS for row in rows.values())


def test_errors_are_rows_and_answers_go_before_them(snap, tmp_path) -> None:
    errors = write(tmp_path / "errors.jsonl", [batch_error("1-1f3a9cde"), batch_error("2-1f3a9cde"), batch_error("3")])
    output = write(tmp_path / "output.jsonl", [batch_line("2-00000000", SAID[1]), batch_line("4", SAID[4])])
    for files in ((errors, output), (output, errors)):
        rows = snap(*files)
        assert {name: row["status"] for name, row in rows.items()} == {
            1: "failed", 2: "exact", 3: "failed", 4: "fallback",
        }  # fmt: skip
        assert rows[1]["brand"] == "heinz"
        assert rows[1]["confidence"] == 0


def test_a_request_of_a_run_without_an_answer_is_failed(snap, tmp_path) -> None:
    (run,) = as_run(tmp_path)
    write(run / "completions.jsonl", [{"id": "2-1f3a9cd1", "text": "", "error": "timeout"}])
    assert [row["status"] for row in snap(run).values()] == ["exact", "failed", "failed", "failed"]


def test_a_run_that_was_made_by_the_command(command, shop, finished, tmp_path, lines) -> None:
    done = command("snap", finished, "--train", shop.folder, "--out", tmp_path / "out.jsonl")
    assert (done.code, done.err) == (0, "")
    found, own = lines(tmp_path / "out.jsonl"), lines(finished / "predictions.jsonl")
    assert [[row[name] for name in HEAD] for row in found] == [[row[name] for name in HEAD] for row in own]


def test_csv_and_predict_come_out_on_request(snap, command, shelves, tmp_path, lines) -> None:
    files = as_json_lines(tmp_path)
    rows = snap(*files)
    assert list(snap(*files, out="out.predict").values()) == [
        {name: row[name] for name in HEAD} for row in rows.values()
    ]
    for name in ("out.csv", "out.csv.gz"):
        command("snap", *files, "--taxonomy", shelves, "--out", tmp_path / name)
        again = read_answers(tmp_path / name, SCHEMA)
        assert again.said == {n: "__".join(row[level] for level in SCHEMA.levels) for n, row in rows.items()}
    kept = sorted(file.name for file in tmp_path.glob("*.changes.jsonl"))  # none in another's place
    assert kept == [f"out{suffix}.changes.jsonl" for suffix in ("", ".csv", ".csv.gz", ".predict")]
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["status"].tolist() == [row["status"] for row in rows.values()]
    assert table["confidence"].tolist() == [row["confidence"] for row in rows.values()]


def test_every_change_is_kept(snap, tmp_path, lines) -> None:
    snap(*as_json_lines(tmp_path))
    kept = lines(tmp_path / "out.changes.jsonl")
    (brand,) = [change for change in kept if change["id"] == "x"]
    assert {name: brand[name] for name in ("level", "was", "became", "rule", "left")} == {
        "level": "brand", "was": "legos", "became": "leggo's", "rule": "brand of module", "left": False,
    }  # fmt: skip
    assert 0 < brand["sureness"] < 1
    snap(*as_json_lines(tmp_path), "--changes", tmp_path / "why.csv", out="b.jsonl")
    table = pd.read_csv(tmp_path / "why.csv", keep_default_na=False)
    assert table.astype(str).to_dict("records") == [{k: str(v) for k, v in change.items()} for change in kept]
    assert not (tmp_path / "b.changes.jsonl").exists()


def test_what_is_printed(command, shelves, tmp_path) -> None:
    out = tmp_path / "out.jsonl"
    arguments = ["snap", *as_json_lines(tmp_path), "--taxonomy", shelves, "--out", out]
    text = command(*arguments).out
    for words in ("4 answers", "exact", "repaired", "fallback", "brand of module", f"{out}; each change is in"):
        assert words in text
    told = json.loads(command(*arguments, "--json").out)
    assert (told["rows"], told["statuses"]) == (4, {"exact": 2, "repaired": 1, "fallback": 1})
    assert told["rules"]["brand of module"] == 1
    assert (told["out"], told["changes"]) == (str(out), str(tmp_path / "out.changes.jsonl"))


def test_a_doubtful_answer_is_left_alone_and_says_so(snap, command, shelves, tmp_path, lines) -> None:
    path = ("pantry", "sauces", "pizza & pasta", "zzz\rq")
    text = json.dumps(dict(zip(SCHEMA.levels, path, strict=True)))
    file = write(tmp_path / "a.jsonl", [answer(1, text), answer(2, SAID[1])])
    rows = snap(file, "--leave-below", 0.95)
    assert (rows[1]["status"], rows[1]["brand"], rows[2]["status"]) == ("abstained", path[3], "exact")
    assert all(change["left"] for change in lines(tmp_path / "out.changes.jsonl"))
    done = command("snap", file, "--taxonomy", shelves, "--out", tmp_path / "b.csv", "--leave-below", 0.95)
    assert "abstained" in done.out
    assert "left alone" in done.out
    assert "changes, by rule" not in done.out  # none was made
    assert read_answers(tmp_path / "b.csv", SCHEMA).said[1] == "__".join(path)
    assert snap(file)[1]["status"] == "repaired"


def test_the_policy(snap, tmp_path) -> None:
    file = write(tmp_path / "a.jsonl", [answer(1, "beverages__cider__cider__heinz")])
    assert tuple(snap(file)[1][level] for level in SCHEMA.levels) in PATHS
    free = snap(file, "--policy", "brand-free")[1]
    assert (free["module"], free["brand"], free["status"]) == ("cider", "heinz", "exact")


def test_products_break_ties(command, shop, tmp_path, lines) -> None:
    train = read_products(shop.folder, SCHEMA, labels=True)
    retailer = train.retailers[0]
    rows = [answer(name, "") for name in shop.test.ids]
    file = write(tmp_path / "a.jsonl", rows[::-1])
    arguments = ["snap", file, "--train", shop.folder, "--products", shop.test_file, "--out", tmp_path / "out.jsonl"]
    assert command(*arguments).code == 0
    sold = Taxonomy.from_labels(train.labels, SCHEMA.levels, train.retailers).retailers[retailer]
    for row, shopped in zip(lines(tmp_path / "out.jsonl")[::-1], shop.test.retailers, strict=True):
        if shopped == retailer:
            assert sold[tuple(row[level] for level in SCHEMA.levels)] == max(sold.values())


def test_meanings_are_compared_on_request(snap, tmp_path, monkeypatch) -> None:
    class Encoder:
        def fit(self, texts):
            assert not texts

        def encode(self, texts):
            alike = ("cider", "scrumpy")
            dense = np.array([[1.0, 0.0] if text in alike else [0.0, 1.0] for text in texts], dtype=np.float32)
            return Vectors(dense, None)

    file = write(tmp_path / "a.jsonl", [answer(1, '{"module": "scrumpy"}')])
    assert snap(file)[1]["status"] == "fallback"
    monkeypatch.setattr("rag.encoders.make_encoder", lambda name: {"minilm": Encoder()}[name])
    found = snap(file, "--embed", "minilm")[1]
    assert (found["module"], found["status"]) == ("cider", "repaired")


def test_it_needs_the_extra_for_meanings(refused, shelves, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    files = as_json_lines(tmp_path)
    told = refused("snap", *files, "--taxonomy", shelves, "--out", tmp_path / "o.jsonl", "--embed", "minilm")
    assert install_command("embed") in told


FINE = [answer(1, SAID[1])]


@pytest.mark.parametrize(
    ("rows", "options", "messages"),
    [
        (None, [], ["a.jsonl: no such file"]),
        ([], [], ["a.jsonl: it has no rows"]),
        ([*FINE, answer(1, "b")], [], ["a.jsonl, line 2", "the id 1 occurs twice, first in", "line 1"]),
        ([{"indoml": 1, "answer": "a"}], [], ["no column 'indoml_id'", "did you mean", "columns here: indoml, answer"]),
        ([{"indoml_id": 1, "anser": "a"}], [], ["line 1: no answer here"]),
        ([{"custom_id": "1", "response": {"status_code": 200, "body": {}}}], [], ["neither 'choices' nor 'output'"]),
        (FINE, ["--leave-below", 2], ["--leave-below"]),
        (FINE, ["--leave-below", "nan"], ["--leave-below"]),
        (FINE, ["--policy", "brandfree"], ["--policy brandfree: unknown (did you mean 'brand-free'?)"]),
        (FINE, ["--schema", "indomlx"], ["indomlx"]),
        (FINE, ["--out", "{}/out.txt"], ["out.txt: cannot tell its kind", ".predict"]),
        (FINE, ["--out", "{}/out.parquet"], ["out.parquet: cannot tell its kind"]),
        (FINE, ["--out", "{}/a.jsonl"], ["a.jsonl: it is read from"]),
        (FINE, ["--out", "{}/../{name}/a.jsonl"], ["a.jsonl: it is read from"]),
        (FINE, ["--out", "{}/taxonomy.csv"], ["taxonomy.csv: it is read from"]),
        (FINE, ["--products", "{}/goods.csv", "--out", "{}/goods.csv"], ["goods.csv: it is read from"]),
        (FINE, ["--train", "{}/goods.csv", "--out", "{}/goods.csv"], ["goods.csv: it is read from"]),
        (FINE, ["--changes", "{}/a.jsonl"], ["a.jsonl: it is read from"]),
        (FINE, ["--changes", "{}/out.jsonl"], ["cannot go to the same file"]),
        (FINE, ["--changes", "{}/why"], ["why: cannot tell its kind"]),
        (FINE, ["--out", "{}/folder.jsonl"], ["folder.jsonl: a folder, not a file"]),
        (FINE, ["--out", "{}/a.jsonl/out.jsonl"], ["a.jsonl"]),
        (FINE, ["--products", "{}/products.features"], ["the answer 1 has no product"]),
        (FINE, ["--products", "{}/none.features"], ["none.features: no such file"]),
        (FINE, ["--train", "{}/a.jsonl"], ["give one of --train and --taxonomy"]),
        (FINE, ["--embed", "ngram"], ["--embed ngram"]),
        (FINE, ["--embed", "minlm"], ["minlm", "did you mean 'minilm'?"]),
    ],
)
def test_mistakes_are_one_line(refused, shelves, tmp_path, rows, options, messages) -> None:
    if rows is not None:
        write(tmp_path / "a.jsonl", rows)
    (tmp_path / "folder.jsonl").mkdir()
    product = {"indoml_id": 2, "description": "cider", "retailer": "mega", "price": 1.5}
    write(tmp_path / "products.features", [product])
    (tmp_path / "goods.csv").write_text("indoml_id,description\n1,cider\n", encoding="utf-8")
    before = {file.name: file.is_dir() or file.read_bytes() for file in tmp_path.iterdir()}
    options = [str(option).format(tmp_path, name=tmp_path.name) for option in options]
    told = refused("snap", tmp_path / "a.jsonl", "--taxonomy", shelves, "--out", tmp_path / "out.jsonl", *options)
    for message in messages:
        assert message in told
    assert {file.name: file.is_dir() or file.read_bytes() for file in tmp_path.iterdir()} == before


def test_the_paths_and_the_answers_must_be_given(refused, finished, shelves, tmp_path) -> None:
    (file,) = as_json_lines(tmp_path)
    out = ["--out", tmp_path / "out.jsonl"]
    assert "give --train TRAIN or --taxonomy FILE" in refused("snap", file, *out)
    assert "--out" in refused("snap", file, "--taxonomy", shelves)
    assert "answers" in refused("snap", "--taxonomy", shelves, *out).lower()
    assert "a run directory; give it alone" in refused("snap", finished, file, "--taxonomy", shelves, *out)
    for file in ("completions.jsonl", "snapped.jsonl"):
        told = refused("snap", finished, "--taxonomy", shelves, "--out", finished / file)
        assert f"{file}: it is read from, or lies in a folder that is" in told
    (tmp_path / "empty").mkdir()
    assert "empty: no requests.jsonl" in refused("snap", tmp_path / "empty", "--taxonomy", shelves, *out)
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "completions.jsonl").unlink()
    assert "no completions.jsonl" in refused("snap", tmp_path / "run", "--taxonomy", shelves, *out)
    write(tmp_path / "a.txt", FINE)
    assert "a.txt: cannot tell its kind" in refused("snap", tmp_path / "a.txt", "--taxonomy", shelves, *out)
    (tmp_path / "bytes.jsonl").write_bytes(b'{"indoml_id": 1, "answer": "\xff"}\n')
    assert "bytes.jsonl, line 1" in refused("snap", tmp_path / "bytes.jsonl", "--taxonomy", shelves, *out)
    assert not (tmp_path / "out.jsonl").exists()


def test_nothing_is_half_written(command, snap, shelves, tmp_path, monkeypatch) -> None:
    from postprocess import Snapper

    files = as_json_lines(tmp_path)
    snap(*files)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device", "out.jsonl")

    monkeypatch.setattr(Snapper, "snap_all", full)
    done = command("snap", *files, "--taxonomy", shelves, "--out", tmp_path / "out.jsonl")
    assert (done.code, done.err) == (2, "classify: out.jsonl: No space left on device\n")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
