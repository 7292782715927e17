import json
import re
from pathlib import Path

import pytest

from catalog.errors import ShelfmarkError
from catalog.products import Products
from catalog.schema import PRESETS
from postprocess import snap_file
from postprocess.changes import RULES

SCHEMA = PRESETS["indoml"]
LABEL = "beverages alcoholic__cider__cider__bulmers"


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_snap_file_writes_one_prediction_for_each_answer(tmp_path, taxonomy):
    answers = [LABEL, "beverages alcoholic__cider__cider__bulmrs", "", "\ud800 cider bulmers"]
    file = write(tmp_path / "a.jsonl", [{"indoml_id": n, "answer": a} for n, a in enumerate(answers)])
    summary = snap_file(file, taxonomy, tmp_path / "out.jsonl", SCHEMA)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["indoml_id"] for row in rows] == [0, 1, 2, 3]
    assert [row["status"] for row in rows] == ["exact", "repaired", "fallback", "repaired"]
    assert all(taxonomy.is_valid(tuple(row[level] for level in SCHEMA.levels)) for row in rows)
    changes = [json.loads(line) for line in (tmp_path / "out.changes.jsonl").read_text().splitlines()]
    assert changes[0]["id"] == 1
    assert changes[0]["rule"] == "brand of module"
    assert summary.rows == 4
    assert summary.statuses == {"repaired": 2, "exact": 1, "fallback": 1}
    assert any("brand of module" in line for line in summary.lines())


def test_snap_file_uses_products_and_writes_predict_files(tmp_path, taxonomy, monkeypatch):
    monkeypatch.setattr("postprocess.files._BLOCK", 1)
    products = Products([1, 2], {"description": ["bulmers orig", "x"]}, ["mega", "corner"], [1.0, 2.0])
    rows = [{"indoml_id": 2, "answer": ""}, {"indoml_id": 1, "answer": "beverages alcoholic__cider__cider"}]
    file = write(tmp_path / "a.jsonl", rows)
    snap_file(file, taxonomy, tmp_path / "b.predict", SCHEMA, products=products)
    found = [json.loads(line) for line in (tmp_path / "b.predict").read_text().splitlines()]
    assert list(found[0]) == ["indoml_id", *SCHEMA.levels]
    assert [(row["indoml_id"], row["brand"]) for row in found] == [(2, "bulmers"), (1, "bulmers")]
    rows = write(tmp_path / "c.jsonl", [{"indoml_id": 3, "answer": ""}])
    with pytest.raises(ShelfmarkError, match="has no product"):
        snap_file(rows, taxonomy, tmp_path / "c.predict", SCHEMA, products=products)
    assert not (tmp_path / "c.predict").exists()


def test_doubtful_answers_are_written_as_answered(tmp_path, taxonomy):
    file = write(tmp_path / "a.jsonl", [{"indoml_id": 1, "answer": "pantry__sauces__pizza & pasta__zzz"}])
    summary = snap_file(file, taxonomy, tmp_path / "out.jsonl", SCHEMA, leave_below=0.9)
    assert json.loads((tmp_path / "out.jsonl").read_text())["brand"] == "zzz"
    assert summary.statuses == {"abstained": 1}
    assert json.loads((tmp_path / "out.changes.jsonl").read_text())["left"] is True


def test_the_kind_of_the_output_must_be_known(tmp_path, taxonomy):
    file = write(tmp_path / "a.jsonl", [{"indoml_id": 1, "answer": LABEL}])
    with pytest.raises(ShelfmarkError, match="cannot tell its kind"):
        snap_file(file, taxonomy, tmp_path / "out.txt", SCHEMA)


def test_half_an_emoji_inside_an_object_can_be_written(tmp_path, taxonomy):
    answer = '{"supergroup": "pantry", "group": "sauces", "module": "pizza & pasta", "brand": "legos \\ud83d"}'
    file = write(tmp_path / "a.jsonl", [{"indoml_id": 1, "answer": answer}])
    snap_file(file, taxonomy, tmp_path / "out.jsonl", SCHEMA)
    assert json.loads((tmp_path / "out.jsonl").read_text())["brand"] == "leggo's"
    assert json.loads((tmp_path / "out.changes.jsonl").read_text())["was"] == "legos ?"


def test_the_answers_are_not_written_over(tmp_path, taxonomy):
    file = write(tmp_path / "a.jsonl", [{"indoml_id": 1, "answer": LABEL}])
    with pytest.raises(ShelfmarkError, match="it is read from"):
        snap_file(file, taxonomy, file, SCHEMA)
    with pytest.raises(ShelfmarkError, match="same file"):
        snap_file(file, taxonomy, tmp_path / "out.jsonl", SCHEMA, changes=tmp_path / "out.jsonl")
    assert [place.name for place in tmp_path.iterdir()] == ["a.jsonl"]


def test_what_was_not_changed_is_not_counted(tmp_path, taxonomy):
    rows = [(1, "pantry__sauces__pizza & pasta__zzz"), (2, "pantry__sauces__Pizza & Pasta__leggo's")]
    file = write(tmp_path / "a.jsonl", [{"indoml_id": name, "answer": text} for name, text in rows])
    summary = snap_file(file, taxonomy, tmp_path / "out.jsonl", SCHEMA, leave_below=0.9)
    assert summary.rules == {"form": 1}
    left = [json.loads(line)["left"] for line in (tmp_path / "out.changes.jsonl").read_text().splitlines()]
    assert left == [True, False]


def test_every_rule_has_its_example():
    text = (Path(__file__).parents[2] / "docs" / "snap.md").read_text(encoding="utf-8")
    table = text.partition("| rule |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z ]+)` \|", table, re.MULTILINE)) == set(RULES)
