import json

import pytest

from catalog.errors import ShelfmarkError
from catalog.schema import PRESETS
from postprocess import read_answers

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


def test_an_answer_goes_before_an_error_in_one_file_or_in_several(tmp_path):
    errors = write(tmp_path / "e.jsonl", [batch_line("1-1f3a9cde", "", error={"code": "x"}), batch_line("2", LABEL)])
    later = write(tmp_path / "l.jsonl", [{"id": "1-0000000a", "text": LABEL}, {"id": "2-0000000a", "error": "x"}])
    assert read_answers([errors, later], SCHEMA).said == {1: LABEL, 2: LABEL}
    assert read_answers([later, errors], SCHEMA).said == {1: LABEL, 2: LABEL}
    both = [{"id": "1-0000000a", "text": "", "error": "x"}, {"id": "1-0000000a", "text": LABEL}]
    assert read_answers(write(tmp_path / "b.jsonl", both), SCHEMA).said == {1: LABEL}
    with pytest.raises(ShelfmarkError, match=r"b.jsonl, line 2: the id 1 occurs twice, first in .*l.jsonl, line 1;"):
        read_answers([later, tmp_path / "b.jsonl"], SCHEMA)


def test_only_hashes_of_requests_are_taken_off(tmp_path):
    own = write(tmp_path / "a.jsonl", [{"indoml_id": "sku-20240101", "answer": LABEL}])
    assert read_answers(own, SCHEMA).ids == ["sku-20240101"]
    same = write(tmp_path / "b.jsonl", [batch_line("sku-2024010a", LABEL), batch_line("sku-2024010b", LABEL)])
    assert read_answers(same, SCHEMA).ids == ["sku-2024010a", "sku-2024010b"]
    dates = write(tmp_path / "c.jsonl", [batch_line("milk-20240101", LABEL)])
    more = write(tmp_path / "d.jsonl", [batch_line("bread-20240101", "", error={"code": "x"})])
    assert read_answers([dates, more], SCHEMA).ids == ["milk-20240101", "bread-20240101"]


def test_what_a_message_says_is_found_in_each_of_its_forms(tmp_path):
    def line(name, body):
        return batch_line(name, "", response={"status_code": 200, "body": body})

    call = {"type": "function", "function": {"name": "shelve", "arguments": '{"module": "cider"}'}}
    lines = [
        line("1", {"choices": [{"message": {"content": [{"type": "text", "text": "ci"}, {"text": "der"}]}}]}),
        line("2", {"choices": [{"message": {"content": None, "tool_calls": [call]}}]}),
        line("3", {"output": [{"type": "reasoning"}, {"content": [{"type": "output_text", "text": "cider"}]}]}),
        line("4", {"choices": []}),
    ]
    read = read_answers(write(tmp_path / "b.jsonl", lines), SCHEMA)
    assert (read.texts, read.failed) == (["cider", '{"module": "cider"}', "cider", ""], {3})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"indoml_id": 1, "answer": "a"}, {"indoml_id": 1, "answer": "b"}], "line 2: the id 1 occurs twice"),
        ([{"id": 1, "answer": "a"}], "no column 'indoml_id'"),
        ([{"indoml_id": 1, "anser": "a"}], "no answer here"),
        ([{"indoml_id": 1, "answer": True}], "is not text"),
        ([{"custom_id": "1", "response": {"body": {}}}], "neither 'choices' nor 'output'"),
    ],
)
def test_bad_files_are_one_line(tmp_path, rows, message):
    with pytest.raises(ShelfmarkError, match=message) as error:
        read_answers(write(tmp_path / "a.jsonl", rows), SCHEMA)
    assert "\n" not in str(error.value)
    assert "a.jsonl" in str(error.value)
