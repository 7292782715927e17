"""Which values resemble a text: a sparse index of letter n-grams over the values of all levels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

SIZES = (2, 3)
_CELLS = 4_000_000  # of the dense block of products: 16 MB


def grams(key: str) -> set[str]:
    """Return the letter n-grams of a form key, each word padded with a space on either side."""
    return set().union(*map(_of_word, key.split(" ")))


@lru_cache(maxsize=1 << 16)
def _of_word(word: str) -> frozenset[str]:
    padded = f" {word} "
    return frozenset(padded[at : at + size] for size in SIZES for at in range(max(1, len(padded) - size + 1)))


class GramIndex:
    """Finds the values that share the most telling n-grams with a text.

    Parameters
    ----------
    groups : sequence of sequence of str
        The form keys of the values of each level.

    Notes
    -----
    An n-gram counts by the square of its inverse document frequency over all values, so that a dot product of two
    binary rows is a TF-IDF product. Two measures come of the one product: the cosine, for a text that stands for one
    value, and the share of the value's own n-grams that the text has, for a text that contains the value.
    """

    def __init__(self, groups: Sequence[Sequence[str]]) -> None:
        keys = [key for group in groups for key in group]
        self.bounds = np.concatenate([[0], np.cumsum([len(group) for group in groups])]).tolist()
        found = [grams(key) for key in keys]
        self.ids = {gram: number for number, gram in enumerate(sorted(set().union(*found)))}
        values = self._binary(found)
        frequency = np.bincount(values.indices, minlength=len(self.ids))
        self.weights = (1.0 + np.log((1.0 + len(keys)) / (1.0 + frequency))) ** 2
        self.sizes = np.maximum(values @ self.weights, 1e-9)
        self.scale = (1.0 / np.sqrt(self.sizes)).astype(np.float32)
        self.matrix = values.multiply(self.weights).tocsr().T.tocsr().astype(np.float32)

    def _binary(self, found: Iterable[Iterable[str]]) -> csr_matrix:
        indices: list[int] = []
        ends = [0]
        for one in found:
            indices.extend(sorted(self.ids[gram] for gram in one if gram in self.ids))
            ends.append(len(indices))
        shape = (len(ends) - 1, len(self.ids))
        return csr_matrix((np.ones(len(indices), dtype=np.float32), indices, ends), shape=shape)

    def products(self, keys: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        """Yield, for each key, its products with all values."""
        block = max(1, _CELLS // max(1, len(self.sizes)))
        for start in range(0, len(keys), block):
            rows = self._binary(grams(key) for key in keys[start : start + block])
            yield from (rows @ self.matrix).toarray()

    def nearest(self, wanted: Mapping[str, Sequence[int]], limit: int) -> dict[tuple[str, int], NDArray[np.int32]]:
        """Return, for each key and each of the levels wanted for it, the ids of up to `limit` values by cosine."""
        answers = {}
        for (key, levels), products in zip(wanted.items(), self.products(list(wanted)), strict=True):
            for level in levels:
                part = slice(self.bounds[level], self.bounds[level + 1])
                answers[key, level] = self._top(products[part] * self.scale[part], limit)
        return answers

    def contained(self, key: str) -> list[NDArray[np.float32]]:
        """Return, for each level, the share of each value's n-grams that `key` has."""
        (products,) = self.products([key])
        shares = (products / self.sizes).astype(np.float32)
        return [shares[a:b] for a, b in zip(self.bounds, self.bounds[1:], strict=False)]

    @staticmethod
    def _top(scores: NDArray[np.float32], limit: int) -> NDArray[np.int32]:
        # Equal scores at the limit would be cut at random by a partition; a threshold and the order of ids cut them
        # the same way each time, whatever stood in the same block.
        ids = np.flatnonzero(scores > 0)
        if len(ids) > limit:
            chosen = scores[ids]
            threshold = np.partition(chosen, -limit)[-limit]
            above = ids[chosen > threshold]
            ids = np.concatenate([above, ids[chosen == threshold][: limit - len(above)]])
        return np.sort(ids).astype(np.int32)
