import math

import numpy as np
import pytest

from catalog.messages import Completion, Request
from catalog.products import Products
from catalog.taxonomy import Taxonomy
from classify.answers import AnswerReader
from classify.engines.base import EngineOptions
from classify.engines.neighbours import NeighboursEngine

LEVELS = ("supergroup", "group", "module", "brand")
CIDER, LAGER, MILK = (
    ("drink", "beer", "cider", "bulmers"),
    ("drink", "beer", "lager", "stella"),
    ("food", "d", "milk", "own"),
)
TAXONOMY = Taxonomy(LEVELS, {CIDER: 3, LAGER: 5, MILK: 9})


def products(rows: int) -> Products:
    return Products(list(range(rows)), {"description": ["x"] * rows}, [""] * rows, np.full(rows, np.nan))


def read(*pairs: tuple[Request, Completion | None], policy: str = "path"):
    requests = [request for request, _ in pairs]
    completions = {answer.id: answer for _, answer in pairs if answer is not None}
    return AnswerReader(TAXONOMY, policy).read(products(len(pairs)), requests, completions)


def asked(name: str = "0-a", candidates=(CIDER, LAGER), scores=(0.7, 0.2)) -> Request:
    return Request(name, [{"role": "user", "content": "?"}], list(candidates), list(scores))


def test_the_engine_s_choice_has_the_engine_s_probability() -> None:
    answer = Completion("0-a", "drink__beer__lager__stella", [math.log(0.1), math.log(0.8)])
    (found,) = read((asked(), answer))
    assert (found.id, found.path, found.status) == (0, LAGER, "exact")
    assert found.confidence == pytest.approx(0.8)


def test_without_probabilities_the_candidate_s_score_counts() -> None:
    (found,) = read((asked(), Completion("0-a", "drink__beer__lager__stella")))
    assert (found.path, found.confidence) == (LAGER, 0.2)


def test_a_malformed_answer_is_repaired() -> None:
    (found,) = read((asked(), Completion("0-a", "drink > beer > lagr > stela")))
    assert (found.path, found.status) == (LAGER, "repaired")


@pytest.mark.parametrize("text", ["", "   ", "?????", "food__d__milk__own"])
def test_no_usable_answer_falls_back_on_the_best_candidate(text: str) -> None:
    (found,) = read((asked(), Completion("0-a", text)))
    assert (found.path, found.status, found.confidence) == (CIDER, "fallback", 0.7)


def test_an_error_or_no_record_is_failed() -> None:
    error = Completion("0-a", "drink__beer__lager__stella", error="time out")
    one, other = read((asked(), error), (asked("1-b"), None))
    assert (one.path, one.status) == (other.path, other.status) == (CIDER, "failed")


def test_without_candidates_the_answer_or_the_most_frequent_path() -> None:
    free = asked(candidates=(), scores=())
    (answered,) = read((free, Completion("0-a", "drink__beer__lager__stella")))
    (failed,) = read((free, Completion("0-a", error="no candidates")))
    assert (answered.path, answered.status) == (LAGER, "exact")
    assert (failed.path, failed.status) == (MILK, "failed")
    assert 0 <= answered.confidence <= 1
    assert 0 <= failed.confidence <= 1


def test_brand_free_allows_a_new_pair() -> None:
    new = ("drink", "beer", "cider", "stella")
    request, answer = asked(candidates=(new, CIDER)), Completion("0-a", "drink__beer__cider__stella")
    assert read((request, answer), policy="brand-free")[0].path == new


def test_rows_keep_their_order_whatever_order_answers_come_in() -> None:
    requests = [asked(f"{row}-x") for row in range(5)]
    texts = ["drink__beer__cider__bulmers", "drink__beer__lager__stella"]
    answers = {f"{row}-x": Completion(f"{row}-x", texts[row % 2]) for row in (3, 0, 4, 2, 1)}
    found = AnswerReader(TAXONOMY, "path").read(products(5), requests, answers)
    assert [prediction.id for prediction in found] == [0, 1, 2, 3, 4]
    assert [prediction.path for prediction in found] == [CIDER, LAGER, CIDER, LAGER, CIDER]


def test_the_neighbours_engine_takes_the_first_candidate() -> None:
    requests = [asked(), asked("1-b", (), ()), asked("2-c", (MILK,), (0.0,))]
    done = list(NeighboursEngine(EngineOptions()).complete(requests))
    assert [answer.id for answer in done] == ["0-a", "1-b", "2-c"]
    assert done[0].text == "drink__beer__cider__bulmers"
    assert done[0].logprobs == pytest.approx([math.log(0.7), math.log(0.2)], abs=1e-6)
    assert done[1].error == "no candidates"
    assert math.isfinite(done[2].logprobs[0])
    assert [Completion.from_dict(answer.to_dict()) for answer in done] == done
