"""Candidate label paths for each product: pairs of an upper path and a last value (brand).

The upper path and the brand are scored apart, for a known brand may turn up where it was never seen. The best of each
are paired, a pair that was seen in training gets a bonus, and the pairs that come near the row's best are kept: few
for a plain product, many for a doubtful one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from student.labels import Counts, Ids, LabelSpace, Targets
from student.ridge import Scores

UPPERS, LASTS = 14, 12  # best of each that are paired
# At most so many candidates, each with a joint score at most so far below the row's best. The rows that networks learn
# from get more: they learn from near misses, and new rows are answered faster without them.
MOST, MARGIN = 30, 0.75
MOST_LEARNING, MARGIN_LEARNING = 40, 0.9
_PRIOR = np.float32(1e-3)
_SEEN_BONUS = 0.15
NEVER = np.float32(-1e3)  # the score of a class that no other row has


@dataclass
class Own:
    """What training rows put into the model, to be taken out again.

    Attributes
    ----------
    targets : Targets
        The rows' own labels.
    leverage : ndarray of float32, shape (rows,)
        The rows' leverage in the ridge.
    """

    targets: Targets
    leverage: NDArray[np.float32]


@dataclass
class Candidates:
    """Candidate pairs of a block of rows, one after the other.

    Attributes
    ----------
    rows : int
        How many rows the block has.
    row : ndarray of int64, shape (candidates,)
        The row of each candidate; ascending.
    upper, last : ndarray of int64, shape (candidates,)
        Numbers of the upper path and of the last value.
    upper_score, last_score : ndarray of float32, shape (candidates,)
        From the ridge.
    own : ndarray of float32, shape (5, candidates)
        The weight of the row's own label on the candidate's upper path, its last value, the pair, and the last value
        within the upper path's parent and first level; 0 for rows that are not training rows.
    """

    rows: int
    row: Ids
    upper: Ids
    last: Ids
    upper_score: Scores
    last_score: Scores
    own: Scores

    def __len__(self) -> int:
        """Return the number of candidates."""
        return len(self.row)

    @property
    def starts(self) -> Ids:
        """Where each row begins among all places, if one more place follows each row's candidates; (rows + 1,)."""
        counts = np.bincount(self.row, minlength=self.rows) + 1
        return np.concatenate([[0], np.cumsum(counts)])

    @property
    def places(self) -> Ids:
        """Where each candidate stands among all places; (candidates,)."""
        return np.arange(len(self.row)) + self.row


def _best(scores: Scores, count: int) -> Ids:
    """Return the columns of the `count` best scores of each row, in no order."""
    if count >= scores.shape[1]:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return np.asarray(np.argpartition(scores, scores.shape[1] - count, axis=1)[:, -count:])


def _without_own(scores: Scores, classes: Ids, counts: NDArray[np.float32], own: Own) -> None:
    """Make fitted scores, in place, what they would be had the model not seen the rows.

    With the leverage h, a row's target y and its fitted score f, that is (f - h y) / (1 - h); a class that no other
    row has is unknown.
    """
    scores /= (1 - own.leverage)[:, None]
    rows = np.arange(len(scores))
    weight = own.targets.weight
    for slot in range(weight.shape[1]):
        scores[rows, classes[:, slot]] -= weight[:, slot] * own.leverage / (1 - own.leverage)
    mine = np.zeros(classes.shape, dtype=np.float32)
    for slot in range(weight.shape[1]):  # a soft label may name a class in several slots
        mine += (classes == classes[:, slot, None]) * weight[:, slot, None]
    row, slot_of = np.nonzero((counts[classes] - mine < 1e-6) & (weight > 0))
    scores[row, classes[row, slot_of]] = NEVER


def propose(
    scores: Scores,
    space: LabelSpace,
    pairs: Counts,
    totals: dict[str, Scores],
    own: Own | None = None,
    *,
    learning: bool = False,
) -> Candidates:
    """Choose up to `MOST` pairs for each row (`MOST_LEARNING` to learn from).

    Parameters
    ----------
    scores : ndarray of float32, shape (rows, classes)
        Of all upper paths, followed by all last values; it is changed.
    space : LabelSpace
        The classes.
    pairs : Counts
        The weight of each pair seen in training.
    totals : dict
        The weight of each ``upper`` and of each ``last`` in training.
    own : Own, optional
        For training rows: what they put in.
    learning : bool
        Choose more: near misses, too.

    Returns
    -------
    Candidates
        At least one for each row that is not a training row.
    """
    uppers = len(space.uppers)
    upper_scores, last_scores = scores[:, :uppers], scores[:, uppers:]
    if own is not None:
        _without_own(upper_scores, own.targets.upper, totals["upper"], own)
        _without_own(last_scores, own.targets.last, totals["last"], own)
    # Nothing to go by (empty text) must not mean any class at random: the frequent ones come first.
    upper_scores += _PRIOR * np.log1p(totals["upper"])
    last_scores += _PRIOR * np.log1p(totals["last"])
    upper, last = _best(upper_scores, UPPERS), _best(last_scores, LASTS)
    shape = (len(scores), upper.shape[1], last.shape[1])
    upper_score = np.take_along_axis(upper_scores, upper, axis=1)[:, :, None]
    last_score = np.take_along_axis(last_scores, last, axis=1)[:, None, :]
    key = space.key(upper[:, :, None], last[:, None, :])
    seen = pairs.look_up(key)
    if own is not None:
        for slot in range(own.targets.weight.shape[1]):
            mine = space.key(own.targets.upper[:, slot], own.targets.last[:, slot])
            seen -= (key == mine[:, None, None]) * own.targets.weight[:, slot, None, None]
    joint = (upper_score + last_score + _SEEN_BONUS * (seen > 1e-6)).reshape(len(scores), -1)
    most, margin = (MOST_LEARNING, MARGIN_LEARNING) if learning else (MOST, MARGIN)
    chosen = _best(joint, most)
    near = np.take_along_axis(joint, chosen, axis=1)
    floor = np.maximum(near.max(axis=1, keepdims=True) - margin, NEVER / 2)
    row, place = np.nonzero(near > floor)
    place = chosen[row, place]
    u, b = place // shape[2], place % shape[2]
    given = np.zeros((5, len(row)), dtype=np.float32)
    found = Candidates(
        len(scores), row, upper[row, u], last[row, b], upper_score[row, u, 0], last_score[row, 0, b], given
    )
    if own is not None:
        for slot in range(own.targets.weight.shape[1]):
            mine = own.targets.upper[row, slot]
            is_last = found.last == own.targets.last[row, slot]
            is_upper = found.upper == mine
            in_parent = is_last & (space.parent[found.upper] == space.parent[mine])
            in_top = is_last & (space.top[found.upper] == space.top[mine])
            for total, hit in zip(given, (is_upper, is_last, is_upper & is_last, in_parent, in_top), strict=True):
                total += hit * own.targets.weight[row, slot]
    return found
