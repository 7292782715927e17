"""Near-duplicates: products whose text is the same but for case, punctuation, the order of words, and numbers.

A shop may list one product several times, under other labels or in other sizes. Whether training has a product's very
text is known of a new product as of a training row, so confidences are fitted apart for the two.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from student.features import Hashes

_NUMBERED = re.compile(r"\d")


def text_keys(lines: Sequence[str]) -> Hashes:
    """Return a number for each normalised text, shape (lines,), the same for near-duplicates.

    Words with a digit (sizes, counts) do not count, unless there are no others.
    """
    keys = np.empty(len(lines), dtype=np.uint64)
    for place, line in enumerate(lines):
        words = line.split()
        told = " ".join(sorted(word for word in words if not _NUMBERED.search(word)) or sorted(words))
        keys[place] = int.from_bytes(hashlib.blake2b(told.encode("utf-8", "replace"), digest_size=8).digest(), "little")
    return keys


@dataclass
class KnownTexts:
    """The texts of training.

    Attributes
    ----------
    keys : ndarray of uint64, shape (texts,)
        Of `text_keys`, sorted, each once.
    """

    keys: Hashes

    @classmethod
    def none(cls) -> KnownTexts:
        """Return that of a model that did not keep them."""
        return cls(np.zeros(0, dtype=np.uint64))

    def holds(self, lines: Sequence[str]) -> NDArray[np.bool_]:
        """Tell of which normalised texts training has a near-duplicate."""
        if not len(self.keys):
            return np.zeros(len(lines), dtype=np.bool_)
        keys = text_keys(lines)
        return np.asarray(self.keys[np.searchsorted(self.keys, keys).clip(0, len(self.keys) - 1)] == keys)


def stratum(shops: NDArray[np.int64], known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return a number for each row: of its shop (-1 where unknown) and of whether training has its text."""
    return (shops + 1) * 2 + known


def is_known(strata: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell of which strata training has the text."""
    return np.asarray(strata % 2 == 1)


def shop_of(strata: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the shop of each stratum, -1 where unknown."""
    return np.asarray(strata // 2 - 1, dtype=np.int64)
