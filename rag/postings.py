"""Exact similarities within a slice of the index: each different text once, its n-grams as postings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rag.encoders import Vectors


class Vocabulary:
    """The n-grams that the rows of an index have.

    Of millions of hashed n-grams few occur: the others take no room in a slice, and no query needs them.

    Parameters
    ----------
    rows : csr_array of float32, shape (rows, features)
        The rows; they may be on disk.
    """

    def __init__(self, rows: sparse.csr_array) -> None:
        seen = np.zeros(rows.shape[1], dtype=np.bool_)
        seen[rows.indices] = True
        self._width = int(seen.sum())
        self._place = np.where(seen, np.cumsum(seen, dtype=np.int32) - 1, np.int32(-1)).astype(np.int32)

    def known(self, rows: sparse.csr_array) -> sparse.csr_array:
        """Return the rows without what is not in the vocabulary; n-grams keep their order."""
        place = self._place[rows.indices]
        kept = place >= 0
        ends = np.concatenate([[0], np.cumsum(kept)])[rows.indptr]
        return sparse.csr_array((rows.data[kept], place[kept], ends), shape=(rows.shape[0], self._width))


class Slice:
    """Some rows of an index, to be searched.

    Parameters
    ----------
    start : int
        The first row.
    texts : ndarray of int64, shape (rows,)
        A number for each row: the same for the same text.
    vectors : Vectors
        Of the whole index.
    vocabulary : Vocabulary or None
        Of the index, where its vectors have n-grams.
    """

    def __init__(self, start: int, texts: NDArray[np.int64], vectors: Vectors, vocabulary: Vocabulary | None) -> None:
        _, first, place, self._counts = np.unique(texts, return_index=True, return_inverse=True, return_counts=True)
        self._rows = start + np.argsort(place, kind="stable")
        self._starts = np.cumsum(self._counts) - self._counts
        distinct = vectors.take(start + first)
        self._dense = distinct.dense
        self._by_feature = None
        if vocabulary is not None and distinct.sparse is not None:
            self._by_feature = sparse.csr_array(vocabulary.known(distinct.sparse).T)

    def __len__(self) -> int:
        """Return the number of different texts."""
        return len(self._counts)

    def nearest(
        self, dense: NDArray[np.float32], words: sparse.csr_array | None, count: int
    ) -> list[tuple[NDArray[np.intp], NDArray[np.float32]]]:
        """Return the rows that are most similar to each query, best first, and their similarity.

        N-grams are added up one by one, in one order, so that what stands beside a query or a row changes nothing.
        Texts that are equally similar come in the order of their numbers, the rows of one text in their own.

        Parameters
        ----------
        dense : ndarray of float32, shape (queries, dimensions)
            The queries' dense vectors.
        words : csr_array, shape (queries, vocabulary), or None
            Their n-grams, by `Vocabulary.known`.
        count : int
            How many rows, if there are so many.
        """
        letters = np.zeros((len(dense), len(self)), dtype=np.float32)
        if words is not None and self._by_feature is not None:
            letters = np.asarray((words @ self._by_feature).toarray(), dtype=np.float32)
        texts = largest(letters + dense @ self._dense.T if dense.shape[1] else letters, min(count, len(self)))
        texts.sort(axis=1)
        # A product of matrices rounds by its shape: what is found is compared anew, row by row.
        alike = np.take_along_axis(letters, texts, axis=1)
        if dense.shape[1]:
            alike = alike + np.einsum("qd,qkd->qk", dense, self._dense[texts])
        order = np.argsort(-alike, axis=1, kind="stable")
        texts, alike = np.take_along_axis(texts, order, axis=1), np.take_along_axis(alike, order, axis=1)
        return [self._expanded(mine, told, count) for mine, told in zip(texts, alike, strict=True)]

    def _expanded(
        self, texts: NDArray[np.intp], alike: NDArray[np.float32], count: int
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Return the rows of texts, `count` at most."""
        counts = self._counts[texts]
        before = np.cumsum(counts) - counts
        used = int(np.searchsorted(before, count))
        counts, before = counts[:used], before[:used]
        at = np.repeat(self._starts[texts[:used]] - before, counts) + np.arange(counts.sum())
        return self._rows[at[:count]], np.repeat(alike[:used], counts)[:count]


def largest(scores: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Return the places of the `count` largest of each row, in no order.

    Parameters
    ----------
    scores : ndarray of float32, shape (rows, columns)
        `count` columns at least.
    count : int
        How many.

    Returns
    -------
    ndarray of intp, shape (rows, count)
    """
    fold = 16
    width = scores.shape[1] // fold
    if width < 4 * count:
        return np.argpartition(-scores, count - 1, axis=1)[:, :count]
    # The largest are in those groups of columns that have the largest: these are few, and found fast.
    whole = width * fold
    best = np.argpartition(-scores[:, :whole].reshape(-1, fold, width).max(axis=1), count - 1, axis=1)[:, :count]
    columns = (best[:, :, None] + width * np.arange(fold)).reshape(len(scores), -1)
    rest = np.broadcast_to(np.arange(whole, scores.shape[1]), (len(scores), scores.shape[1] - whole))
    columns = np.hstack([columns, rest])
    chosen = np.argpartition(-np.take_along_axis(scores, columns, axis=1), count - 1, axis=1)[:, :count]
    return np.take_along_axis(columns, chosen, axis=1)
