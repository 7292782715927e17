"""The accuracy of the surest rows."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from measure.coverage import coverage_curve, surest_share

ROWS = st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=40)


def test_by_hand():
    curve = coverage_curve([0.9, 0.1, 0.8, 0.7], [True, False, False, True])
    assert [point.share for point in curve] == [0.25, 0.5, 0.75, 1.0]
    assert [point.accuracy for point in curve] == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])
    assert [point.confidence for point in curve] == [0.9, 0.8, 0.7, 0.1]
    assert [point.rows for point in curve] == [1, 2, 3, 4]


def test_a_tie_is_shared_out():
    assert [point.accuracy for point in coverage_curve([0.5, 0.5], [True, False])] == [0.5, 0.5]


def test_few_points():
    curve = coverage_curve(np.linspace(0, 1, 1000), np.ones(1000), points=10)
    assert [point.rows for point in curve] == list(range(100, 1001, 100))


def test_the_largest_part_that_is_right_enough():
    confidence, right = [0.9, 0.8, 0.8, 0.3], [True, True, False, False]
    assert surest_share(confidence, right, 0.9).rows == 1
    assert surest_share(confidence, right, 0.6).rows == 3
    assert surest_share(confidence, right, 0.5).share == 1.0
    assert surest_share(confidence, [False] * 4, 0.5) is None
    # A part that ends within a tie could not be chosen by a threshold.
    assert surest_share([0.8, 0.8], [True, False], 0.9) is None


def test_refused():
    with pytest.raises(ValueError, match="at least 1"):
        coverage_curve([0.5], [True], points=0)
    with pytest.raises(ValueError, match=r"not in \[0, 1\]"):
        coverage_curve([1.5], [True])


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows, draw) -> None:
    curve = coverage_curve(*zip(*rows, strict=True))
    assert curve[-1].accuracy == pytest.approx(sum(right for _, right in rows) / len(rows))
    assert all(before.confidence >= after.confidence for before, after in pairwise(curve))
    draw.shuffle(rows)
    assert coverage_curve(*zip(*rows, strict=True)) == curve
