"""How alike an answered value and the values of a level are: edit distance over n-gram neighbours."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rapidfuzz.distance import OSA, Indel
from rapidfuzz.process import cdist, cpdist

from postprocess.forms import form_key, looks, squeezed
from postprocess.grams import GramIndex
from postprocess.keyboard import slipped
from postprocess.lexicon import Ids, Lexicon
from postprocess.remembered import SHORT

Scores = NDArray[np.float64]
Evidence = tuple[Ids, Scores]
Embed = Callable[[Sequence[str]], NDArray[np.float32]]

FLOOR = 0.4
"""So alike are two values by chance: it is worth nothing."""

NEAREST = 32
"""So many values of each level are compared letter by letter."""

MOST_CHILDREN = 512
"""So many of the values that are left to an answered one are compared with it: those with most n-grams in common."""

_EDITS = (Indel.normalized_similarity, OSA.normalized_similarity)
_AT_A_GLANCE = 0.92
_NO_PART = 0.2
_ALMOST = 0.99
_SUREST_OTHER = 0.97
_ROOM = 100_000
_LETTERS = 10_000_000
"""What was found is remembered for so many values, which have so many letters together."""

_PAIRS = 1 << 16
"""So many pairs of values are compared at once, so that memory has a bound."""
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

    def alike(self, keys: Sequence[str], places: Sequence[Sequence[int]]) -> Scores:
        """Return how alike each key and the keys at each of its places are, in [0, 1]; 1 only without a difference.

        The best of: the letters in order (Indel and optimal string alignment, half and half), of the keys without
        spaces, of their sorted words, and of both as a careless eye reads them; where all that differs is a key beside
        the right one, half of that; and, where one is the beginning of the other or has all its words, how much of it.
        Spaces are no difference.

        Returns
        -------
        ndarray of float
            One after the other: those of the first key, in the order of its places, then those of the second.
        """
        letters = [squeezed(key) for key in keys]
        owners = [number for number, some in enumerate(places) for _ in some]
        flat = [place for some in places for place in some]
        others = [self.letters[place] for place in flat]
        result = _edits([letters[owner] for owner in owners], others)

        def compare(written: dict[int, str], column: Sequence[str], worth: float) -> None:
            """Count these keys as written otherwise, where they are more alike so."""
            pairs = [pair for pair, owner in enumerate(owners) if owner in written]
            if pairs:
                found = _edits([written[owners[pair]] for pair in pairs], [column[flat[pair]] for pair in pairs])
                result[pairs] = np.maximum(result[pairs], worth * found)

        ordered = {number: " ".join(sorted(key.split(" "))) for number, key in enumerate(keys) if " " in key}
        compare(ordered, self.sorted, 1.0)
        seen = {number: looks(text) for number, text in enumerate(letters) if looks(text) != text}
        compare(seen, self.looks if seen else (), _AT_A_GLANCE)
        words = [_words(key) for key in keys]
        np.minimum(result, _ALMOST, out=result)
        # What shares next to no letters is no part either.
        for pair in np.flatnonzero(result > _NO_PART).tolist():
            owner, other, its_words = owners[pair], others[pair], self.words[flat[pair]]
            own, its = letters[owner], words[owner]
            if other == own:
                result[pair] = 1.0
            elif other.startswith(own) or its_words <= its or its <= its_words:
                result[pair] = min(max(result[pair], _part(own, its, other, its_words)), _ALMOST)
            elif len(other) == len(own):
                result[pair] = max(result[pair], slipped(own, other))
        return result


def _edits(texts: Sequence[str], others: Sequence[str]) -> Scores:
    """Return how alike each text and the one beside it in `others` are."""
    indel, alignment = (cpdist(texts, others, scorer=scorer, dtype=np.float64) for scorer in _EDITS)
    total: Scores = (indel + alignment) / 2.0
    return total


def _words(key: str) -> frozenset[str]:
    """Return the words of a key; one that it has twice counts twice (``non carbonated non cola``)."""
    words = key.split(" ")
    found = frozenset(words)
    if len(found) == len(words):
        return found
    before: Counter[str] = Counter()
    numbered = []
    for word in words:
        numbered.append(f"{word} {before[word]}" if word in before else word)
        before[word] += 1
    return frozenset(numbered)


def _part(letters: str, words: frozenset[str], other: str, its_words: frozenset[str]) -> float:
    """Return how alike a value and a part of it are, 0 where neither is a part of the other."""
    size, its_size = len(letters), len(other)
    if size > 2 and other.startswith(letters):
        return 0.7 + 0.3 * size / its_size
    if len(its_words) < len(words):
        return 0.6 + 0.35 * its_size / size if 2 < its_size <= size and its_words <= words else 0.0
    return 0.7 + 0.28 * size / its_size if 2 < size <= its_size and words < its_words else 0.0


def alike(key: str, other: str, enough: float = 1.0) -> float:
    """Return how alike two form keys are, or at least that they are `enough` alike; see `Spelt.alike`."""
    letters, others = squeezed(key), squeezed(other)
    if letters == others:
        return 1.0
    best = sum(scorer(letters, others) for scorer in _EDITS) / 2.0
    if best >= enough:
        return min(best, _ALMOST)
    words, its_words = key.split(" "), other.split(" ")
    if len(words) > 1:
        ordered, its_ordered = " ".join(sorted(words)), " ".join(sorted(its_words))
        best = max(best, sum(scorer(ordered, its_ordered) for scorer in _EDITS) / 2.0)
    seen = looks(letters)
    if seen != letters:
        best = max(best, _AT_A_GLANCE * sum(scorer(seen, looks(others)) for scorer in _EDITS) / 2.0)
    return min(max(best, slipped(letters, others), _part(letters, _words(key), others, _words(other))), _ALMOST)


def gain(likeness: ArrayLike) -> Scores:
    """Return what a likeness is worth as a share of full agreement: 1 for the same form, 0 for a chance likeness."""
    alike_by = np.asarray(likeness, dtype=np.float64)
    raised = np.maximum(alike_by - FLOOR, 0.0) / (1.0 - FLOOR)
    return np.where(alike_by >= 1.0, 1.0, np.minimum(raised * raised, _SUREST_OTHER))


def _spread(scores: Scores, places: Ids, ids: Ids) -> Scores:
    """Return the scores at their places among those of all ids, which are 0."""
    every = np.zeros(len(ids))
    every[places] = scores
    return every


def _shares(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield where shares of items begin and end that have up to `_PAIRS` pairs together, or one item alone."""
    start = total = 0
    for place, size in enumerate(sizes):
        if total + size > _PAIRS and place > start:
            yield start, place
            start, total = place, 0
        total += size
    if start < len(sizes):
        yield start, len(sizes)


class Likeness:
    """Finds the values of each level that an answered value may stand for, and remembers what it found.

    Parameters
    ----------
    lexicon : Lexicon
        The values.
    embed : callable, optional
        Takes a list of texts and returns one vector of length 1 for each, as an array of shape (texts, dimensions).
        With it, a value is as alike as the better of letters and meaning says.

    Attributes
    ----------
    compared : int
        So many pairs of values were compared letter by letter so far.
    """

    def __init__(self, lexicon: Lexicon, embed: Embed | None = None) -> None:
        self.lexicon = lexicon
        self.embed = embed
        self.index = GramIndex([level.keys for level in lexicon.levels])
        self._spelt = [Spelt(level.keys) for level in lexicon.levels]
        self._vectors = [embed(level.values) for level in lexicon.levels] if embed is not None else None
        self._sure: dict[tuple[int, int], Evidence] = {}
        self._meanings: dict[str, NDArray[np.float32]] = {}
        self._letters = 0
        self.compared = 0
        self._said: list[dict[str, Evidence | None]] = [{} for _ in lexicon.levels]
        self._found: dict[tuple[str, int], Evidence] = {}

    def prepare(self, asked: Iterable[tuple[str, int]]) -> None:
        """Look up many keys at once, each at its level, which is faster than one by one; later they cost nothing."""
        if len(self._found) > _ROOM or self._letters > _LETTERS:
            self._found.clear()
            self._meanings.clear()
            self._letters = 0
        by_level: dict[int, dict[str, Ids]] = defaultdict(dict)
        # The n-grams of a key are looked up once for all its levels where these come one after the other.
        for key, level in sorted(set(asked)):
            if key and (key, level) not in self._found:
                by_level[level][key] = self.index.nearest(key, level, NEAREST)
                self._letters += len(key)
        if self.embed is not None:
            self._embed(self.embed, (key for keys in by_level.values() for key in keys))
        for level, nearest in by_level.items():
            for key, found in zip(nearest, self._compared(list(nearest), level, list(nearest.values())), strict=True):
                self._found[key, level] = found

    def _embed(self, embed: Embed, keys: Iterable[str]) -> None:
        missing = sorted(set(keys) - self._meanings.keys())
        if missing:
            self._meanings.update(zip(missing, embed(missing), strict=True))

    def said(self, value: str, level: int) -> Evidence | None:
        """Return the values of a level that `value` is, up to form; None where there are none.

        A value that is written as answered is the only one; of several with the same form, the one that is written
        most like it is worth a little more.
        """
        if len(value) > SHORT:
            return self._same(value, level)
        found = self._said[level]
        if value not in found:
            if len(found) > _ROOM:
                found.clear()
            found[value] = self._same(value, level)
        return found[value]

    def _same(self, value: str, level: int) -> Evidence | None:
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
            self.prepare([(key, level)])
        return self._found[key, level]

    def among(self, keys: Sequence[str], level: int, ids: Sequence[Ids]) -> list[tuple[Scores, Scores]]:
        """Return how alike each key and each of its values of a level are, however unlike, and what that is worth.

        Of more values than `MOST_CHILDREN` those with fewest n-grams in common with the key are taken to be unlike it.
        """
        near = list(ids)
        chosen: dict[int, Ids] = {}
        for number, some in enumerate(ids):
            if len(some) > MOST_CHILDREN:
                chosen[number] = self.index.nearest(keys[number], level, MOST_CHILDREN, some)
                near[number] = some[chosen[number]]
        found: list[tuple[Scores, Scores]] = []
        for start, end in _shares([len(some) for some in near]):
            found += self._among(keys[start:end], level, near[start:end])
        for number, places in chosen.items():
            found[number] = (
                _spread(found[number][0], places, ids[number]),
                _spread(found[number][1], places, ids[number]),
            )
        return found

    def _among(self, keys: Sequence[str], level: int, ids: Sequence[Ids]) -> list[tuple[Scores, Scores]]:
        flat = self._spelt[level].alike(keys, [some.tolist() for some in ids])
        self.compared += len(flat)
        worth = gain(flat)
        ends = list(accumulate(map(len, ids)))
        return [(flat[start:end], worth[start:end]) for start, end in zip([0, *ends], ends, strict=False)]

    def _compared(self, keys: Sequence[str], level: int, ids: Sequence[Ids]) -> list[Evidence]:
        if self._vectors is None:
            worth = [worth for _, worth in self.among(keys, level, ids)]
        else:
            cosines = [self._vectors[level] @ self._meanings[key] for key in keys]
            near = [np.argsort(-cosine, kind="stable")[:NEAREST].astype(np.int32) for cosine in cosines]
            ids = [np.union1d(*both).astype(np.int32) for both in zip(ids, near, strict=True)]
            meant = [
                np.minimum(cosine[some].astype(np.float64), _ALMOST) for cosine, some in zip(cosines, ids, strict=True)
            ]
            letters = self.among(keys, level, ids)
            worth = [gain(np.maximum(one, other)) for (one, _), other in zip(letters, meant, strict=True)]
        return [(some[each > 0], each[each > 0]) for some, each in zip(ids, worth, strict=True)]
