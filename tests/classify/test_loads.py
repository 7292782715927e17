"""How many tokens and files requests take."""

import json

import pytest

import classify.file_counts
from catalog.messages import Request
from classify.costs import Load
from classify.engines.base import ModelOptions
from classify.engines.batch_files import request_line
from classify.file_counts import BatchFiles
from classify.loads import answer_tokens, load_of
from classify.token_counts import AROUND_ALL, AROUND_TURN, TokenCounts

WORDS = TokenCounts("words", True, lambda text: len(text.split()))
AROUND = AROUND_ALL + AROUND_TURN


def ask(name: str, text: str, **values) -> Request:
    return Request(name, [{"role": "user", "content": text}], **values)


def test_a_load_expects_and_bounds() -> None:
    requests = [ask("1", "a b c", max_tokens=9), ask("2", "a", max_tokens=4)]
    read = 2 * AROUND + 4
    assert load_of(iter(requests), WORDS) == Load(2, read, read, 13, 13)
    assert load_of(requests, WORDS, 6.5) == Load(2, read, read, 6.5 + 4, 13)  # an answer is cut at its most
    assert load_of(requests, WORDS, 6.5, 20) == Load(2, read, read, 13, 40)
    assert load_of([], WORDS) == Load()


def test_an_estimate_parts_them() -> None:
    load = load_of([ask("1", "abcdef")], TokenCounts("estimated", False, len), 3)
    assert load.read < load.most_read == AROUND + 6


def test_a_schema_is_read_too() -> None:
    request = ask("1", "which", candidates=[("a", "b"), ("c", "d")], scores=[0.5, 0.5])
    free = load_of([request], WORDS)
    held = load_of([request], WORDS, constrain="json")
    assert held.most_read > free.most_read + AROUND_TURN
    assert load_of([request], WORDS, constrain="choice") == free


def test_answers_weigh_as_often_as_they_come() -> None:
    paths = {("a b c", "d"): 3, ("a", "b"): 1}
    assert answer_tokens(paths, WORDS) == ((3 * 4 + 2) / 4, 4)
    assert answer_tokens(paths, WORDS, lambda path: "one two three four") == (5, 5)
    assert answer_tokens(dict.fromkeys(paths, 0), WORDS) == (3, 4)


@pytest.mark.parametrize(("rows", "size"), [(3, 10**9), (10**9, 400), (2, 350)])
def test_files_are_counted_as_they_would_be_written(monkeypatch: pytest.MonkeyPatch, rows: int, size: int) -> None:
    monkeypatch.setattr(classify.file_counts, "MOST_ROWS", rows)
    monkeypatch.setattr(classify.file_counts, "MOST_BYTES", size)
    requests = [ask(str(number), "é" * (number % 5)) for number in range(20)]
    options = ModelOptions(llm="gpt")
    files = BatchFiles(options)
    assert list(files.watch(requests)) == requests
    lines = [request_line(request, options, None) for request in requests]
    assert json.loads(lines[0])["custom_id"] == "0"
    packed: list[list[bytes]] = []
    for line in lines:
        if not packed or len(packed[-1]) == rows or sum(map(len, packed[-1])) + len(line) > size:
            packed.append([])
        packed[-1].append(line)
    assert files.count == len(packed) > 1
    assert files.bytes == sum(map(len, lines))
