"""Families: the paths that have all the values that an answer names; its misspelt values are looked for among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.taxonomy import Policy
from postprocess.forms import form_key
from postprocess.lexicon import Ids, Lexicon
from postprocess.likeness import Evidence, Likeness, Scores

_CLEAR = {"path": 0.3, "brand-free": 0.6}
_ROOM = 100_000


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
    members : dict of int to (ids, places)
        For other levels, the values that the paths have there, and the place of each path's among these.
    """

    rows: Ids
    score: float
    apart: bool
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
        asked: dict[int, list[tuple[int, str, Family]]] = {level: [] for level in range(len(self.lexicon.levels))}
        for number, (told, said) in enumerate(answers):
            misspelt = [(level, form_key(told[level])) for level, one in enumerate(said) if one is None]
            # A value that another level knows is not misspelt but misplaced.
            if all(key and not self.lexicon.is_known(key) for _, key in misspelt):
                family = self._family(said)
                if len(family.rows):
                    found.append((family.rows, np.full(len(family.rows), family.score)))
                    for level, key in misspelt:
                        asked[level].append((number, key, family))
                    continue
            found.append(None)
        for level, wanted in asked.items():
            members = [self._members(family, level) for _, _, family in wanted]
            alike = self.likeness.among([key for _, key, _ in wanted], level, [ids for ids, _ in members])
            for (number, _, _), (_, places), (_, worth) in zip(wanted, members, alike, strict=True):
                scored = found[number]
                if worth.max() < self._clear:
                    found[number] = None
                elif scored is not None:
                    scored[1][:] += self.lexicon.levels[level].weight * worth[places]
        return found

    def agreeing(self, said: Sequence[Evidence | None]) -> tuple[Ids, Scores] | None:
        """Return the rows of the paths that have every value that is said, and their scores; None where none has."""
        family = self._family(said)
        return (family.rows, np.full(len(family.rows), family.score)) if len(family.rows) else None

    def _family(self, said: Sequence[Evidence | None]) -> Family:
        """Return the paths that have every value that is said; none where nothing is."""
        name = tuple(None if found is None else found[0].tobytes() for found in said)
        family = self._known.get(name)
        if family is None:
            if len(self._known) > _ROOM:
                self._known.clear()
            levels = self.lexicon.levels
            weights = (level.weight for level, found in zip(levels, said, strict=True) if found is not None)
            apart = all(found is None or len(found[0]) == 1 for found in said) and said.count(None) == 1
            family = self._known[name] = Family(self._agreeing(said), sum(weights), apart, {})
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
