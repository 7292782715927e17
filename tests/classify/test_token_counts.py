"""Counts of tokens: by a tokenizer's table that is on this machine, else an estimate; nothing is downloaded."""

import importlib.machinery
import sys
import types

import pytest

from classify.token_counts import AROUND_ALL, AROUND_TURN, token_counts

TURNS = [{"role": "system", "content": "sort it"}, {"role": "user", "content": "dlmere rst ckn fllts pm 24"}]
EXAMPLE = [*TURNS, {"role": "assistant", "content": "food__meat__chicken__delamere"}]


class Words:
    """An encoding with one token a word."""

    name = "words"

    def encode_ordinary(self, text: str) -> list[int]:
        return list(range(len(text.split())))


@pytest.fixture
def tiktoken(monkeypatch: pytest.MonkeyPatch):
    """A tiktoken that knows one model, and fetches its table unless it is told that it has it."""
    module, load = types.ModuleType("tiktoken"), types.ModuleType("tiktoken.load")
    for made in (module, load):
        made.__spec__ = importlib.machinery.ModuleSpec(made.__name__, None)
    asked: list[str] = []
    fetched: list[str] = []
    state = types.SimpleNamespace(cached=True, asked=asked, fetched=fetched, load=load)

    def read_file(path: str) -> bytes:
        fetched.append(path)
        return b""

    def encoding_for_model(name: str) -> Words:
        asked.append(name)
        if name != "gpt-4o-mini":
            raise KeyError(name)
        if not state.cached:
            load.read_file("https://tables")
        return Words()

    load.read_file, module.load, module.encoding_for_model = read_file, load, encoding_for_model
    state.read_file = read_file
    monkeypatch.setitem(sys.modules, "tiktoken", module)
    monkeypatch.setitem(sys.modules, "tiktoken.load", load)
    return state


def test_counted_where_the_table_is_here(tiktoken) -> None:
    counts = token_counts("gpt-4o-mini")
    assert (counts.by, counts.exact) == ("tiktoken words", True)
    assert counts.prompt(TURNS) == (AROUND_ALL + 2 * AROUND_TURN + 2 + 6,) * 2
    assert counts.answer("one two") == (3, 3)
    assert counts.example(EXAMPLE) == (AROUND_ALL + 2 * AROUND_TURN + 8 + 2,) * 2


def test_estimated_where_it_would_be_fetched(tiktoken) -> None:
    tiktoken.cached = False
    counts = token_counts("gpt-4o-mini")
    assert (counts.by, counts.exact) == ("estimated", False)
    assert not tiktoken.fetched
    assert tiktoken.load.read_file is tiktoken.read_file  # as it was: others may fetch


def test_estimated_for_a_model_that_it_does_not_know(tiktoken) -> None:
    assert not token_counts("own-model").exact
    assert tiktoken.load.read_file is tiktoken.read_file


def test_of_a_tuned_model_the_base_counts(tiktoken) -> None:
    assert token_counts("ft:gpt-4o-mini:shop::abc").exact
    assert tiktoken.asked == ["gpt-4o-mini"]


def test_an_estimate_expects_less_than_it_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    monkeypatch.setattr("classify.token_counts.find_spec", lambda name: None)
    counts = token_counts("gpt-4o-mini")
    for expected, most in (counts.prompt(TURNS), counts.answer("food__meat"), counts.example(EXAMPLE)):
        assert 0 < expected < most
        assert isinstance(most, int)
    longer = counts.prompt([TURNS[0], {"role": "user", "content": TURNS[1]["content"] * 2}])
    assert longer[0] > counts.prompt(TURNS)[0]
    assert counts.answer("") == (1, 1)
