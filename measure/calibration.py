"""Whether confidences are probabilities, and how to make scores into such."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 15
FLOOR = 1e-4
RESAMPLES = 100


@dataclass(frozen=True)
class ReliabilityBin:
    """One row of a reliability table.

    Attributes
    ----------
    low, high : float
        The lowest and highest confidence in the bin.
    confidence, accuracy : float
        The mean confidence, and the share of rows that are right.
    rows : int
        How many rows the bin holds.
    """

    low: float
    high: float
    confidence: float
    accuracy: float
    rows: int


def checked(confidence: ArrayLike, right: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both as arrays of float, of shape (rows,).

    Raises
    ------
    ValueError
        When there are no rows, the shapes differ, or a value is not what it should be.
    """
    values, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if values.ndim != 1 or values.shape != hits.shape or not len(values):
        raise ValueError(f"confidence has shape {values.shape} and right {hits.shape}; need (rows,), at least one row")
    # Written so that NaN, which compares false, is refused, too.
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("a confidence is not in [0, 1]")
    if not np.isin(hits, (0.0, 1.0)).all():
        raise ValueError("right must hold true and false alone")
    return values, hits


def by_confidence(confidence: ArrayLike, right: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the confidences, rising, and how right each row is.

    Rows of equal confidence are interchangeable: each counts as the mean of its tie, so that nothing that is made of
    them depends on the order of the rows.

    Raises
    ------
    ValueError
        As `checked`.
    """
    values, hits = checked(confidence, right)
    distinct, tie, sizes = np.unique(values, return_inverse=True, return_counts=True)
    return np.repeat(distinct, sizes), np.repeat(np.bincount(tie, weights=hits) / sizes, sizes)


def reliability_table(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> list[ReliabilityBin]:
    """Sort the rows by confidence, cut them into bins of equal mass, and return what each bin promised and kept.

    The bins' sizes differ by one row at most, larger bins first; with fewer rows than `bins` each row is a bin. A tie
    that spans bins gives each of them the same accuracy.

    Parameters
    ----------
    confidence : array of float, shape (rows,)
        Probabilities in [0, 1] that the row is right.
    right : array of bool, shape (rows,)
        Whether it is.
    bins : int
        How many bins, at least 1.

    Returns
    -------
    list of ReliabilityBin
        By rising confidence.
    """
    if bins < 1:
        raise ValueError(f"{bins} bins; need at least 1")
    ordered, outcome = by_confidence(confidence, right)
    return [
        ReliabilityBin(
            low=float(ordered[part[0]]),
            high=float(ordered[part[-1]]),
            confidence=float(ordered[part].mean()),
            accuracy=float(outcome[part].mean()),
            rows=len(part),
        )
        for part in np.array_split(np.arange(len(ordered)), min(bins, len(ordered)))
    ]


def expected_calibration_error(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> float:
    """Return the mean gap between promise and outcome: the sum over bins of rows/all rows * abs(accuracy - confidence).

    The bins are those of `reliability_table`: equal mass, 15 unless told, ties shared out evenly.

    Parameters
    ----------
    confidence : array of float, shape (rows,)
        Probabilities in [0, 1] that the row is right.
    right : array of bool, shape (rows,)
        Whether it is.
    bins : int
        How many bins, at least 1.

    Returns
    -------
    float
        In [0, 1]; 0 is best.

    References
    ----------
    M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning",
    AAAI (2015). Equal mass: K. Nguyen, B. O'Connor, "Posterior calibration and exploratory analysis for natural
    language processing models", EMNLP (2015).
    """
    table = reliability_table(confidence, right, bins)
    return sum(part.rows * abs(part.accuracy - part.confidence) for part in table) / sum(part.rows for part in table)


def calibration_error_interval(
    confidence: ArrayLike, right: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Return a 95% interval of `expected_calibration_error`: the percentiles of its bootstrap.

    The error cannot be below 0, so few rows have a large one by chance alone; so have their resamples.

    Parameters
    ----------
    confidence, right
        As `expected_calibration_error` takes them.
    resamples : int
        How many times as many rows are drawn with replacement.
    seed : int
        Draws them.
    """
    values, hits = checked(confidence, right)
    random = np.random.default_rng(seed)
    errors = []
    for _ in range(resamples):
        rows = random.integers(len(values), size=len(values))
        errors.append(expected_calibration_error(values[rows], hits[rows]))
    low, high = np.quantile([*errors, expected_calibration_error(values, hits)], [0.025, 0.975])
    return float(low), float(high)


def brier_score(confidence: ArrayLike, right: ArrayLike) -> float:
    """Return the mean of (confidence - right)², in [0, 1]; 0 is best.

    Parameters
    ----------
    confidence : array of float, shape (rows,)
        Probabilities in [0, 1] that the row is right.
    right : array of bool, shape (rows,)
        Whether it is.

    References
    ----------
    G. W. Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78 (1950), 1-3.
    """
    values, hits = checked(confidence, right)
    return float(((values - hits) ** 2).mean())


@dataclass(frozen=True)
class Calibrator:
    """A monotone map from a raw score to the probability of being right: straight lines between knots, flat outside.

    Fitted with centred isotonic regression: the rows are sorted by score and put into small groups (about the square
    root of the number of rows in each, equal scores always together), each group's rate is drawn slightly towards one
    half ((right + 1/2) / (rows + 1)), the rates are made to rise with isotonic regression, and each level stretch of it
    becomes one knot at its mean score. Against plain isotonic steps this keeps most scores apart which were apart
    before, promises less at the sparse ends, and comes about a third nearer to the true probabilities.

    Parameters
    ----------
    scores : tuple of float
        The knots' scores, rising.
    probabilities : tuple of float
        The knots' probabilities, never falling, in [0.0001, 0.9999]; same length, at least 1.

    References
    ----------
    A. P. Oron, N. Flournoy, "Centered isotonic regression: point and interval estimation for dose-response studies",
    Statistics in Biopharmaceutical Research 9 (2017), 258-267.
    B. Zadrozny, C. Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD (2002).
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse knots that do not make a rising map."""
        scores, values = np.array(self.scores, dtype=np.float64), np.array(self.probabilities, dtype=np.float64)
        if scores.ndim != 1 or scores.shape != values.shape or not len(scores):
            raise ValueError("a calibrator needs as many scores as probabilities, at least one")
        rising = (np.diff(scores) > 0).all() and (np.diff(values) >= 0).all()
        if not (np.isfinite(scores).all() and rising and values[0] >= FLOOR and values[-1] <= 1 - FLOOR):
            raise ValueError(f"a calibrator's knots must rise, with probabilities in [{FLOOR}, {1 - FLOOR}]")

    @classmethod
    def identity(cls) -> Calibrator:
        """Return the map that leaves a score as it is (but for the ends): for where there is nothing to fit on."""
        return cls((FLOOR, 1 - FLOOR), (FLOOR, 1 - FLOOR))

    @classmethod
    def fit(cls, score: ArrayLike, right: ArrayLike) -> Calibrator:
        """Fit the map on rows that the scorer was not trained on.

        Parameters
        ----------
        score : array of float, shape (rows,)
            Raw scores in [0, 1]. One row or one constant score gives a constant map.
        right : array of bool, shape (rows,)
            Whether the row is right.
        """
        from sklearn.isotonic import isotonic_regression

        values, hits = checked(score, right)
        centres, rates, weights = _groups(values, hits)
        levels = isotonic_regression(rates, sample_weight=weights)
        _, stretch = np.unique(levels, return_inverse=True)
        total = np.bincount(stretch, weights=weights)
        knots = np.bincount(stretch, weights=weights * centres) / total
        chances = np.clip(np.bincount(stretch, weights=weights * levels) / total, FLOOR, 1 - FLOOR)
        # Rounding may put two knots on one score, or a later level a hair below the one before.
        kept = np.concatenate([[True], np.diff(knots) > 0])
        return cls(tuple(knots[kept].tolist()), tuple(np.maximum.accumulate(chances[kept]).tolist()))

    def apply(self, score: ArrayLike) -> NDArray[np.float64]:
        """Return the probabilities for raw scores.

        Parameters
        ----------
        score : array of float, any shape
            Beyond the outer knots the map is flat.

        Returns
        -------
        ndarray of float64, same shape
            In [0.0001, 0.9999], in the order of the scores.
        """
        values = np.asarray(score, dtype=np.float64)
        if np.isnan(values).any():
            raise ValueError("a score is NaN")
        return np.asarray(np.interp(values, self.scores, self.probabilities), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Return the knots as plain values, for JSON."""
        return {"scores": list(self.scores), "probabilities": list(self.probabilities)}

    @classmethod
    def from_dict(cls, value: dict[str, Sequence[float]]) -> Calibrator:
        """Read what `to_dict` returned.

        Raises
        ------
        ValueError
            When a key is missing or the knots do not make a rising map.
        """
        if not isinstance(value, dict) or not {"scores", "probabilities"} <= value.keys():
            raise ValueError("a calibrator needs 'scores' and 'probabilities'")
        try:
            return cls(tuple(map(float, value["scores"])), tuple(map(float, value["probabilities"])))
        except TypeError:
            raise ValueError("a calibrator's 'scores' and 'probabilities' must be lists of numbers") from None


def _groups(
    values: NDArray[np.float64], hits: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Put rows of neighbouring scores together: mean score, drawn-in rate and number of rows of each group."""
    distinct, tie, sizes = np.unique(values, return_inverse=True, return_counts=True)
    size = math.ceil(math.sqrt(len(values)))
    # A score belongs to the group in which the middle of its tie falls: a tie is never split, and a large one (a score
    # of exactly 1 is common) pulls few neighbours in.
    middle = np.cumsum(sizes) - (sizes + 1) / 2
    _, group = np.unique(middle // size, return_inverse=True)
    rows = np.bincount(group, weights=sizes).astype(np.float64)
    centres = np.bincount(group, weights=sizes * distinct) / rows
    right = np.bincount(group, weights=np.bincount(tie, weights=hits))
    return centres, (right + 0.5) / (rows + 1), rows
