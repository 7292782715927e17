"""What is taken for what: the pairs of a true and a predicted value that occur most, by level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from measure.accuracy import LabelPath, level_hits


@dataclass(frozen=True)
class Confusion:
    """One pair of values that are taken for each other.

    Attributes
    ----------
    above : label path
        The values of the levels above, which are right.
    truth, predicted : str
        The true value and the one in its place.
    rows : int
        How often.
    of : int
        How many rows have the true value, below the same values.
    """

    above: LabelPath
    truth: str
    predicted: str
    rows: int
    of: int


def first_wrong(hits: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return for each row the first level that is wrong; the number of levels where all are right.

    Parameters
    ----------
    hits : ndarray of bool, shape (rows, levels)
        What `measure.accuracy.level_hits` returns.
    """
    return np.asarray(np.where(hits.all(axis=1), hits.shape[1], hits.argmin(axis=1)), dtype=np.intp)


def confusions(
    truth: Sequence[LabelPath], predicted: Sequence[LabelPath], most: int = 10, hits: NDArray[np.bool_] | None = None
) -> list[list[Confusion]]:
    """Return for each level what is most often taken for what, among rows that are right above that level.

    A row counts at the first level that is wrong: below it, values differ because those above do. A level that was
    abstained from is no confusion.

    Parameters
    ----------
    truth, predicted : sequence of label paths, length rows
        As in `measure.accuracy.level_hits`.
    most : int
        How many pairs of a level, at most.
    hits : ndarray of bool, shape (rows, levels), optional
        What `level_hits` returns for them, where it is at hand already.

    Returns
    -------
    list of list of Confusion
        One list a level, most frequent first; pairs that are as frequent by their values.
    """
    hits = level_hits(truth, predicted) if hits is None else hits
    depth = hits.shape[1]
    wrong = first_wrong(hits)
    found: list[Counter[tuple[LabelPath, str]]] = [Counter() for _ in range(depth)]
    for row in np.flatnonzero(wrong < depth).tolist():
        level = int(wrong[row])
        if predicted[row][level]:
            found[level][(truth[row][: level + 1], predicted[row][level])] += 1
    chosen = [sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:most] for pairs in found]
    wanted = {prefix for pairs in chosen for (prefix, _), _ in pairs}
    totals = Counter(path[:end] for path in truth for end in range(1, depth + 1) if path[:end] in wanted)
    return [
        [Confusion(prefix[:-1], prefix[-1], value, rows, totals[prefix]) for (prefix, value), rows in pairs]
        for pairs in chosen
    ]
