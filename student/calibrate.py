"""From the re-ranker's shares to probabilities, for each policy and each level, fitted on rows left out of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measure.calibration import FLOOR, Calibrator, expected_calibration_error

Shares = NDArray[np.float32]


@dataclass
class Calibration:
    """The maps of one policy.

    Attributes
    ----------
    levels : list of Calibrator
        For each level, from the share of the best path's prefix to the probability that the prefix is right.
    others : Calibrator
        From the share of a path that is not the best to the probability that it is right.
    """

    levels: list[Calibrator]
    others: Calibrator

    @classmethod
    def fit(
        cls,
        level_shares: Shares,
        level_right: NDArray[np.bool_],
        other_shares: Shares,
        other_right: NDArray[np.bool_],
    ) -> Calibration:
        """Fit on held-out rows.

        Parameters
        ----------
        level_shares : ndarray of float32, shape (rows, levels)
            The best path's share, by level.
        level_right : ndarray of bool, shape (rows, levels)
            Whether its first levels are right.
        other_shares : ndarray of float32, shape (others,)
            Shares of further candidates.
        other_right : ndarray of bool, shape (others,)
            Whether those are right.
        """
        levels = [
            Calibrator.fit(shares, right) if len(shares) else Calibrator.identity()
            for shares, right in zip(level_shares.T.clip(0, 1), level_right.T, strict=True)
        ]
        others = Calibrator.fit(other_shares.clip(0, 1), other_right) if len(other_shares) else Calibrator.identity()
        return cls(levels, others)

    def best(self, level_shares: Shares) -> NDArray[np.float64]:
        """Return probabilities by level, shape (rows, levels), never rising with depth."""
        columns = [
            calibrator.apply(shares.clip(0, 1)) for calibrator, shares in zip(self.levels, level_shares.T, strict=True)
        ]
        # The last level is the whole path, on which confidence rests; wider levels are at least as sure.
        return np.maximum.accumulate(np.stack(columns, axis=1)[:, ::-1], axis=1)[:, ::-1]

    def further(self, shares: Shares, best: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return probabilities of the paths after the best, shape (rows, n), none above its forerunner's."""
        chances = np.where(shares > 0, self.others.apply(shares.clip(0, 1)), 0.0)
        both = np.concatenate([best[:, None], chances], axis=1)
        # A list of candidates is exclusive: together they cannot exceed certainty.
        room = np.maximum(1 - np.cumsum(both, axis=1) + both, FLOOR)
        return np.asarray(np.minimum.accumulate(np.minimum(both, room), axis=1)[:, 1:])

    def to_dict(self) -> dict[str, Any]:
        """Return the maps as plain values, for JSON."""
        return {"levels": [level.to_dict() for level in self.levels], "others": self.others.to_dict()}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Calibration:
        """Read what `to_dict` returned."""
        return cls([Calibrator.from_dict(level) for level in value["levels"]], Calibrator.from_dict(value["others"]))


def calibration_report(shares: Shares, right: NDArray[np.bool_]) -> dict[str, float]:
    """Measure what calibration does on held-out rows: fitted on one half of them, applied to the other, both ways.

    Parameters
    ----------
    shares : ndarray of float32, shape (rows,)
        The best path's share.
    right : ndarray of bool, shape (rows,)
        Whether it is right.

    Returns
    -------
    dict
        ``rows``, ``item_accuracy``, ``ece_before`` and ``ece_after`` (15 equal-mass bins); empty for one row or none.
    """
    if len(shares) < 2:
        return {}
    shares = shares.clip(0, 1)
    after = np.zeros(len(shares))
    for half in (0, 1):
        here = np.arange(len(shares)) % 2 == half
        after[here] = Calibrator.fit(shares[~here], right[~here]).apply(shares[here])
    return {
        "rows": len(shares),
        "item_accuracy": round(float(right.mean()), 6),
        "ece_before": round(float(expected_calibration_error(shares, right)), 6),
        "ece_after": round(float(expected_calibration_error(after, right)), 6),
    }
