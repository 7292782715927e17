"""How right the surest answers are: accuracy against the share of rows that are answered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from measure.calibration import by_confidence

POINTS = 101


@dataclass(frozen=True)
class Coverage:
    """One point of a coverage curve.

    Attributes
    ----------
    share : float
        The surest rows, as a share of all, in (0, 1].
    accuracy : float
        The share of them that are right.
    confidence : float
        The least confidence among them.
    rows : int
        How many they are.
    """

    share: float
    accuracy: float
    confidence: float
    rows: int


def coverage_curve(confidence: ArrayLike, right: ArrayLike, points: int = POINTS) -> list[Coverage]:
    """Return the accuracy of the surest rows, for shares of the rows from few to all.

    Also called a risk-coverage curve (there with 1 - accuracy). Rows of equal confidence are interchangeable: a part
    of a tie counts as its mean, so that the curve never depends on the order of the rows.

    Parameters
    ----------
    confidence : array of float, shape (rows,)
        Probabilities in [0, 1] that the row is right.
    right : array of bool, shape (rows,)
        Whether it is.
    points : int
        The most points, at least 1; with fewer rows there is one for each.

    Returns
    -------
    list of Coverage
        By rising share; the last is of all rows.

    References
    ----------
    R. El-Yaniv, Y. Wiener, "On the foundations of noise-free selective classification", JMLR 11 (2010), 1605-1641.
    """
    if points < 1:
        raise ValueError(f"{points} points; need at least 1")
    ordered, hits = _surest_first(confidence, right)
    rows = len(ordered)
    counts = np.unique(np.ceil(np.linspace(0, rows, min(points, rows) + 1)[1:]).astype(np.int64))
    return [
        Coverage(count / rows, float(hits[count - 1] / count), float(ordered[count - 1]), count)
        for count in counts.tolist()
    ]


def surest_share(confidence: ArrayLike, right: ArrayLike, accuracy: float) -> Coverage | None:
    """Return the largest part of the rows, surest first, of which at least so many are right.

    It ends between two confidences, never within a tie: so that a threshold can choose it.

    Parameters
    ----------
    confidence, right : array, shape (rows,)
        As of `coverage_curve`.
    accuracy : float
        The share that is to be right, in [0, 1].

    Returns
    -------
    Coverage or None
        None where no part is that accurate.
    """
    ordered, hits = _surest_first(confidence, right)
    counts = np.arange(1, len(ordered) + 1)
    ends = np.append(ordered[1:] != ordered[:-1], True)
    good = np.flatnonzero(ends & (hits / counts >= accuracy))
    if not len(good):
        return None
    at = int(good[-1])
    return Coverage((at + 1) / len(ordered), float(hits[at] / (at + 1)), float(ordered[at]), at + 1)


def _surest_first(confidence: ArrayLike, right: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the confidences, falling, and how many of the rows so far are right, ties shared out evenly."""
    rising, outcome = by_confidence(confidence, right)
    return rising[::-1], np.cumsum(outcome[::-1])
