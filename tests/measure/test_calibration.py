import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from measure.calibration import Calibrator, brier_score, expected_calibration_error, reliability_table

# Few distinct values, so that ties are the rule.
tied = st.lists(st.tuples(st.integers(0, 8).map(lambda n: n / 8), st.booleans()), min_size=1, max_size=80)
scores = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80)


def _arrays(rows: list) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score for score, _ in rows]), np.array([right for _, right in rows])


def test_reliability_by_hand() -> None:
    table = reliability_table([0.9, 0.1, 0.8, 0.2, 0.6], [1, 0, 1, 1, 0], bins=2)
    assert [(part.low, part.high, part.rows) for part in table] == [(0.1, 0.6, 3), (0.8, 0.9, 2)]
    assert [part.confidence for part in table] == pytest.approx([0.3, 0.85])
    assert [part.accuracy for part in table] == pytest.approx([1 / 3, 1])
    error = expected_calibration_error([0.9, 0.1, 0.8, 0.2, 0.6], [1, 0, 1, 1, 0], bins=2)
    assert error == pytest.approx(3 / 5 * (1 / 3 - 0.3) + 2 / 5 * 0.15)


def test_a_tie_over_bins_gives_each_the_same_accuracy() -> None:
    table = reliability_table([0.5] * 8, [1, 1, 0, 0, 0, 0, 0, 0], bins=4)
    assert [part.accuracy for part in table] == [0.25] * 4
    assert expected_calibration_error([0.5] * 8, [1, 1, 0, 0, 0, 0, 0, 0], bins=4) == 0.25


@given(tied, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list, random) -> None:
    shuffled = random.sample(rows, len(rows))
    assert reliability_table(*_arrays(rows)) == reliability_table(*_arrays(shuffled))


@given(st.lists(st.booleans(), min_size=15, max_size=200))
def test_without_ties_it_is_the_plain_sum(right: list) -> None:
    confidence = np.linspace(0.1, 0.9, len(right))
    parts = np.array_split(np.arange(len(right)), 15)
    gaps = [len(part) * abs(np.mean(np.array(right)[part]) - confidence[part].mean()) for part in parts]
    order = np.random.default_rng(1).permutation(len(right))
    found = expected_calibration_error(confidence[order], np.array(right)[order])
    assert found == pytest.approx(sum(gaps) / len(right))


@given(tied)
def test_bins_hold_all_rows_in_equal_mass(rows: list) -> None:
    table = reliability_table(*_arrays(rows))
    sizes = [part.rows for part in table]
    assert sum(sizes) == len(rows)
    assert max(sizes) - min(sizes) <= 1
    assert sum(part.rows * part.accuracy for part in table) == pytest.approx(sum(right for _, right in rows))
    assert 0 <= expected_calibration_error(*_arrays(rows)) <= 1


def test_brier_by_hand() -> None:
    assert brier_score([0.9, 0.2], [True, False]) == pytest.approx((0.01 + 0.04) / 2)


@pytest.mark.parametrize("metric", [reliability_table, expected_calibration_error, brier_score, Calibrator.fit])
@pytest.mark.parametrize(
    ("confidence", "right"),
    [([], []), ([0.5], [1, 0]), ([float("nan")], [1]), ([1.1], [1]), ([-0.1], [0]), ([0.5], [2]), ([[0.5]], [[1]])],
)
def test_what_is_no_confidence_is_refused(metric, confidence, right) -> None:
    with pytest.raises(ValueError, match=r"confidence|right"):
        metric(confidence, right)


def test_no_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        reliability_table([0.5], [1], bins=0)


def test_calibrator_finds_the_probability() -> None:
    random = np.random.default_rng(0)
    # As a vote gives them: a crowd at exactly 1, the rest spread out; sure of itself far too often.
    score = np.where(random.random(6000) < 0.3, 1.0, random.random(6000))
    chance = 0.05 + 0.75 * score**3
    right = random.random(6000) < chance
    calibrator = Calibrator.fit(score[:4000], right[:4000])
    found = calibrator.apply(score[4000:])
    assert np.sqrt(np.mean((found - chance[4000:]) ** 2)) < 0.03
    assert expected_calibration_error(found, right[4000:]) < 0.04
    assert expected_calibration_error(score[4000:], right[4000:]) > 0.2
    # Ranking survives: nearly as many distinct values as before, where plain isotonic steps leave a few dozen.
    assert len(np.unique(found)) > 0.9 * len(np.unique(score[4000:]))


@given(scores, st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_calibrator_rises_and_never_is_certain(rows: list, new: list) -> None:
    found = Calibrator.fit(*_arrays(rows)).apply(np.sort(np.array([*new, 0.0, 1.0])))
    assert (np.diff(found) >= 0).all()
    assert found[0] >= 1e-4
    assert found[-1] <= 1 - 1e-4


@given(tied, st.randoms(use_true_random=False))
def test_calibrator_does_not_depend_on_order_and_survives_json(rows: list, random) -> None:
    calibrator = Calibrator.fit(*_arrays(rows))
    again = Calibrator.fit(*_arrays(random.sample(rows, len(rows))))
    assert again == calibrator
    assert Calibrator.from_dict(json.loads(json.dumps(calibrator.to_dict()))) == calibrator


@pytest.mark.parametrize(
    ("score", "right", "expected"),
    [
        ([0.4], [True], 0.75),
        ([0.4], [False], 0.25),
        ([0.7] * 9, [True] * 4 + [False] * 5, 0.45),
        ([1.0] * 99, [True] * 99, 0.995),
        (np.ones(10**5), np.ones(10**5), 1 - 1e-4),
        (np.ones(10**5), np.zeros(10**5), 1e-4),
    ],
)
def test_one_row_or_one_score_gives_a_constant(score, right, expected) -> None:
    assert Calibrator.fit(score, right).apply([0.0, 0.5, 1.0]) == pytest.approx([expected] * 3)


def test_all_right_still_is_a_map() -> None:
    found = Calibrator.fit(np.linspace(0, 1, 500), np.ones(500)).apply([0.0, 1.0])
    assert (found > 0.95).all()


def test_scores_that_fall_with_rightness_are_flattened() -> None:
    score = np.linspace(0, 1, 400)
    found = Calibrator.fit(score, score < 0.5).apply(score)
    assert np.ptp(found) < 1e-9
    assert found[0] == pytest.approx(0.5, abs=0.05)


def test_identity_leaves_scores_alone() -> None:
    assert Calibrator.identity().apply([0.0, 0.25, 1.0]) == pytest.approx([1e-4, 0.25, 1 - 1e-4])


def test_apply_keeps_the_shape_and_refuses_nan() -> None:
    assert Calibrator.identity().apply(np.full((2, 3), 0.5)).shape == (2, 3)
    assert Calibrator.identity().apply([]).shape == (0,)
    with pytest.raises(ValueError, match="NaN"):
        Calibrator.identity().apply([0.5, float("nan")])


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"scores": [0.1]},
        {"scores": [], "probabilities": []},
        {"scores": [0.1, 0.2], "probabilities": [0.5]},
        {"scores": [0.2, 0.1], "probabilities": [0.1, 0.2]},
        {"scores": [0.1, 0.2], "probabilities": [0.2, 0.1]},
        {"scores": [0.1], "probabilities": [1.0]},
        {"scores": [0.1], "probabilities": [float("nan")]},
        {"scores": [float("inf")], "probabilities": [0.5]},
        {"scores": None, "probabilities": [0.5]},
        {"scores": ["x"], "probabilities": [0.5]},
    ],
)
def test_damaged_knots_are_refused(value) -> None:
    with pytest.raises(ValueError, match=r"calibrator|could not convert"):
        Calibrator.from_dict(value)
