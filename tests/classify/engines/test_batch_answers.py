"""What came of a chunk: of all lines about a request the best, and what it cost."""

import json
from pathlib import Path
from typing import Any

import pytest

from classify.costs import Load
from classify.engines.batch_answers import Taken, take_in
from classify.engines.ledger import Ledger


def answer(name: str, text: str = "shoes", finish: str = "stop") -> dict[str, Any]:
    choice = {"message": {"content": text}, "finish_reason": finish}
    body = {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 2}}
    return {"custom_id": name, "response": {"status_code": 200, "body": body}, "error": None}


def failed(name: str, status: int = 500) -> dict[str, Any]:
    response = {"status_code": status, "body": {"error": {"code": "no", "message": "No."}}}
    return {"custom_id": name, "response": response, "error": None}


def expired(name: str) -> dict[str, Any]:
    return {"custom_id": name, "response": None, "error": {"code": "batch_expired", "message": "Late."}}


def taken(
    folder: Path,
    output: list[Any],
    errors: list[Any] | None = None,
    *,
    usage: list[int] | None = None,
    second: list[Any] | None = None,
) -> Taken:
    """Take in a chunk of the requests a, b and c with these lines; with `second` it has two batches."""
    with Ledger.writing(folder) as books:
        load = vars(Load(3, 30.0, 60.0, 6.0, 24.0))
        books.write("chunk", number=1, digest="d", load=load, options="o", rows=3, size=9, again=False)
        chunk = books.chunks[1]
        books.requests(chunk).write_text("".join(json.dumps({"custom_id": name}) + "\n" for name in "abc"))
        for batch, files in {"b1": (output, errors), "b2": (second, None)}.items():
            if batch == "b2" and second is None:
                continue
            books.write("created", number=1, batch=batch)
            for kind, lines in zip(("output", "errors"), files, strict=True):
                if lines is not None:
                    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
                    books.output(chunk, batch, kind).write_text("".join(text + "\n" for text in texts))
            about: dict[str, Any] = {"status": "completed", "turned_away": False, "usage": usage, "reason": ""}
            books.write("ended", number=1, batch=batch, **about)
        return take_in(books, chunk, "off", {})


def texts(found: Taken) -> dict[str, str]:
    return {name: one.completion.text for name, one in found.outcomes.items()}


def test_all_answered(tmp_path: Path) -> None:
    found = taken(tmp_path, [answer("c"), answer("a"), answer("b", "x", "length")], usage=[30, 6])
    assert texts(found) == {"a": "shoes", "b": "x", "c": "shoes"}
    assert found.missing == []
    assert found.counts["answers"] == 3
    assert found.counts["cut"] == 1
    assert (found.counts["read"], found.counts["written"]) == (30, 6)


def test_what_is_missing_is_in_order(tmp_path: Path) -> None:
    found = taken(tmp_path, [answer("b")], [expired("c")], usage=[10, 2])
    assert found.missing == ["a", "c"]
    assert (found.counts["missing"], found.counts["lost"]) == (2, 1)


def test_refusals_are_not_missing(tmp_path: Path) -> None:
    found = taken(tmp_path, [answer("b"), answer("c")], [failed("a", 400)], usage=[20, 4])
    assert found.missing == []
    assert (found.counts["answers"], found.counts["refused"]) == (2, 1)


@pytest.mark.parametrize("turned", [False, True])
def test_an_answer_goes_before_an_error_whatever_comes_first(tmp_path: Path, turned: bool) -> None:
    lines = [failed("a", 400), answer("a", "good"), expired("a"), answer("a", "second")]
    found = taken(tmp_path, lines[::-1] if turned else lines, usage=[10, 2])
    assert texts(found)["a"] == ("second" if turned else "good")
    assert found.counts["repeated"] == 3


def test_lines_that_are_none(tmp_path: Path) -> None:
    found = taken(tmp_path, [answer("stranger"), "{torn", "[]", '{"custom_id": 7, "error": 1}', "", answer("a")])
    assert (found.counts["unknown"], found.counts["damaged"]) == (1, 3)
    assert found.missing == ["b", "c"]


def test_what_nobody_tells_costs_the_most(tmp_path: Path) -> None:
    found = taken(tmp_path, [answer("a"), answer("a")])
    assert found.counts["unsure"] == 2
    assert (found.counts["read"], found.counts["written"]) == (10 + 40, 2 + 16)


def test_what_the_provider_tells_goes_before_the_lines(tmp_path: Path) -> None:
    found = taken(tmp_path, [answer("a")], usage=[30, 6])
    assert found.counts.get("unsure", 0) == 0
    assert (found.counts["read"], found.counts["written"]) == (30, 6)


def test_two_batches_of_one_chunk_are_paid_twice(tmp_path: Path) -> None:
    found = taken(tmp_path, [answer("a", "first")], second=[answer("a", "again"), answer("b")], usage=[15, 3])
    assert texts(found) == {"a": "first", "b": "shoes"}
    assert (found.counts["read"], found.counts["written"]) == (15 + 20, 3 + 4)


def test_no_files(tmp_path: Path) -> None:
    found = taken(tmp_path, None, usage=[30, 6])  # type: ignore[arg-type]
    assert found.missing == ["a", "b", "c"]
    assert (found.counts["lost"], found.counts["read"]) == (3, 30)
