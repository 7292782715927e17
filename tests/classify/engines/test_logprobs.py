import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.messages import Request
from classify.engines.logprobs import candidate_logprobs, request_logprobs

ASKED = Request("1", [], [("a", "x"), ("a", "y"), ("b", "x")], [0.5, 0.3, 0.2])
STEPS = [
    [("a", math.log(0.7)), ("b", math.log(0.2)), ("zz", math.log(0.1))],
    [("__", 0.0)],
    [("y", math.log(0.6)), ("x", math.log(0.4))],
    [("", 0.0)],
]


def chances(found: list[float] | None) -> list[float]:
    assert found is not None
    return [math.exp(value) for value in found]


def test_each_turn_not_taken_leads_to_another_candidate() -> None:
    # 0.9 of the first step leads anywhere: 7/9 to a, 2/9 to b.
    assert chances(request_logprobs(ASKED, "choice", STEPS)) == pytest.approx(
        [7 / 9 * 0.4, 7 / 9 * 0.6, 2 / 9], abs=1e-4
    )


def test_a_turn_that_leads_to_several_is_shared_out_by_the_retriever_s_scores() -> None:
    steps = [[("b", math.log(0.2)), ("a", math.log(0.8))]]
    assert chances(request_logprobs(ASKED, "choice", steps)) == pytest.approx([0.8 * 5 / 8, 0.8 * 3 / 8, 0.2], abs=1e-4)


@pytest.mark.parametrize("start", ['{"label": "', '{ "label" : "', '{"label":"'])
def test_in_json_the_label_is_looked_for(start: str) -> None:
    steps = [[(start[:4], 0.0)], [(start[4:], 0.0)], *STEPS[:3], [('"}', 0.0)]]
    assert chances(request_logprobs(ASKED, "json", steps)) == pytest.approx([0.3111, 0.4667, 0.2222], abs=1e-3)


def test_a_token_across_the_beginning() -> None:
    steps = [[('{"label": "a', math.log(0.7)), ('{"label": "b', math.log(0.3))], *STEPS[1:3]]
    assert chances(request_logprobs(ASKED, "json", steps)) == pytest.approx([0.28, 0.42, 0.3], abs=1e-3)


def test_space_before_a_free_answer() -> None:
    assert request_logprobs(ASKED, "off", [[("\n ", 0.0)], *STEPS]) == request_logprobs(ASKED, "off", STEPS)


@pytest.mark.parametrize("text", ["sorry", '{"label": ', ""])
def test_what_is_no_candidate_tells_nothing(text: str) -> None:
    assert request_logprobs(ASKED, "json", [[(text, 0.0)]]) is None
    assert request_logprobs(ASKED, "choice", [[(text, 0.0)]]) is None
    assert request_logprobs(ASKED, "choice", []) is None


def test_a_candidate_that_begins_another() -> None:
    found = candidate_logprobs([[("ab", math.log(0.9))], [("", 0.0)]], ["ab", "abc"], [0.5, 0.5])
    assert chances(found)[0] > 0.99


TEXTS = st.lists(st.text("ab_", min_size=1, max_size=6), min_size=1, max_size=5, unique=True)


@given(TEXTS, st.data())
def test_whatever_is_written_they_add_up_to_one(answers, data) -> None:
    written = data.draw(st.sampled_from(answers))
    steps, at = [], 0
    while at < len(written):
        size = data.draw(st.integers(1, 3))
        others = data.draw(st.lists(st.tuples(st.text("ab_", max_size=3), st.floats(-20, 0)), max_size=4))
        steps.append([(written[at : at + size], data.draw(st.floats(-20, 0))), *others])
        at += size
    found = candidate_logprobs(steps, answers, [0.1] * len(answers))
    assert found is not None
    assert sum(map(math.exp, found)) == pytest.approx(1, abs=1e-4)
    assert len(found) == len(answers)
