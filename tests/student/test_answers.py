from types import SimpleNamespace

import numpy as np
import pytest

from measure.calibration import Calibrator
from student.answers import UNSEEN, answer, joined
from student.calibrate import Calibration
from student.candidates import Candidates
from student.judge import Judge, Judged
from student.labels import Counts, LabelSpace
from student.texts import KnownTexts

AS_IT_IS = Calibration([Calibrator.identity()] * 2, Calibrator.identity())


@pytest.fixture
def judge() -> Judge:
    """Knows the paths a-x (once), a-y (three times) and b-x (once)."""
    space = LabelSpace([("a",), ("b",)], ["x", "y"])
    pairs = Counts(space.key(np.array([0, 0, 1]), np.array([0, 1, 0])), np.array([1, 3, 1], dtype=np.float32))
    return Judge(space, None, None, SimpleNamespace(tables={"pairs": pairs}), None, [], KnownTexts.none())


def judged(upper: list[int], last: list[int], shares: list[float], seen: list[bool]) -> Judged:
    """One row and its candidates."""
    none = np.zeros(len(upper), dtype=np.float32)
    row = np.zeros(len(upper), dtype=np.int64)
    found = Candidates(1, row, np.array(upper), np.array(last), none, none, np.zeros((5, len(upper)), np.float32))
    return Judged(found, np.array(shares, dtype=np.float32), np.array(seen), np.zeros(1, dtype=np.int64))


def test_the_best_come_first_and_upper_levels_gather_shares(judge: Judge) -> None:
    block = judged([0, 0, 1], [0, 1, 0], [0.3, 0.5, 0.1], [True] * 3)
    found = answer(block, judge, AS_IT_IS, 2, 2, "brand-free")
    assert found.paths == [[("a", "y"), ("a", "x")]]
    np.testing.assert_allclose(found.probabilities, [[0.5, 0.3]], atol=1e-6)
    np.testing.assert_allclose(found.level_probabilities, [[0.8, 0.5]], atol=1e-6)


def test_a_new_pair_is_an_answer_where_the_brand_is_free(judge: Judge) -> None:
    block = judged([1, 1], [1, 0], [0.6, 0.2], [False, True])
    assert answer(block, judge, AS_IT_IS, 2, 1, "brand-free").paths == [[("b", "y")]]
    assert answer(block, judge, AS_IT_IS, 2, 1, "path").paths == [[("b", "x")]]


def test_without_a_candidate_that_may_be_it_is_the_commonest_path_of_the_likeliest_upper_path(judge: Judge) -> None:
    block = judged([0, 1], [0, 1], [0.6, 0.2], [False, False])
    found = answer(block, judge, AS_IT_IS, 2, 2, "path")
    assert found.paths == [[("a", "y")]]
    assert found.probabilities.tolist() == [[UNSEEN, 0.0]]
    assert found.level_probabilities.tolist() == [[UNSEEN, UNSEEN]]


def test_blocks_are_joined_in_order(judge: Judge) -> None:
    one, other = (answer(judged([at], [0], [0.5], [True]), judge, AS_IT_IS, 2, 1, "path") for at in (0, 1))
    both = joined([one, other])
    assert both.paths == [[("a", "x")], [("b", "x")]]
    assert both.probabilities.shape == (2, 1)
    assert both.level_probabilities.shape == (2, 2)
