import json

import pytest

from catalog.errors import ShelfmarkError
from catalog.products import Products
from catalog.schema import PRESETS
from postprocess import read_answers, snap_file

SCHEMA = PRESETS["indoml"]
LABEL = "beverages alcoholic__cider__cider__bulmers"
ROW = {"supergroup": "beverages alcoholic", "group": "cider", "module": "cider", "brand": "bulmers"}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def batch_line(name, content, **changes):
    body = {"choices": [{"message": {"role": "assistant", "content": content}}]}
    return {
        "id": "batch_req_1",
        "custom_id": name,
        "response": {"status_code": 200, "body": body},
        "error": None,
        **changes,
    }


def test_answers_as_json_lines_and_csv(tmp_path):
    lines = write(tmp_path / "a.jsonl", [{"indoml_id": 5, "answer": LABEL}, {"indoml_id": "x", "answer": None}])
    assert read_answers(lines, SCHEMA).texts == [LABEL, ""]
    table = tmp_path / "a.csv"
    table.write_text(f'indoml_id,answer\n5,"{LABEL}"\n07,"a\nb"\n', encoding="utf-8")
    read = read_answers(table, SCHEMA)
    assert (read.ids, read.texts) == ([5, "07"], [LABEL, "a\nb"])


def test_answers_as_objects_and_predict_files(tmp_path):
    file = write(tmp_path / "a.predict", [{"indoml_id": 1, **ROW}, {"indoml_id": 2, **ROW, "brand": None}])
    texts = read_answers(file, SCHEMA).texts
    assert texts[0] == LABEL
    assert json.loads(texts[1])["module"] == "cider"
    file = write(tmp_path / "a.jsonl", [{"indoml_id": 1, "answer": ROW}])
    assert json.loads(read_answers(file, SCHEMA).texts[0]) == ROW


def test_batch_output_and_completions(tmp_path):
    lines = [
        batch_line("17-1f3a9cde", LABEL),
        batch_line("18", None),
        batch_line("request-19", "", error={"code": "expired"}),
        batch_line("20", "", response={"status_code": 500, "body": None}),
    ]
    read = read_answers(write(tmp_path / "b.jsonl", lines), SCHEMA)
    assert (read.ids, read.texts, read.failed) == ([17, 18, "request-19", 20], [LABEL, "", "", ""], {2, 3})
    lines = [{"id": "17-1f3a9cde", "text": LABEL}, {"id": "18-1f3a9cde", "text": "", "error": "timeout"}]
    read = read_answers(write(tmp_path / "c.jsonl", lines), SCHEMA)
    assert (read.ids, read.texts, read.failed) == ([17, 18], [LABEL, ""], {1})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"indoml_id": 1, "answer": "a"}, {"indoml_id": 1, "answer": "b"}], "line 2: the id 1 occurs twice"),
        ([{"id": 1, "answer": "a"}], "no column 'indoml_id'"),
        ([{"indoml_id": 1, "anser": "a"}], "no answer here"),
        ([{"indoml_id": 1, "answer": True}], "is not text"),
        ([{"custom_id": "1", "response": {"body": {}}}], "not a line of a chat batch"),
    ],
)
def test_bad_files_are_one_line(tmp_path, rows, message):
    with pytest.raises(ShelfmarkError, match=message) as error:
        read_answers(write(tmp_path / "a.jsonl", rows), SCHEMA)
    assert "\n" not in str(error.value)
    assert "a.jsonl" in str(error.value)


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


def test_snap_file_uses_products_and_writes_predict_files(tmp_path, taxonomy):
    products = Products([1, 2], {"description": ["kopparberg", "x"]}, ["mega", "corner"], [1.0, 2.0])
    rows = [{"indoml_id": 2, "answer": ""}, {"indoml_id": 1, "answer": "beverages alcoholic__cider__cider"}]
    file = write(tmp_path / "a.jsonl", rows)
    snap_file(file, taxonomy, tmp_path / "b.predict", SCHEMA, products=products)
    found = [json.loads(line) for line in (tmp_path / "b.predict").read_text().splitlines()]
    assert list(found[0]) == ["indoml_id", *SCHEMA.levels]
    assert [row["brand"] for row in found] == ["bulmers", "kopparberg"]
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
