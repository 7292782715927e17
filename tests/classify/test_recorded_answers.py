import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import classify.recorded_answers
from catalog.errors import ShelfmarkError
from catalog.messages import Completion
from classify.recorded_answers import RecordedAnswers

lines = st.lists(st.tuples(st.sampled_from("abcdé"), st.text("xyü\n", max_size=3), st.booleans()), max_size=12)


def write(path: Path, given: list[tuple[str, str, bool]]) -> list[Completion]:
    said = [Completion(name, error="lost") if lost else Completion(name, text) for name, text, lost in given]
    path.write_text("".join(json.dumps(one.to_dict(), ensure_ascii=False) + "\n" for one in said), encoding="utf-8")
    return said


def expected(said: list[Completion]) -> dict[str, Completion]:
    found: dict[str, Completion] = {}
    for one in said:
        if one.error is None or one.id not in found:
            found[one.id] = one
    return found


@settings(max_examples=60, deadline=None)
@given(lines)
def test_the_last_answer_counts_and_an_answer_goes_before_an_error(tmp_path_factory, given) -> None:
    path = tmp_path_factory.mktemp("answers") / "completions.jsonl"
    said = expected(write(path, given))
    found = RecordedAnswers(path)
    assert dict(found) == said
    assert list(found) == list(said)
    assert (len(found), found.get("z"), "z" in found) == (len(said), None, False)


def test_ids_of_one_hash_are_told_apart(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classify.recorded_answers, "hash", lambda name: 7, raising=False)
    said = write(tmp_path / "a.jsonl", [("a", "1", False), ("b", "2", False), ("a", "3", False)])
    found = RecordedAnswers(tmp_path / "a.jsonl")
    assert (found["a"], found["b"], len(found), "c" in found) == (said[2], said[1], 2, False)


def test_a_damaged_line(tmp_path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "a"\n')
    with pytest.raises(ShelfmarkError, match="line 1: damaged"):
        RecordedAnswers(tmp_path / "a.jsonl")


def test_memory_does_not_hold_the_answers(tmp_path) -> None:
    rows = 20_000
    with open(tmp_path / "a.jsonl", "w") as out:
        for row in range(rows):
            out.write(json.dumps(Completion(f"{row}-00000000", "x" * 100, [-1.0] * 20).to_dict()) + "\n")
    tracemalloc.start()
    found = RecordedAnswers(tmp_path / "a.jsonl")
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found["17-00000000"].text == "x" * 100
    assert held < 40 * rows  # bytes; a line is 300 of them
    assert peak < 80 * rows
