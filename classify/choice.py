"""Weighing what several sources say of the same candidates: which one is right, and how likely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measure.calibration import Calibrator

Figures = NDArray[np.float64]
"""One row's candidates: shape (candidates, features)."""

PENALTY = 1.0
FOLDS = 5
LEAST = 1e-4
SOURCE_FIGURES = 3
"""How many figures a source has of each candidate."""


def source_figures(chances: Sequence[float | None]) -> Figures:
    """Return the features of one source that gives candidates probabilities, shape (candidates, 3).

    Parameters
    ----------
    chances : sequence of float or None
        Its probability of each candidate; None where it does not name it.
    """
    named = np.array([LEAST if chance is None else min(max(chance, LEAST), 1.0) for chance in chances])
    absent = np.array([chance is None for chance in chances], dtype=np.float64)
    return np.stack([np.log(named), np.where(absent > 0, 0.0, named), absent], axis=1)


@dataclass
class Choice:
    """A conditional logit over each row's candidates, then isotonic calibration of what it says of the best one.

    Attributes
    ----------
    coefficients : list of float
        One for each feature.
    calibrator : Calibrator
        From the share of the best candidate to the probability that it is right.

    References
    ----------
    D. McFadden, "Conditional logit analysis of qualitative choice behavior", Frontiers in Econometrics (1974).
    """

    coefficients: list[float]
    calibrator: Calibrator

    def shares(self, figures: Figures) -> NDArray[np.float64]:
        """Return each candidate's share, shape (candidates,); they add up to 1."""
        return _shares(figures, np.array(self.coefficients))

    def probabilities(self, figures: Figures) -> NDArray[np.float64]:
        """Return the calibrated probability of each candidate, shape (candidates,), in the order of the shares."""
        shares = self.shares(figures)
        return self.calibrator.apply(shares) + 1e-6 * shares  # flat stretches of the calibration keep the order

    @classmethod
    def fit(cls, rows: Sequence[Figures], right: Sequence[int]) -> Choice:
        """Fit on rows whose label is known.

        Parameters
        ----------
        rows : sequence of ndarray of float64, each of shape (candidates, features)
            At least one row; each with at least one candidate.
        right : sequence of int
            Which candidate is right; -1 where none is.
        """
        coefficients = _coefficients(rows, right)
        # The calibration must not see shares that the row itself has had a part in.
        best, shares = _left_out(rows, right)
        hit = np.array([mine == label for mine, label in zip(best, right, strict=True)])
        return cls([float(value) for value in coefficients], Calibrator.fit(shares, hit))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `from_dict` takes them."""
        return {"coefficients": self.coefficients, "calibrator": self.calibrator.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Choice:
        """Read what `to_dict` returned."""
        return cls([float(value) for value in values["coefficients"]], Calibrator.from_dict(values["calibrator"]))


def left_out_best(rows: Sequence[Figures], right: Sequence[int]) -> list[int]:
    """Return each row's best candidate by a choice fitted on other rows: five folds."""
    return _left_out(rows, right)[0]


def _left_out(rows: Sequence[Figures], right: Sequence[int]) -> tuple[list[int], NDArray[np.float64]]:
    """Return each row's best candidate, and its share, by a choice fitted on other rows (a lone row: on itself)."""
    best, shares = [0] * len(rows), np.zeros(len(rows))
    for fold in range(min(FOLDS, len(rows))):
        rest = [row for row in range(len(rows)) if row % FOLDS != fold] or [fold]
        coefficients = _coefficients([rows[row] for row in rest], [right[row] for row in rest])
        for row in range(fold, len(rows), FOLDS):
            mine = _shares(rows[row], coefficients)
            best[row], shares[row] = int(mine.argmax()), mine.max()
    return best, shares


def _shares(figures: Figures, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    scores = figures @ coefficients
    powers = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum())


def _coefficients(rows: Sequence[Figures], right: Sequence[int]) -> NDArray[np.float64]:
    from scipy.optimize import minimize

    width = rows[0].shape[1]
    start = np.zeros(width)
    start[0] = 1.0  # the first source's own order
    known = [row for row in range(len(rows)) if right[row] >= 0 and len(rows[row]) > 1]
    if not known:
        return start
    figures = np.concatenate([rows[row] for row in known])
    counts = np.array([len(rows[row]) for row in known])
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
    truth = begins + np.array([right[row] for row in known])
    wanted = figures[truth].sum(axis=0)

    def loss(coefficients: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = figures @ coefficients
        highest = np.repeat(np.maximum.reduceat(scores, begins), counts)
        powers = np.exp(scores - highest)
        totals = np.repeat(np.add.reduceat(powers, begins), counts)
        shares = powers / totals
        likelihood = (scores - highest - np.log(totals))[truth].sum()
        away = coefficients - start
        return (
            float(PENALTY * away @ away / 2 - likelihood),
            PENALTY * away - (wanted - shares @ figures),
        )

    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B").x)
