import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from measure.accuracy import (
    accuracy,
    item_accuracy,
    level_accuracies,
    level_hits,
    level_macro_f1,
    macro_f1,
    paired_difference,
    wilson_interval,
)

TRUTH = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "z")]
PREDICTED = [("a", "x"), ("b", "y"), ("b", ""), ("b", "z")]

values = st.sampled_from(["a", "b", "c", "d / e"])
path = st.tuples(values, values)
full_pairs = st.lists(st.tuples(path, path), min_size=1, max_size=40)


def test_hand_computed() -> None:
    assert level_hits(TRUTH, PREDICTED).tolist() == [[True, True], [False, True], [True, False], [True, True]]
    assert item_accuracy(TRUTH, PREDICTED) == 0.5
    assert level_accuracies(TRUTH, PREDICTED).tolist() == [0.75, 0.75]
    assert accuracy(TRUTH, PREDICTED) == 0.75


def test_macro_f1_by_hand() -> None:
    # Labels: ax 1, ay 0, bx 0 (its answer was withheld), bz 1, and by 0, which is only predicted.
    assert macro_f1(TRUTH, PREDICTED) == pytest.approx(2 / 5)
    # Level 1: a TP 1 FN 1 -> 2/3; b TP 2 FP 1 -> 4/5. Level 2: x TP 1 FN 1 -> 2/3; y 1; z 1.
    assert level_macro_f1(TRUTH, PREDICTED) == pytest.approx([(2 / 3 + 4 / 5) / 2, (2 / 3 + 2) / 3])


@given(full_pairs)
def test_macro_f1_is_that_of_sklearn(pairs: list) -> None:
    truth, predicted = zip(*pairs, strict=True)
    joined = [["__".join(path) for path in paths] for paths in (truth, predicted)]
    assert macro_f1(truth, predicted) == pytest.approx(f1_score(*joined, average="macro", zero_division=0))
    for level, found in enumerate(level_macro_f1(truth, predicted)):
        columns = [[path[level] for path in paths] for paths in (truth, predicted)]
        assert found == pytest.approx(f1_score(*columns, average="macro", zero_division=0))


@given(full_pairs)
def test_accuracies_are_ordered(pairs: list) -> None:
    truth, predicted = zip(*pairs, strict=True)
    assert 0 <= item_accuracy(truth, predicted) <= level_accuracies(truth, predicted).min() + 1e-12
    assert level_accuracies(truth, predicted).min() <= accuracy(truth, predicted) + 1e-12 <= 1 + 2e-12


def test_paths_that_join_to_the_same_text_are_two_labels() -> None:
    truth = [("a_", "b"), ("a", "_b")]
    assert macro_f1(truth, truth[::-1]) == 0
    assert macro_f1(truth, truth) == 1


def test_an_empty_value_is_never_right() -> None:
    assert level_hits([("a", "")], [("a", "")]).tolist() == [[True, False]]


@pytest.mark.parametrize("metric", [item_accuracy, level_accuracies, accuracy, macro_f1, level_macro_f1])
@pytest.mark.parametrize(
    ("truth", "predicted"), [([], []), (TRUTH, []), (TRUTH, PREDICTED[1:]), ([("a",)], [("a", "b")]), ([()], [()])]
)
def test_rows_that_do_not_match_are_refused(metric, truth, predicted) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        metric(truth, predicted)


def test_wilson_interval_of_the_literature() -> None:
    # Newcombe (1998), Statistics in Medicine 17, 857-872, table I.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(st.integers(1, 10**6).flatmap(lambda rows: st.tuples(st.integers(0, rows), st.just(rows))))
def test_wilson_interval_is_around_the_share(case: tuple) -> None:
    low, high = wilson_interval(*case)
    mirrored = wilson_interval(case[1] - case[0], case[1])
    assert 0 <= low <= case[0] / case[1] <= high <= 1
    assert low < high
    assert mirrored == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("case", [(0, 0), (-1, 5), (6, 5)])
def test_wilson_interval_refuses_what_is_no_share(case) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson_interval(*case)
    with pytest.raises(ValueError, match="between 0 and 1"):
        wilson_interval(1, 2, confidence=95)


def _lists(gained: int, lost: int, rows: int) -> tuple[list, list, list]:
    """Truth, predictions and baseline that differ in so many rows; half of the rest both have right."""
    both = (rows - gained - lost) // 2
    marks = [(1, 0)] * gained + [(0, 1)] * lost + [(1, 1)] * both + [(0, 0)] * (rows - gained - lost - both)
    answers = {1: ("a", "b"), 0: ("a", "c")}
    return [("a", "b")] * rows, [answers[ours] for ours, _ in marks], [answers[theirs] for _, theirs in marks]


def test_paired_difference_of_the_literature() -> None:
    # Airway hyper-responsiveness before and after stem cell transplantation, in M. W. Fagerland, S. Lydersen,
    # P. Laake, Statistics in Medicine 33 (2014), 2850-2875: 1 against 7 of 21.
    found = paired_difference(*_lists(1, 7, 21))
    assert (found.difference, found.low, found.high) == pytest.approx((-0.286, -0.517, -0.026), abs=5e-4)
    assert found.p_value == pytest.approx(0.0703, abs=5e-5)
    assert (found.gained, found.lost, found.rows) == (1, 7, 21)


def test_paired_difference_agrees_with_the_exact_binomial() -> None:
    for gained, lost in product(range(6), range(6)):
        differing = gained + lost
        tail = sum(math.comb(differing, k) for k in range(min(gained, lost) + 1)) / 2**differing
        assert paired_difference(*_lists(gained, lost, 12)).p_value == pytest.approx(min(1.0, 2 * tail))


@given(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 30)))
def test_paired_difference_is_symmetric_and_holds_what_it_saw(case: tuple) -> None:
    gained, lost, same = case
    truth, ours, theirs = _lists(gained, lost, gained + lost + same)
    forth, back = paired_difference(truth, ours, theirs), paired_difference(truth, theirs, ours)
    assert -1 <= forth.low < forth.difference < forth.high <= 1
    assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low), abs=1e-9)
    assert back.p_value == forth.p_value
    assert forth.difference == pytest.approx(item_accuracy(truth, ours) - item_accuracy(truth, theirs))


def test_paired_interval_is_narrower_than_two_single_ones() -> None:
    found = paired_difference(*_lists(40, 20, 1000))
    assert found.low > 0
    assert found.p_value < 0.05
    low, high = wilson_interval(510, 1000)
    assert found.high - found.low < (high - low) / 1.5


def test_paired_difference_at_the_ends() -> None:
    # Computed with 20 rows of 20 that differ one way.
    assert paired_difference(*_lists(20, 0, 20)).high == 1
    assert paired_difference(*_lists(0, 20, 20)).low == -1
    none = paired_difference(*_lists(0, 0, 20))
    assert (none.low, none.difference, none.p_value) == (pytest.approx(-none.high), 0, 1)


def test_paired_interval_holds_its_level() -> None:
    random = np.random.default_rng(5)
    chances, rows, trials = (0.12, 0.06, 0.5, 0.32), 150, 400
    held = 0
    for gained, lost, *_ in random.multinomial(rows, chances, size=trials):
        found = paired_difference(*_lists(int(gained), int(lost), rows))
        held += found.low <= 0.06 <= found.high
    assert 0.92 <= held / trials <= 0.98
