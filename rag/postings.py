"""Exact similarities by n-gram: of each n-gram, which rows have it, slice by slice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


class Postings:
    """Rows by n-gram: what a query has in common with thousands of rows is added up, and the rest is not looked at.

    Parameters
    ----------
    rows : csr_array of float32, shape (rows, features)
        The unit vectors to search; they may be on disk.
    """

    def __init__(self, rows: sparse.csr_array) -> None:
        self._rows = rows
        seen = np.zeros(rows.shape[1], dtype=np.bool_)
        seen[rows.indices] = True
        # Of millions of hashed n-grams these occur: the others take no room in a slice, and no query needs them.
        self._width = int(seen.sum())
        self._place = np.where(seen, np.cumsum(seen, dtype=np.int32) - 1, np.int32(-1)).astype(np.int32)
        self._slices: dict[tuple[int, int], sparse.csr_array] = {}

    def known(self, queries: sparse.csr_array) -> sparse.csr_array:
        """Return the queries as `cosines` takes them: without the n-grams that no row has, in the order they had."""
        place = self._place[queries.indices]
        kept = place >= 0
        ends = np.concatenate([[0], np.cumsum(kept)])[queries.indptr]
        return sparse.csr_array((queries.data[kept], place[kept], ends), shape=(queries.shape[0], self._width))

    def cosines(self, queries: sparse.csr_array, start: int, end: int) -> NDArray[np.float32]:
        """Return the cosines of queries, by `known`, and the rows from `start` to `end`.

        Each is added up n-gram by n-gram, in one order: rows that are alike have the same to the last bit, whatever
        stands beside them.

        Returns
        -------
        ndarray of float32, shape (queries, end - start)
        """
        by_feature = self._slices.get((start, end))
        if by_feature is None:
            by_feature = self._slices[start, end] = sparse.csr_array(self.known(self._rows[start:end]).T)
        return np.asarray((queries @ by_feature).toarray(), dtype=np.float32)


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
