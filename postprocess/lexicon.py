"""What the snapper knows of a taxonomy: its values by form, its paths as arrays, and where each value occurs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Indel

from catalog.messages import LabelPath
from catalog.taxonomy import Taxonomy
from postprocess.forms import form_key, letters, squeezed

Ids = NDArray[np.int32]
_NEAR = 3
_RESEMBLES = 0.5


class Level:
    """The values of one level.

    Attributes
    ----------
    values : list of str
        Sorted; a value's place in this list is its id within the level.
    keys : list of str
        The form key of each value.
    weight : float
        How much an agreement on this level says: the logarithm of the number of values, plus one.
    """

    def __init__(self, column: list[str]) -> None:
        self.values = sorted(set(column))
        self.keys = [form_key(value) for value in self.values]
        self.ids = {value: number for number, value in enumerate(self.values)}
        self.by_form = _grouped(self.keys)
        self.by_letters = _grouped([squeezed(key) for key in self.keys])
        # An agreement by chance is one in the number of values: the weight of record linkage (Fellegi and Sunter,
        # 'A theory for record linkage', 1969), where every field's agreement counts by how unlikely it is by chance.
        self.weight = float(np.log1p(len(self.values)))
        self.column: Ids = np.array([self.ids[value] for value in column], dtype=np.int32)
        self._order = np.argsort(self.column, kind="stable").astype(np.int32)
        self._starts = np.searchsorted(self.column[self._order], np.arange(len(self.values) + 1)).tolist()
        self._counts = np.diff(self._starts).tolist()

    def find(self, key: str) -> tuple[int, ...]:
        """Return the ids of the values whose form is `key`, else of those that differ from it in spaces only."""
        return self.by_form.get(key) or self.by_letters.get(squeezed(key), ())

    def goes_on(self, key: str, words: Sequence[str], *, backwards: bool = False) -> bool:
        """Tell whether the words behind a value's form (or before it) look like the rest of a longer value."""
        rests = (self._before if backwards else self._behind).get(key)
        if rests is None or not words:
            return False
        near = words[-_NEAR:] if backwards else words[:_NEAR]
        return any(
            rest.startswith(word) or Indel.normalized_similarity(rest, word) >= _RESEMBLES
            for rest in rests
            for word in near
        )

    @cached_property
    def _behind(self) -> dict[str, set[str]]:
        return self._rests(backwards=False)

    @cached_property
    def _before(self) -> dict[str, set[str]]:
        return self._rests(backwards=True)

    def _rests(self, *, backwards: bool) -> dict[str, set[str]]:
        rests: dict[str, set[str]] = defaultdict(set)
        for key in self.by_form:
            words = key.split(" ")
            for at in range(1, len(words)):
                first, last = words[:at], words[at:]
                if backwards:
                    first, last = last, first
                if (own := " ".join(first)) in self.by_form:
                    rests[own].update(last)
        return dict(rests)

    def places(self, ids: Ids) -> list[Ids]:
        """Return, for each value, the rows of the paths that have it."""
        return [self._order[self._starts[number] : self._starts[number + 1]] for number in ids.tolist()]

    def count(self, ids: Ids) -> int:
        """Return how many paths have one of the values."""
        return self._counts[ids[0]] if len(ids) == 1 else sum([self._counts[number] for number in ids.tolist()])


class Lexicon:
    """A taxonomy, prepared for parsing and snapping. Make it with `Lexicon.of`, which makes it once.

    Attributes
    ----------
    taxonomy : Taxonomy
        What it was made of.
    levels : list of Level
        One for each level, widest first.
    whole, any_order : dict of str to tuple of int
        The rows of the paths by their letters and digits alone (as written, and of their form keys), and by their form
        keys in alphabetical order (a line each).
    lengths : frozenset of int
        The lengths of the keys of `whole`.
    sizes : dict of str to tuple of int
        For each word that a form key begins with, of how many words such keys are, the most first.
    longest : int
        No form key has more words than so many.
    openings : frozenset of str
        The first words of the widest level's form keys.
    widest : int
        No path has more words than so many.
    popularity : ndarray of float, shape (paths,)
        How common each path is: the logarithm of its count, scaled to [0, 1].
    """

    _made: ClassVar[WeakKeyDictionary[Taxonomy, Lexicon]] = WeakKeyDictionary()

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.taxonomy = taxonomy
        self.paths: list[LabelPath] = taxonomy.paths
        self.levels = [Level(list(column)) for column in zip(*self.paths, strict=True)]
        self.columns = np.stack([level.column for level in self.levels])
        counts = np.log1p(np.fromiter(taxonomy.counts.values(), dtype=np.float64))
        self.popularity = counts / counts.max()
        homes: dict[str, list[int]] = defaultdict(list)
        for number, level in enumerate(self.levels):
            for key in level.by_form:
                homes[key].append(number)
        self.homes = {key: tuple(numbers) for key, numbers in homes.items()}
        sizes: dict[str, set[int]] = defaultdict(set)
        for key in self.homes:
            sizes[key.split(" ", 1)[0]].add(key.count(" ") + 1)
        self.sizes = {word: tuple(sorted(some, reverse=True)) for word, some in sizes.items()}
        self.longest = max((some[0] for some in self.sizes.values()), default=1)
        rows = self.columns.T.tolist()
        keys = [[level.keys[i] for level, i in zip(self.levels, ids, strict=True)] for ids in rows]
        written = [[letters(value) for value in level.values] for level in self.levels]
        self.whole = _grouped(["".join([own[i] for own, i in zip(written, ids, strict=True)]) for ids in rows])
        self.whole = _grouped([squeezed("".join(path)) for path in keys]) | self.whole
        self.lengths = frozenset(map(len, self.whole))
        self.openings = frozenset(key.split(" ", 1)[0] for key in self.levels[0].keys)
        self.widest = sum(max(key.count(" ") + 1 for key in level.keys) for level in self.levels)
        self.any_order = _grouped(["\n".join(sorted(path)) for path in keys])

    @classmethod
    def of(cls, taxonomy: Taxonomy) -> Lexicon:
        """Return the lexicon of a taxonomy; the same one each time, for as long as the taxonomy lives."""
        lexicon = cls._made.get(taxonomy)
        if lexicon is None:
            lexicon = cls._made[taxonomy] = cls(taxonomy)
        return lexicon

    def is_known(self, key: str) -> bool:
        """Tell whether some level has a value of this form."""
        return key in self.homes


def _grouped(keys: list[str]) -> dict[str, tuple[int, ...]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for number, key in enumerate(keys):
        groups[key].append(number)
    return {key: tuple(numbers) for key, numbers in groups.items()}
