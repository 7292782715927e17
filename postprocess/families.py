"""Families: the paths that have all the values that an answer names; its misspelt values are looked for among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.schema import Policy
from postprocess.forms import form_key
from postprocess.lexicon import Ids, Lexicon
from postprocess.likeness import Evidence, Likeness, Scores

_CLEAR = {"path": 0.3, "brand-free": 0.6}
_ROOM = 100_000
_ROOM_ROWS = 4_000_000
_ROWS = 1 << 20
"""So many rows are scored at once, so that memory has a bound."""

NEAR = 3.0
"""Paths that are so far behind the best one count for nothing."""


@dataclass(frozen=True, slots=True)
class Family:
    """Paths with values in common.

    Parameters
    ----------
    rows : ndarray of int32
        The paths, sorted.
    score : float
        The weights of the levels whose values they have in common.
    apart : bool
        Whether they differ in one level alone, so that no value occurs twice there.
    open : frozenset of int
        The levels whose values are not said.
    members : dict of int to (ids, places)
        For other levels, the values that the paths have there, and the place of each path's among these.
    """

    rows: Ids
    score: float
    apart: bool
    open: frozenset[int]
    members: dict[int, tuple[Ids, NDArray[np.intp]]]


class Families:
    """Settles answers within families, which is most of them, without a search over the taxonomy.

    It holds only where every misspelt value is clearly like one of the values left to it; else another level may be
    the wrong one.

    Parameters
    ----------
    lexicon : Lexicon
        The paths.
    likeness : Likeness
        Compares the values.
    policy : {'path', 'brand-free'}
        What a valid path is.
    """

    def __init__(self, lexicon: Lexicon, likeness: Likeness, policy: Policy) -> None:
        self.lexicon = lexicon
        self.likeness = likeness
        self._clear = _CLEAR[policy]
        self._known: dict[tuple[bytes | None, ...], Family] = {}
        self._rows = 0

    def settled(
        self, answers: Sequence[tuple[Sequence[str], Sequence[Evidence | None]]]
    ) -> list[tuple[Ids, Scores] | None]:
        """Return the rows of each answer's family and their scores; None where there is none, or no clear likeness.

        Parameters
        ----------
        answers : sequence of (told, said)
            The told value of each level, and the values that are it up to form; see `Case`.
        """
        found: list[tuple[Ids, Scores] | None] = []
        families = [self._wanted(told, said) for told, said in answers]
        start = rows = 0
        for end, family in enumerate(families, 1):
            rows += len(family.rows) if family else 0
            if rows > _ROWS or end == len(families):
                found += self._scored([told for told, _ in answers[start:end]], families[start:end])
                start, rows = end, 0
        return found

    def _wanted(self, told: Sequence[str], said: Sequence[Evidence | None]) -> Family | None:
        """Return the family where a misspelt value of an answer is looked for; None where there is none."""
        # A value that another level knows is not misspelt but misplaced.
        for value, found in zip(told, said, strict=True):
            if found is None and (not (key := form_key(value)) or self.lexicon.is_known(key)):
                return None
        family = self._family(said)
        return family if len(family.rows) else None

    def _scored(
        self, told: Sequence[Sequence[str]], families: Sequence[Family | None]
    ) -> list[tuple[Ids, Scores] | None]:
        found = [None if family is None else np.full(len(family.rows), family.score) for family in families]
        for level in range(len(self.lexicon.levels)):
            wanted = [
                (number, family, form_key(values[level]))
                for number, (values, family) in enumerate(zip(told, families, strict=True))
                if family is not None and found[number] is not None and level in family.open
            ]
            members = [self._members(family, level) for _, family, _ in wanted]
            alike = self.likeness.among([key for _, _, key in wanted], level, [ids for ids, _ in members])
            for (number, _, _), (_, places), (_, worth) in zip(wanted, members, alike, strict=True):
                scores = found[number]
                if worth.max() < self._clear:
                    found[number] = None
                elif scores is not None:
                    scores += self.lexicon.levels[level].weight * worth[places]
        return [
            None if family is None or scores is None else _near(family.rows, scores)
            for family, scores in zip(families, found, strict=True)
        ]

    def agreeing(self, said: Sequence[Evidence | None]) -> tuple[Ids, Scores] | None:
        """Return the rows of the paths that have every value that is said, and their scores; None where none has."""
        family = self._family(said)
        # All have the same score, which need not be written down for each.
        return (family.rows, np.broadcast_to(family.score, len(family.rows))) if len(family.rows) else None

    def _family(self, said: Sequence[Evidence | None]) -> Family:
        """Return the paths that have every value that is said; none where nothing is."""
        name = tuple(None if found is None else found[0].tobytes() for found in said)
        family = self._known.get(name)
        if family is None:
            if len(self._known) > _ROOM or self._rows > _ROOM_ROWS:
                self._known.clear()
                self._rows = 0
            levels = self.lexicon.levels
            weights = (level.weight for level, found in zip(levels, said, strict=True) if found is not None)
            apart = all(found is None or len(found[0]) == 1 for found in said) and said.count(None) == 1
            unsaid = frozenset(level for level, found in enumerate(said) if found is None)
            family = self._known[name] = Family(self._agreeing(said), sum(weights), apart, unsaid, {})
            self._rows += len(family.rows)
        return family

    def _agreeing(self, said: Sequence[Evidence | None]) -> Ids:
        known = [(number, found[0]) for number, found in enumerate(said) if found is not None]
        if not known:
            return np.zeros(0, dtype=np.int32)
        rarest, ids = min(known, key=lambda one: self.lexicon.levels[one[0]].count(one[1]))
        places = self.lexicon.levels[rarest].places(ids)
        rows = places[0] if len(places) == 1 else np.sort(np.concatenate(places))
        for number, ids in known:
            if number != rarest:
                column = self.lexicon.columns[number][rows]
                rows = rows[column == ids[0] if len(ids) == 1 else np.isin(column, ids)]
        return rows

    def _members(self, family: Family, level: int) -> tuple[Ids, NDArray[np.intp]]:
        found = family.members.get(level)
        if found is None:
            column: Ids = self.lexicon.columns[level][family.rows]
            if family.apart:
                found = (column, np.arange(len(column)))
            else:
                found = np.unique(column, return_inverse=True)
            family.members[level] = found
        return found


def _near(rows: Ids, scores: Scores) -> tuple[Ids, Scores]:
    """Return the rows that are not too far behind the best one."""
    near = np.flatnonzero(scores >= scores.max() - NEAR)
    return (rows, scores) if len(near) == len(rows) else (rows[near], scores[near])
