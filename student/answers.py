"""What the classifier says: a judged block becomes label paths, best first, with calibrated probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.messages import LabelPath
from catalog.schema import Policy
from student.calibrate import Calibration
from student.judge import Judge, Judged

UNSEEN = 1e-4
"""The probability of a path that stands where none of a row's candidates may."""


@dataclass
class TreePredictions:
    """What the classifier says of each product.

    Attributes
    ----------
    paths : list of lists of label paths
        Best first; up to `top_n` for each row, at least one.
    probabilities : ndarray of float64, shape (rows, top_n)
        That the whole path is right; never rising along a row, 0 where there are fewer paths.
    level_probabilities : ndarray of float64, shape (rows, levels)
        That the best path's levels are right down to each; never rising with depth, the last one being
        ``probabilities[:, 0]``.
    """

    paths: list[list[LabelPath]]
    probabilities: NDArray[np.float64]
    level_probabilities: NDArray[np.float64]


def answer(
    block: Judged, judge: Judge, calibration: Calibration, levels: int, top_n: int, policy: Policy
) -> TreePredictions:
    """Return the best paths of each row that `policy` allows.

    Parameters
    ----------
    block : Judged
        Rows with the share of each candidate.
    judge : Judge
        What judged them.
    calibration : Calibration
        Of the policy: turns shares into probabilities.
    levels : int
        Of a label path.
    top_n : int
        How many paths of each row at most, at least 1.
    policy : str
        See `TreeClassifier.predict`.
    """
    found, space = block.found, judge.space
    order, ranked = block.rank(policy)
    by_level = np.zeros((found.rows, levels))
    chances = np.zeros((found.rows, top_n))
    kept = np.full((found.rows, top_n), -1, dtype=np.int64)
    shares = np.zeros((found.rows, top_n), dtype=np.float32)
    listed = ranked < top_n
    kept[found.row[order[listed]], ranked[listed]] = order[listed]
    shares[found.row[order[listed]], ranked[listed]] = block.shares[order[listed]]
    first = order[ranked == 0]
    if len(first):
        by_level[found.row[first]] = calibration.best(
            block.level_shares(first, space, levels), block.strata[found.row[first]]
        )
    chances[:, 0] = by_level[:, -1]
    if top_n > 1:
        chances[:, 1:] = calibration.further(shares[:, 1:], chances[:, 0])
    keys = space.key(found.upper, found.last)
    paths: list[list[LabelPath]] = []
    for row in range(found.rows):
        places = kept[row][kept[row] >= 0]
        if len(places):
            paths.append([space.path(int(keys[p])) for p in places])
        else:  # no candidate was ever seen whole: the commonest path of the likeliest upper path
            paths.append([_commonest(judge, _likeliest(block, row))])
            chances[row, 0] = by_level[row, -1] = UNSEEN
            by_level[row] = np.maximum.accumulate(by_level[row][::-1])[::-1]
    return TreePredictions(paths, chances, by_level)


def joined(parts: list[TreePredictions]) -> TreePredictions:
    """Return the answers of several blocks as one; at least one block."""
    return TreePredictions(
        [paths for part in parts for paths in part.paths],
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.level_probabilities for part in parts]),
    )


def _likeliest(block: Judged, row: int) -> int:
    mine = np.flatnonzero(block.found.row == row)
    mass = np.bincount(block.found.upper[mine], block.shares[mine], 1)
    return int(mass.argmax())


def _commonest(judge: Judge, upper: int) -> LabelPath:
    table = judge.evidence.tables["pairs"]
    ends = judge.space.key(np.array([upper, upper + 1], dtype=np.int64), np.zeros(2, dtype=np.int64))
    low, high = np.searchsorted(table.keys, ends)
    if low == high:  # a soft label of no weight named it: no row has it
        low, high = 0, len(table.keys)
    return judge.space.path(int(table.keys[low + int(table.values[low:high].argmax())]))
