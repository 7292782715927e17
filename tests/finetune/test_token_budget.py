"""Rows within a number of tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import ShelfmarkError
from catalog.sampling import stratified_sample
from finetune.token_budget import rows_within

LABELLED = st.lists(
    st.tuples(st.sampled_from("abcdefg"), st.floats(min_value=0, max_value=300)), min_size=1, max_size=60
)


def parts(rows: list[tuple[str, float]]) -> tuple[list[tuple[str, ...]], np.ndarray]:
    return [(label,) for label, _ in rows], np.array([tokens for _, tokens in rows])


@given(LABELLED, st.integers(min_value=1, max_value=9000), st.integers(min_value=0, max_value=3))
def test_within_every_path_and_as_many_as_fit(rows, budget: int, seed: int) -> None:
    labels, tokens = parts(rows)
    paths = set(labels)
    try:
        chosen = rows_within(labels, tokens, budget, seed=seed)
    except ShelfmarkError:
        assert tokens[stratified_sample(labels, len(paths), seed=seed)].sum() > budget
        return
    assert tokens[chosen].sum() <= budget
    assert {labels[row] for row in chosen} == paths
    assert (np.diff(chosen) > 0).all()
    if len(chosen) < len(labels):
        assert tokens.sum() > budget
        assert chosen.tolist() == stratified_sample(labels, len(chosen), seed=seed).tolist()
        # One row more is too much.
        assert tokens[stratified_sample(labels, len(chosen) + 1, seed=seed)].sum() > budget
    assert chosen.tolist() == rows_within(labels, tokens, budget, seed=seed).tolist()


@given(LABELLED, st.integers(min_value=0, max_value=3))
def test_all_rows_where_they_fit_to_the_token(rows, seed: int) -> None:
    labels, tokens = parts([(label, float(int(count))) for label, count in rows])
    assert rows_within(labels, tokens, tokens.sum(), seed=seed).tolist() == list(range(len(rows)))
    if tokens.sum() > 0 and len(set(labels)) < len(labels):
        try:
            assert len(rows_within(labels, tokens, tokens.sum() - 1, seed=seed)) < len(rows)
        except ShelfmarkError:
            assert tokens[stratified_sample(labels, len(set(labels)), seed=seed)].sum() > tokens.sum() - 1


def test_proportions_stay() -> None:
    labels = [("common",)] * 900 + [("rare",)] * 90 + [("single",)]
    chosen = rows_within(labels, np.full(len(labels), 10.0), 1000, seed=0)
    found = [labels[row][0] for row in chosen]
    assert (found.count("common"), found.count("rare"), found.count("single")) == (90, 9, 1)


def test_another_seed_other_rows() -> None:
    labels, tokens = [("a",)] * 500, np.ones(500)
    assert rows_within(labels, tokens, 50, seed=0).tolist() != rows_within(labels, tokens, 50, seed=1).tolist()


def test_too_little_for_a_row_of_each_path() -> None:
    labels = [("a",), ("b",), ("b",), ("c",)]
    assert rows_within(labels, np.array([10.0, 20, 20, 30.5]), 60.5, seed=0).tolist()[0] == 0
    with pytest.raises(ShelfmarkError) as raised:
        rows_within(labels, np.array([10.0, 20, 20, 30.5]), 60, seed=0)
    said = str(raised.value)
    assert said.startswith(
        "--max-training-tokens 60: one row of each of the 3 label paths has about 61 tokens; allow so many"
    )
    assert "--ignore-price" in said
