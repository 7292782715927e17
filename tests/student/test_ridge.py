"""The leave-one-out scores are those of a model that is fitted again without the row."""

import numpy as np
import pytest
import scipy.sparse as sp

from student.features import BUCKETS
from student.ridge import fit_ridge, indicator

ROWS, CLASSES, FOLDED = 30, 4, 1024


@pytest.fixture(scope="module")
def task() -> tuple[sp.csr_matrix, sp.csr_matrix]:
    random = np.random.default_rng(0)
    encoded = sp.random(ROWS, BUCKETS, density=0.0005, random_state=random, dtype=np.float32, format="csr")
    classes = random.integers(0, CLASSES, (ROWS, 1))
    return encoded, indicator(classes, np.ones((ROWS, 1), dtype=np.float32), CLASSES)


@pytest.mark.parametrize("buckets", [None, FOLDED])
def test_leverage_gives_scores_without_the_row(task, buckets: int | None) -> None:
    encoded, targets = task
    ridge, leverage = fit_ridge(encoded, targets, np.arange(ROWS), buckets=buckets)
    fitted = ridge.score(encoded)
    truth = targets.toarray()
    for row in range(ROWS):
        others = np.arange(ROWS) != row
        again, _ = fit_ridge(encoded[others], targets[others], np.arange(0), buckets=buckets)
        left_out = (fitted[row] - leverage.each[row] * truth[row]) / (1 - leverage.each[row])
        np.testing.assert_allclose(left_out, again.score(encoded[[row]])[0], atol=2e-4)


@pytest.mark.parametrize("buckets", [None, FOLDED])
def test_rows_left_out_together_are_scored_as_if_all_were_new(task, buckets: int | None) -> None:
    encoded, targets = task
    apart = np.array([1, 2, 7])
    twins = sp.vstack([encoded, encoded[apart]], format="csr")  # the last three are the same as those
    classes = sp.vstack([targets, targets[apart[::-1]]], format="csr")
    rows = np.concatenate([apart, np.arange(ROWS, ROWS + 3)])
    ridge, leverage = fit_ridge(twins, classes, np.arange(0), apart=rows, buckets=buckets)
    others = np.setdiff1d(np.arange(ROWS + 3), rows)
    again, _ = fit_ridge(twins[others], classes[others], np.arange(0), buckets=buckets)
    found = leverage.without_each_other(ridge.score(twins[rows]), classes[rows])
    np.testing.assert_allclose(found, again.score(twins[rows]), atol=5e-4)


def test_both_ways_to_fit_agree_where_nothing_is_folded(task) -> None:
    encoded, targets = task
    narrow = sp.csr_matrix((encoded.data, encoded.indices % FOLDED, encoded.indptr), shape=(ROWS, BUCKETS))
    exact, leverage = fit_ridge(narrow, targets, np.arange(ROWS))
    folded, again = fit_ridge(narrow, targets, np.arange(ROWS), buckets=FOLDED)
    np.testing.assert_allclose(exact.score(narrow), folded.score(narrow), atol=1e-4)
    np.testing.assert_allclose(leverage.each, again.each, atol=1e-4)


def test_rows_that_are_empty_score_nothing() -> None:
    empty = sp.csr_matrix((3, BUCKETS), dtype=np.float32)
    ridge, leverage = fit_ridge(
        empty, indicator(np.zeros((3, 1), dtype=np.int64), np.ones((3, 1), np.float32), 1), np.arange(3)
    )
    assert not ridge.score(empty).any()
    np.testing.assert_allclose(leverage.each, 0, atol=1e-6)
