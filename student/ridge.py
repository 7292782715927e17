"""Many one-against-rest classifiers at once: ridge regression on class indicators, with exact leave-one-out scores.

Least squares on indicators classifies text about as well as a support vector machine, and one factorisation serves
thousands of classes. Its leave-one-out predictions need no refitting (Allen's PRESS, 1974): with the leverage h of a
row, its target y and its fitted score f, the score of a model that never saw the row is (f - h y) / (1 - h). That is
what lets the later stages learn from rows as if those were new. For rows that are left out together, the same holds
with their block H of the hat matrix: y - (I - H)^-1 (y - f).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import lapack

from student.encoding import fold
from student.features import BUCKETS, Matrix

EXACT_ROWS = 20_000  # up to here the kernel's own matrix (rows x rows) is cheaper and better than fewer buckets
FOLDED = 8192  # buckets of the model for more rows: the cost is rows x FOLDED^2
PENALTY = 0.15
_DENSE_COLUMNS = 1024
_BLOCK = 1024
_MOST_LEVERAGE = 0.9999
NO_ROWS: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

Scores = NDArray[np.float32]


@dataclass
class Ridge:
    """A linear score for each class.

    Attributes
    ----------
    weights : ndarray of float32 (float16 until first used, when read from a file), shape (buckets, classes)
        Row `bucket` is added, times the bucket's value, to the scores of the classes.
    """

    weights: Scores

    @property
    def buckets(self) -> int:
        """The number of columns that the encoding is folded to."""
        return int(self.weights.shape[0])

    def score(self, encoded: Matrix) -> Scores:
        """Return the scores of all classes, shape (rows, classes)."""
        if self.weights.dtype != np.float32:  # as stored: half the size, read from disk when first needed
            self.weights = np.asarray(self.weights, dtype=np.float32)
        return np.asarray(fold(encoded, self.buckets - (encoded.shape[1] - BUCKETS)) @ self.weights, dtype=np.float32)


@dataclass
class Leverage:
    """What rows have put into a ridge.

    Attributes
    ----------
    each : ndarray of float32, shape (wanted,)
        The h of each wanted row, in [0, 1).
    together : ndarray of float32, shape (apart, apart)
        The block H of the rows that are left out together.
    """

    each: Scores
    together: Scores

    def without_each_other(self, fitted: Scores, targets: Matrix) -> Scores:
        """Return what the rows of `together` would be scored had the model seen none of them.

        Parameters
        ----------
        fitted : ndarray of float32, shape (apart, classes)
            Their scores.
        targets : csr_matrix, shape (apart, classes)
            Their weight on each class.
        """
        factor = scipy.linalg.lu_factor(np.eye(len(self.together), dtype=np.float32) - self.together)
        given = targets.toarray()
        return np.asarray(given - scipy.linalg.lu_solve(factor, given - fitted), dtype=np.float32)


def fit_ridge(
    encoded: Matrix,
    targets: Matrix,
    wanted: NDArray[np.int64],
    *,
    apart: NDArray[np.int64] = NO_ROWS,
    buckets: int | None = None,
) -> tuple[Ridge, Leverage]:
    """Fit a ridge regression of class indicators on encoded text.

    Parameters
    ----------
    encoded : csr_matrix of float32, shape (rows, BUCKETS)
        The training rows.
    targets : csr_matrix of float32, shape (rows, classes)
        Each row's weight on each class: 1 for a hard label.
    wanted : ndarray of int64
        The rows whose leverage is needed.
    apart : ndarray of int64
        Rows that are to be left out together.
    buckets : int, optional
        Fold the encoding to so many buckets. By default exact for up to `EXACT_ROWS` rows, else `FOLDED`.

    Returns
    -------
    Ridge
    Leverage
    """
    if buckets is None and encoded.shape[0] <= EXACT_ROWS:
        return _fit_exact(encoded, targets, wanted, apart)
    return _fit_folded(fold(encoded, buckets or FOLDED), targets, wanted, apart)


def _kernel(encoded: Matrix) -> Scores:
    """Inner products of all rows: the fullest columns by a dense product, the many thin ones by a sparse one."""
    rows = encoded.shape[0]
    filling = np.bincount(encoded.indices, minlength=encoded.shape[1])
    full = np.zeros(encoded.shape[1], dtype=bool)
    full[np.argsort(-filling, kind="stable")[:_DENSE_COLUMNS]] = True
    columns = encoded.tocsc()
    dense = columns[:, np.flatnonzero(full)].toarray()
    product: Scores = dense @ dense.T
    thin = columns[:, np.flatnonzero(~full)].tocsr()
    across = thin.T.tocsr()
    for start in range(0, rows, _BLOCK):
        product[start : start + _BLOCK] += (thin[start : start + _BLOCK] @ across).toarray()
    return product


def _fit_exact(
    encoded: Matrix, targets: Matrix, wanted: NDArray[np.int64], apart: NDArray[np.int64]
) -> tuple[Ridge, Leverage]:
    rows = encoded.shape[0]
    matrix = _kernel(encoded)
    matrix[np.arange(rows), np.arange(rows)] += PENALTY
    # The transpose of a C-ordered symmetric matrix is itself in the order LAPACK wants: no copy is made.
    factor, failed = lapack.spotrf(matrix.T, lower=0, overwrite_a=1, clean=0)
    if not failed:
        factor, failed = lapack.spotri(factor, lower=0, overwrite_c=1)
    if failed:  # not reached with a positive penalty and finite input
        raise np.linalg.LinAlgError("the kernel matrix is not positive definite")
    inverse = factor.T
    for start in range(0, rows, _BLOCK):
        stop = min(start + _BLOCK, rows)
        inverse[start:stop, stop:] = inverse[stop:, start:stop].T
        block = np.tril(inverse[start:stop, start:stop])
        inverse[start:stop, start:stop] = block + np.tril(block, -1).T
    each = (1 - PENALTY * inverse.diagonal()[wanted]).astype(np.float32).clip(0, _MOST_LEVERAGE)
    together = np.eye(len(apart), dtype=np.float32) - np.float32(PENALTY) * inverse[np.ix_(apart, apart)]
    dual = (targets.T.tocsr() @ inverse).T
    del inverse, factor, matrix
    weights = encoded.T.tocsr() @ np.ascontiguousarray(dual)
    return Ridge(np.asarray(weights, dtype=np.float32)), Leverage(each, together)


def _fit_folded(
    encoded: Matrix, targets: Matrix, wanted: NDArray[np.int64], apart: NDArray[np.int64]
) -> tuple[Ridge, Leverage]:
    rows, buckets = encoded.shape
    gram = np.zeros((buckets, buckets), dtype=np.float32, order="F")
    moments = np.zeros((targets.shape[1], buckets), dtype=np.float32)
    by_class = targets.tocsr()
    step = max(_BLOCK, min(rows, (1 << 25) // buckets))
    for start in range(0, rows, step):
        dense = encoded[start : start + step].toarray()
        gram = scipy.linalg.blas.ssyrk(1.0, dense.T, beta=1.0, c=gram, overwrite_c=True)
        moments += by_class[start : start + step].T.tocsr() @ dense
    gram[np.arange(buckets), np.arange(buckets)] += PENALTY
    factor = scipy.linalg.cholesky(gram, lower=False, overwrite_a=True, check_finite=False)
    weights = scipy.linalg.cho_solve((factor, False), moments.T, overwrite_b=True, check_finite=False)
    leverage = np.zeros(len(wanted), dtype=np.float32)
    for start in range(0, len(wanted), step):
        dense = encoded[wanted[start : start + step]].toarray()
        half = scipy.linalg.solve_triangular(factor, dense.T, trans="T", check_finite=False, overwrite_b=True)
        leverage[start : start + step] = np.einsum("br,br->r", half, half)
    half = scipy.linalg.solve_triangular(factor, encoded[apart].toarray().T, trans="T", check_finite=False)
    made = Ridge(np.ascontiguousarray(weights, dtype=np.float32))
    return made, Leverage(leverage.clip(0, _MOST_LEVERAGE), np.asarray(half.T @ half, dtype=np.float32))


def indicator(classes: NDArray[np.int64], weights: NDArray[np.float32], count: int) -> Matrix:
    """Return targets: `weights` (rows, slots) of each row on `classes` (rows, slots), as (rows, count)."""
    rows, slots = classes.shape
    row = np.repeat(np.arange(rows), slots)
    return sp.csr_matrix((weights.reshape(-1), (row, classes.reshape(-1))), shape=(rows, count))
