"""Which path explains all levels of an answer best, together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from postprocess.lexicon import Ids, Lexicon
from postprocess.likeness import Evidence, Likeness, Scores

_MANY = 1000
_UNLIKE = 0.08


class Explainer:
    """Scores the paths of a taxonomy by the evidence on their levels.

    A path's score is the sum, over the levels, of the level's weight times the share of agreement there. Levels
    without evidence count for nothing, so that any path of the taxonomy can be weighed against any other.

    Parameters
    ----------
    lexicon : Lexicon
        The paths.
    likeness : Likeness
        Compares values that its lists do not hold.
    """

    def __init__(self, lexicon: Lexicon, likeness: Likeness) -> None:
        self.lexicon = lexicon
        self.likeness = likeness
        self._marked = np.zeros(len(lexicon.paths), dtype=np.bool_)
        self._scratch = [np.zeros(len(level.values)) for level in lexicon.levels]
        self._seen = [np.zeros(len(level.values), dtype=np.bool_) for level in lexicon.levels]
        self._places = [np.zeros(len(level.values), dtype=np.int32) for level in lexicon.levels]

    def rows(self, evidence: Sequence[Evidence | None]) -> Ids:
        """Return the rows of the paths that agree with any evidence at all, sorted.

        From the last level up: a level that would add thousands of rows (a supergroup) is left out where a lower one
        has spoken, because a path that agrees with nothing below it explains less than those already found.
        """
        places: list[Ids] = []
        total = 0
        for level, found in reversed(list(zip(self.lexicon.levels, evidence, strict=True))):
            if found is None or not len(found[0]):
                continue
            count = level.count(found[0])
            if total and total + count > _MANY:
                continue
            places.extend(level.places(found[0]))
            total += count
        if not places:
            return np.zeros(0, dtype=np.int32)
        self._marked[np.concatenate(places)] = True
        rows = np.flatnonzero(self._marked).astype(np.int32)
        self._marked[rows] = False
        return rows

    def scores(self, rows: Ids, evidence: Sequence[Evidence | None]) -> Scores:
        """Return the score of each row, shape (rows,)."""
        total = np.zeros(len(rows))
        for number, (level, found) in enumerate(zip(self.lexicon.levels, evidence, strict=True)):
            if found is None or not len(found[0]):
                continue
            total += level.weight * self._worth(number, found, self.lexicon.columns[number][rows])
        return total

    def _worth(self, number: int, found: Evidence, ids: Ids) -> Scores:
        """Return what the evidence on a level says of each of these values, 0 where it does not speak of one."""
        known, worth = found
        scratch = self._scratch[number]
        scratch[known] = worth
        told: Scores = scratch[ids]
        scratch[known] = 0.0
        return told

    def best(self, evidence: Sequence[Evidence | None], keys: Sequence[str | None]) -> tuple[Ids, Scores]:
        """Return the rows of the paths that explain the evidence, and their scores.

        Parameters
        ----------
        evidence : sequence of (ids, worth) or None
            One for each level.
        keys : sequence of str or None
            The answered form key of each level: the paths that lead are compared with these letter by letter, so that
            a value is also found among the children of its parents where it is not among its nearest of all.
        """
        rows = self.rows(evidence)
        scores = self.scores(rows, evidence)
        if len(rows) < 2:
            return rows, scores
        leading = np.flatnonzero(scores > scores.max() - 1.0)
        if len(leading) > 1:
            scores[leading] += self._within_parents(rows[leading], evidence, keys)
        return rows, scores

    def _within_parents(self, rows: Ids, evidence: Sequence[Evidence | None], keys: Sequence[str | None]) -> Scores:
        extra = np.zeros(len(rows))
        for number, (level, found, key) in enumerate(zip(self.lexicon.levels, evidence, keys, strict=True)):
            if not key or found is None:
                continue
            column: NDArray[np.int32] = self.lexicon.columns[number][rows]
            ids = self._distinct(number, column)
            if len(ids) < 2 or self._all_in(number, ids, found[0]):
                continue
            where = self._places[number]
            where[ids] = np.arange(len(ids), dtype=np.int32)
            ((likeness, gained),) = self.likeness.among([key], number, [ids])
            counted = self._worth(number, found, ids)
            extra += level.weight * np.maximum(np.maximum(gained, _UNLIKE * likeness) - counted, 0.0)[where[column]]
        return extra

    def _distinct(self, number: int, column: Ids) -> Ids:
        """Return the different ids of a column, sorted: far faster than `np.unique`, which sorts the column."""
        seen = self._seen[number]
        seen[column] = True
        ids = np.flatnonzero(seen).astype(np.int32)
        seen[ids] = False
        return ids

    def _all_in(self, number: int, ids: Ids, known: Ids) -> bool:
        """Tell whether all ids are known ones."""
        seen = self._seen[number]
        seen[known] = True
        told = bool(seen[ids].all())
        seen[known] = False
        return told
