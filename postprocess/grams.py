"""Which values resemble a text: a sparse index of letter n-grams over the values of all levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from postprocess.remembered import remembered

SIZES = (2, 3)


def grams(key: str) -> set[str]:
    """Return the letter n-grams of a form key, each word padded with a space on either side."""
    return set().union(*map(_of_word, key.split(" ")))


@remembered(1 << 15, short=32)
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
        found = [sorted(grams(key)) for key in keys]
        self.ids = {gram: number for number, gram in enumerate(sorted(set().union(*found)))}
        columns = np.array([self.ids[gram] for one in found for gram in one], dtype=np.int32)
        rows = np.repeat(np.arange(len(keys), dtype=np.int32), [len(one) for one in found])
        self.frequency = np.bincount(columns, minlength=len(self.ids))
        weights = (1.0 + np.log((1.0 + len(keys)) / (1.0 + self.frequency))) ** 2
        self.sizes = np.maximum(np.bincount(rows, weights[columns], minlength=len(keys)), 1e-9)
        self.scale = (1.0 / np.sqrt(self.sizes)).astype(np.float32)
        self.weights = weights.astype(np.float32)
        # The values that have each n-gram.
        self.postings = np.split(rows[np.argsort(columns, kind="stable")], np.cumsum(self.frequency)[:-1])
        self._last = ("", np.zeros(len(keys), dtype=np.float32))

    def products(self, key: str) -> NDArray[np.float32]:
        """Return the products of a key with all values, shape (values,)."""
        known, total = self._last
        if known != key:
            found = sorted(self.ids[gram] for gram in grams(key) if gram in self.ids)
            total = np.zeros(len(self.sizes), dtype=np.float32)
            if found:
                rows = np.concatenate([self.postings[gram] for gram in found])
                np.add.at(total, rows, np.repeat(self.weights[found], self.frequency[found]))
            # One key is asked about at one level after the other.
            self._last = (key, total)
        return total

    def nearest(self, key: str, level: int, limit: int, ids: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
        """Return the ids of up to `limit` values of a level by cosine, or the places in `ids` where some are given."""
        part = slice(self.bounds[level], self.bounds[level + 1])
        products, scale = self.products(key)[part], self.scale[part]
        return self._top(products * scale if ids is None else products[ids] * scale[ids], limit)

    def contained(self, key: str) -> list[NDArray[np.float32]]:
        """Return, for each level, the share of each value's n-grams that `key` has."""
        shares = (self.products(key) / self.sizes).astype(np.float32)
        return [shares[a:b] for a, b in zip(self.bounds, self.bounds[1:], strict=False)]

    @staticmethod
    def _top(scores: NDArray[np.float32], limit: int) -> NDArray[np.int32]:
        # Equal scores at the limit would be cut at random by a partition; a threshold and the order of ids cut them
        # the same way each time.
        ids = np.flatnonzero(scores > 0)
        if len(ids) > limit:
            chosen = scores[ids]
            threshold = np.partition(chosen, -limit)[-limit]
            above = ids[chosen > threshold]
            ids = np.concatenate([above, ids[chosen == threshold][: limit - len(above)]])
        return np.sort(ids).astype(np.int32)
