"""What passes between the stages holds together, wherever it comes from."""

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import ShelfmarkError
from catalog.messages import Completion, Request

TURNS = [{"role": "user", "content": "milk?"}]
PATHS = [("food", "milk"), ("food", "tea")]
REQUEST = Request("1-a", TURNS, PATHS, [0.6, 0.4], 32)
COMPLETION = Completion("1-a", "food__milk", [-0.1, -2.5], 7, 3, unsure=True)

ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    "scores", [[], [0.6], [0.6, 0.3, 0.1], [0.6, math.nan], [0.6, math.inf], [-0.1, 0.6], [1.1, 0.0]]
)
def test_a_request_has_a_probability_for_each_candidate(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="score"):
        Request("1-a", TURNS, PATHS, scores)


@pytest.mark.parametrize("told", [math.nan, math.inf, -math.inf, 0.5])
def test_a_completion_has_logarithms_of_probabilities(told: float) -> None:
    with pytest.raises(ValueError, match="no probability"):
        Completion("1-a", "x", [-0.5, told])
    with pytest.raises(ValueError, match="no probability"):
        Completion("1-a", "x", logprob=told)


def test_tokens_are_no_fewer_than_none() -> None:
    with pytest.raises(ValueError, match="tokens"):
        Completion("1-a", prompt_tokens=-1)


@pytest.mark.parametrize("message", [REQUEST, COMPLETION, Completion("2-b", error="no")])
def test_what_is_written_is_read(message: Any) -> None:
    assert type(message).from_dict(json.loads(json.dumps(message.to_dict()))) == message


@pytest.mark.parametrize("message", [REQUEST, COMPLETION])
@given(data=st.data())
def test_whatever_is_read_is_whole_or_refused_in_a_line(message: Any, data: st.DataObject) -> None:
    value: Any = message.to_dict()
    for name in data.draw(st.lists(st.sampled_from(sorted(value)), max_size=3)):
        value[name] = data.draw(ODD)
    value = data.draw(st.sampled_from([value] * 9 + [None]) | ODD)
    found = None
    with contextlib.suppress(ShelfmarkError):
        found = type(message).from_dict(value, "a.jsonl")
    assert found is None or type(message)(**vars(found)) == found


@pytest.mark.parametrize(("name", "odd"), [("max_tokens", "64"), ("scores", ["0.6", "0.4"]), ("messages", [["a"]])])
def test_text_is_no_number(name: str, odd: Any) -> None:
    with pytest.raises(ShelfmarkError, match=rf"^a.jsonl, id 1-a: damaged \({name}.*delete the file$"):
        Request.from_dict({**REQUEST.to_dict(), name: odd}, "a.jsonl")


def test_an_answer_to_another_request() -> None:
    COMPLETION.check_answers(REQUEST)
    with pytest.raises(ShelfmarkError, match="3 log-probabilities, and the request 2 candidates"):
        Completion("1-a", "x", [-1.0, -1.0, -1.0]).check_answers(REQUEST)
