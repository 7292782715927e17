"""Which rows a provider's fine-tune learns from, and how many tokens they are."""

from __future__ import annotations

import numpy as np

from catalog.errors import ShelfmarkError
from catalog.products import Products
from catalog.schema import Schema
from classify.token_counts import TokenCounts
from finetune.examples import Rows, Selection, choose_rows
from finetune.piped import piped_examples
from finetune.token_budget import rows_within

FEWEST_EXAMPLES = 10
"""A provider takes no training file with fewer."""


def choose_within(
    products: Products,
    schema: Schema,
    selection: Selection,
    counts: TokenCounts,
    budget: int | None,
    seed: int,
    *,
    stop: str = "",
) -> tuple[Rows, float, int]:
    """Choose the rows to learn from: the sample that is asked for or, where that has too many tokens, a part of it.

    Where tokens are estimated, it is what is expected that is held against the budget.

    Parameters
    ----------
    products : Products
        Labelled; without the rows that are held out.
    schema : Schema
        Their columns.
    selection : Selection
        How many rows, and what of them is shown.
    counts : TokenCounts
        Counts the tokens of an example.
    budget : int or None
        The most tokens of the training file, one pass over it; None for no bound.
    seed : int
        Decides which rows.
    stop : str
        What answers end with.

    Returns
    -------
    rows : ndarray of intp
        Row numbers, ascending.
    expected, most : float, int
        Tokens of the training file with these rows: expected, and at most.

    Raises
    ------
    ShelfmarkError
        When the products have no labels, a label path holds `stop`, the sample or the budget does not reach for a row
        of each label path, or fewer rows are left than a provider takes.
    """
    products.require_labels()
    try:
        rows = choose_rows(products, selection, seed=seed)
    except ShelfmarkError as error:
        raise ShelfmarkError(f"--sample {selection.sample}: {error}") from None
    learned = products.take(rows)
    examples = piped_examples(learned, schema, selection, stop)
    counted = np.array([counts.example([*one.prompt, *one.completion]) for one in examples], dtype=np.float64)
    expected, most = counted.reshape(-1, 2).T
    if budget is not None:
        kept = rows_within(learned.require_labels(), expected, budget, seed=seed)
        rows, expected, most = rows[kept], expected[kept], most[kept]
    if len(rows) < FEWEST_EXAMPLES:
        raise ShelfmarkError(
            f"{len(rows)} rows to learn from: a provider takes {FEWEST_EXAMPLES} at least; give more with --train, or "
            "raise --sample or --max-training-tokens"
        )
    return rows, float(expected.sum()), int(most.sum())
