"""How alike an answered value and the values of a level are: edit distance over n-gram neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rapidfuzz.distance import OSA, Indel
from rapidfuzz.process import cdist

from postprocess.forms import form_key, looks, squeezed
from postprocess.grams import GramIndex
from postprocess.lexicon import Ids, Lexicon

Scores = NDArray[np.float64]
Evidence = tuple[Ids, Scores]
Embed = Callable[[Sequence[str]], NDArray[np.float32]]

NEAREST = 32
"""So many values of each level are compared letter by letter."""

_EDITS = (Indel.normalized_similarity, OSA.normalized_similarity)
_AT_A_GLANCE = 0.92
_NO_PART = 0.2
_ALMOST = 0.99
_FLOOR = 0.4
_SUREST_OTHER = 0.97
_ROOM = 100_000
_FEW = 12
NOTHING: Evidence = (np.zeros(0, dtype=np.int32), np.zeros(0))


class Spelt:
    """Form keys, prepared for being compared with others.

    Parameters
    ----------
    keys : sequence of str
        Form keys.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.letters = [squeezed(key) for key in keys]
        self.words = [_words(key) for key in keys]
        self.sorted = [" ".join(sorted(key.split(" "))) for key in keys]

    @cached_property
    def looks(self) -> list[str]:
        """The keys as a careless eye reads them."""
        return [looks(letters) for letters in self.letters]

    def alike(self, key: str, places: Sequence[int]) -> Scores:
        """Return how alike `key` and each of the keys at `places` are, in [0, 1]; 1 only without a difference.

        The best of: the letters in order (Indel and optimal string alignment, half and half), of the keys without
        spaces, of their sorted words, and of both as a careless eye reads them; and, where one is the beginning of the
        other or has all its words, how much of it. Spaces are no difference.
        """
        letters = squeezed(key)
        others = [self.letters[place] for place in places]
        result = _edits(letters, others)
        if " " in key:
            ordered = " ".join(sorted(key.split(" ")))
            result = np.maximum(result, _edits(ordered, [self.sorted[place] for place in places]))
        seen = looks(letters)
        if seen != letters:
            result = np.maximum(result, _AT_A_GLANCE * _edits(seen, [self.looks[place] for place in places]))
        words = _words(key)
        result = np.minimum(result, _ALMOST)
        # What shares next to no letters is no part either.
        for number in np.flatnonzero(result > _NO_PART).tolist():
            other, its_words = others[number], self.words[places[number]]
            if other == letters:
                result[number] = 1.0
            elif other.startswith(letters) or its_words <= words or words <= its_words:
                result[number] = min(max(result[number], _part(letters, words, other, its_words)), _ALMOST)
        return result


def _edits(text: str, others: Sequence[str]) -> Scores:
    if len(others) <= _FEW:
        return np.array([sum(scorer(text, other) for scorer in _EDITS) / 2.0 for other in others])
    indel, alignment = (cdist([text], others, scorer=scorer, dtype=np.float64)[0] for scorer in _EDITS)
    total: Scores = (indel + alignment) / 2.0
    return total


def _words(key: str) -> frozenset[str]:
    """Return the words of a key; one that it has twice counts twice (``non carbonated non cola``)."""
    words = key.split(" ")
    found = frozenset(words)
    if len(found) == len(words):
        return found
    return frozenset(word + " " * words[:place].count(word) for place, word in enumerate(words))


def _part(letters: str, words: frozenset[str], other: str, its_words: frozenset[str]) -> float:
    """Return how alike a value and a part of it are, 0 where neither is a part of the other."""
    size, its_size = len(letters), len(other)
    if size > 2 and other.startswith(letters):
        return 0.7 + 0.3 * size / its_size
    if len(its_words) < len(words):
        return 0.6 + 0.35 * its_size / size if 2 < its_size <= size and its_words <= words else 0.0
    return 0.7 + 0.28 * size / its_size if 2 < size <= its_size and words < its_words else 0.0


def alike(key: str, other: str) -> float:
    """Return how alike two form keys are; see `Spelt.alike`."""
    letters, others = squeezed(key), squeezed(other)
    if letters == others:
        return 1.0
    best = sum(scorer(letters, others) for scorer in _EDITS) / 2.0
    words, its_words = key.split(" "), other.split(" ")
    if len(words) > 1:
        ordered, its_ordered = " ".join(sorted(words)), " ".join(sorted(its_words))
        best = max(best, sum(scorer(ordered, its_ordered) for scorer in _EDITS) / 2.0)
    seen = looks(letters)
    if seen != letters:
        best = max(best, _AT_A_GLANCE * sum(scorer(seen, looks(others)) for scorer in _EDITS) / 2.0)
    return min(max(best, _part(letters, _words(key), others, _words(other))), _ALMOST)


def gain(likeness: ArrayLike) -> Scores:
    """Return what a likeness is worth as a share of full agreement: 1 for the same form, 0 for a chance likeness."""
    alike_by = np.asarray(likeness, dtype=np.float64)
    raised = np.maximum(alike_by - _FLOOR, 0.0) / (1.0 - _FLOOR)
    return np.where(alike_by >= 1.0, 1.0, np.minimum(raised * raised, _SUREST_OTHER))


class Likeness:
    """Finds the values of each level that an answered value may stand for, and remembers what it found.

    Parameters
    ----------
    lexicon : Lexicon
        The values.
    embed : callable, optional
        Takes a list of texts and returns one vector of length 1 for each, as an array of shape (texts, dimensions).
        With it, a value is as alike as the better of letters and meaning says.
    """

    def __init__(self, lexicon: Lexicon, embed: Embed | None = None) -> None:
        self.lexicon = lexicon
        self.embed = embed
        self.index = GramIndex([level.keys for level in lexicon.levels])
        self._spelt = [Spelt(level.keys) for level in lexicon.levels]
        self._vectors = [embed(level.values) for level in lexicon.levels] if embed is not None else None
        self._sure: dict[tuple[int, int], Evidence] = {}
        self._meanings: dict[str, NDArray[np.float32]] = {}
        self._found: dict[tuple[str, int], Evidence] = {}

    def prepare(self, keys: Iterable[str]) -> None:
        """Embed many keys at once, which is faster than one by one; the same later cost nothing."""
        if self.embed is None:
            return
        if len(self._meanings) > _ROOM:
            self._meanings.clear()
        missing = sorted(set(keys) - {""} - self._meanings.keys())
        if missing:
            self._meanings.update(zip(missing, self.embed(missing), strict=True))

    def said(self, value: str, level: int) -> Evidence | None:
        """Return the values of a level that `value` is, up to form; None where there are none.

        A value that is written as answered is the only one; of several with the same form, the one that is written
        most like it is worth a little more.
        """
        known = self.lexicon.levels[level]
        if value in known.ids:
            return self._surely(known.ids[value], level)
        ids = known.find(form_key(value))
        if not ids:
            return None
        if len(ids) == 1:
            return self._surely(ids[0], level)
        written = cdist(
            [value.casefold()], [known.values[number] for number in ids], scorer=_EDITS[0], dtype=np.float64
        )
        return np.array(ids, dtype=np.int32), 1.0 - 0.05 * (1.0 - written[0])

    def _surely(self, number: int, level: int) -> Evidence:
        found = self._sure.get((number, level))
        if found is None:
            found = self._sure[number, level] = (np.array([number], dtype=np.int32), np.ones(1))
        return found

    def of(self, value: str, level: int) -> Evidence:
        """Return the values of a level that are like `value`: their ids and what each is worth (see `gain`).

        Where values are the same up to form, only these are returned.
        """
        found = self.said(value, level)
        if found is not None:
            return found
        key = form_key(value)
        if not key:
            return NOTHING
        if (key, level) not in self._found:
            if len(self._found) > _ROOM:
                self._found.clear()
            self._found[key, level] = self._compared(key, level)
        return self._found[key, level]

    def among(self, key: str, level: int, ids: Ids) -> Scores:
        """Return how alike `key` and each of the given values of a level are, however unlike."""
        return self._spelt[level].alike(key, ids.tolist())

    def _compared(self, key: str, level: int) -> Evidence:
        ids = self.index.nearest(key, level, NEAREST)
        if self._vectors is None:
            worth = gain(self.among(key, level, ids))
        else:
            self.prepare([key])
            cosines = self._vectors[level] @ self._meanings[key]
            near = np.argsort(-cosines, kind="stable")[:NEAREST].astype(np.int32)
            ids = np.union1d(ids, near).astype(np.int32)
            letters = self.among(key, level, ids)
            worth = gain(np.maximum(letters, np.minimum(cosines[ids].astype(np.float64), _ALMOST)))
        return ids[worth > 0], worth[worth > 0]
