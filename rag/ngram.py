"""The embedded encoder: character n-grams, weighted by rarity. No download.

Receipts begin with the brand, so the n-grams of the leading word count a second time, as a field of their own: on
three real sets that gains 1 to 6 points of item accuracy (``benchmarks/neighbours.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from catalog.arrays import read_array, require_numbers
from catalog.errors import ShelfmarkError
from rag.encoders import Progress, Vectors

FEATURES = 2**20  # hashed n-grams of each field; few of the ~10**5 that occur share a place
LEADING_WEIGHT = 0.5
LONGEST = 512  # characters read of one text: bounds the time that a runaway description takes
BLOCK_ROWS = 4096


def _whole(text: str) -> str:
    return text[:LONGEST].lower()


def _leading_word(text: str) -> str:
    words = text[:LONGEST].lower().split(maxsplit=1)
    return words[0] if words else ""


class NgramEncoder:
    """Character 2- to 4-grams of the text and of its leading word, TF-IDF weighted, in sparse vectors."""

    name = "ngram"

    def __init__(self) -> None:
        # Imported here: scikit-learn takes half a second, and `classify --help` needs none of it.
        from sklearn.feature_extraction.text import HashingVectorizer

        shared = {"ngram_range": (2, 4), "n_features": FEATURES, "norm": None, "alternate_sign": False}
        self._fields = [
            (HashingVectorizer(analyzer="char", preprocessor=_whole, dtype=np.float32, **shared), 1.0),
            (
                HashingVectorizer(analyzer="char_wb", preprocessor=_leading_word, dtype=np.float32, **shared),
                LEADING_WEIGHT,
            ),
        ]
        self._idf: list[NDArray[np.float32]] = []

    def fit(self, texts: Sequence[str]) -> None:
        """Count in how many texts each n-gram occurs (smoothed inverse document frequency)."""
        times = Counter(texts)
        distinct, repeats = list(times), np.array(list(times.values()), dtype=np.int64)
        self._idf = []
        for vectorizer, _ in self._fields:
            counts = np.zeros(FEATURES, dtype=np.float64)
            for start in range(0, len(distinct), BLOCK_ROWS):
                block = vectorizer.transform(distinct[start : start + BLOCK_ROWS])
                weights = np.repeat(repeats[start : start + BLOCK_ROWS], np.diff(block.indptr))
                counts += np.bincount(block.indices, weights, minlength=FEATURES)
            self._idf.append((np.log((1 + len(texts)) / (1 + counts)) + 1).astype(np.float32))

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """Encode texts into unit vectors, each different one once. An empty text gives zeros, similar to nothing."""
        if not self._idf:
            raise ShelfmarkError("the ngram encoder is not fitted; fit it on the training texts first")
        place = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        distinct = list(place)
        if progress is not None:
            progress(len(texts) - len(distinct))
        blocks: list[Any] = [sparse.csr_array((0, FEATURES * len(self._fields)), dtype=np.float32)]
        for start in range(0, len(distinct), BLOCK_ROWS):
            blocks.append(self._encoded(distinct[start : start + BLOCK_ROWS]))
            if progress is not None:
                progress(blocks[-1].shape[0])
        found = sparse.csr_array(sparse.vstack(blocks, format="csr"))
        if len(distinct) < len(texts):
            found = found[[place[text] for text in texts]]
        return Vectors(np.zeros((len(texts), 0), dtype=np.float32), found)

    def _encoded(self, texts: Sequence[str]) -> sparse.csr_array:
        fields = []
        for (vectorizer, weight), idf in zip(self._fields, self._idf, strict=True):
            field = sparse.csr_array(vectorizer.transform(texts))
            field.data = (1 + np.log(field.data)) * idf[field.indices]
            fields.append(_unit_rows(field) * np.float32(weight))
        block = _unit_rows(sparse.csr_array(sparse.hstack(fields, format="csr")))
        block.sort_indices()
        return block

    def save(self, folder: Path) -> None:
        """Write the document frequencies."""
        np.savez_compressed(folder / "ngram.npz", idf=np.stack(self._idf))

    def load(self, folder: Path) -> None:
        """Read the document frequencies."""
        file = folder / "ngram.npz"
        stored = read_array(file, "idf", "<f4", (len(self._fields), FEATURES))
        require_numbers(file, stored, least=0, most=100)
        self._idf = list(stored)


def _lengths(squares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return lengths to divide by: the roots, and 1 where a vector is all zeros."""
    roots = np.sqrt(squares)
    return np.where(roots > 0, roots, np.float32(1)).astype(np.float32)


def _unit_rows(rows: sparse.csr_array) -> sparse.csr_array:
    squares = np.asarray(rows.multiply(rows).sum(axis=1), dtype=np.float32)
    rows.data = rows.data / np.repeat(_lengths(squares), np.diff(rows.indptr))
    return rows
