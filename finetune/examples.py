"""Chat examples to fine-tune on: a product's inputs as JSON in, its label as JSON out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.cleaning import without_numbers
from catalog.errors import ShelfmarkError
from catalog.foreign import json_line
from catalog.messages import LabelPath
from catalog.products import Products
from catalog.sampling import reduce_by_retailer, stratified_sample
from catalog.schema import Schema
from rag.quoting import quoted_of

QUOTED = "quoted_from_the_web"
"""The key of what a web search found."""
Turn = dict[str, str]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Selection:
    """Which rows are learned from, and what of them is shown.

    Attributes
    ----------
    sample : int or None
        So many rows, stratified on the label path with every path in it; None for the whole set.
    grouped : bool
        First leave out near-duplicates of the same retailer and label.
    clean_text : bool
        Leave numbers and words of one letter out of the texts.
    ignore_price : bool
        Do not show the price.
    context_tokens : int
        Show so many tokens at most of what a web search found (`rag.quoting`); 0 shows nothing of it.
    """

    sample: int | None = None
    grouped: bool = False
    clean_text: bool = False
    ignore_price: bool = False
    context_tokens: int = 0


@dataclass(frozen=True)
class Example:
    """One product to learn from, as chat turns; the loss is on the completion alone.

    Attributes
    ----------
    prompt, completion : list of Turn
        What the user says, and what the assistant is to answer.
    """

    prompt: list[Turn]
    completion: list[Turn]


def hold_out(rows: int, wanted: int, *, seed: int) -> tuple[Rows, Rows]:
    """Part the numbers of so many rows into those to learn from and those held out, a tenth at most; both ascending.

    Held-out rows are drawn at random, like those that the model will meet: a label path may be among them alone.
    """
    held = np.random.default_rng(seed).permutation(rows)[: min(wanted, rows // 10)]
    return np.setdiff1d(np.arange(rows, dtype=np.intp), held), np.sort(held).astype(np.intp)


def choose_rows(products: Products, selection: Selection, *, seed: int) -> Rows:
    """Return the rows to learn from, in ascending order.

    Raises
    ------
    ShelfmarkError
        When the products have no labels, or `sample` is smaller than the number of label paths.
    """
    labels = products.require_labels()
    rows = reduce_by_retailer(products) if selection.grouped else np.arange(len(products), dtype=np.intp)
    if selection.sample is None or selection.sample >= len(rows):
        return np.sort(rows)
    chosen = stratified_sample([labels[row] for row in rows], selection.sample, seed=seed)
    return np.sort(rows[chosen])


def prompts(products: Products, schema: Schema, selection: Selection) -> list[list[Turn]]:
    """Return the user's turn for each product: its text columns, retailer and price as one JSON object.

    What the schema does not have is no key; a missing retailer or price is null. With `context_tokens` the last key is
    `QUOTED`, with a list of what was found on the web, which may be empty.
    """
    shown = without_numbers(products) if selection.clean_text else products
    turns = []
    for row in range(len(shown)):
        value: dict[str, Any] = {name: cells[row] for name, cells in shown.columns.items()}
        if schema.retailer is not None:
            value[schema.retailer] = shown.retailers[row] or None
        if schema.price is not None and not selection.ignore_price:
            price = float(shown.prices[row])
            value[schema.price] = None if math.isnan(price) else price
        if selection.context_tokens:
            value[QUOTED] = quoted_of(shown, row, selection.context_tokens)
        turns.append([{"role": "user", "content": json_line(value)}])
    return turns


def answer(path: LabelPath, schema: Schema) -> str:
    """Return a label path as the JSON object that the model learns to write: one key a level, in their order."""
    return json_line(dict(zip(schema.levels, path, strict=True)))


def examples(products: Products, schema: Schema, selection: Selection) -> list[Example]:
    """Return one example for each labelled product.

    Raises
    ------
    ShelfmarkError
        When the products have no labels.
    """
    labels = products.require_labels()
    return [
        Example(prompt, [{"role": "assistant", "content": answer(label, schema)}])
        for prompt, label in zip(prompts(products, schema, selection), labels, strict=True)
    ]


@dataclass(frozen=True)
class Lengths:
    """How long examples are.

    Attributes
    ----------
    counts : ndarray of int64, shape (examples,)
        Tokens of each, the chat template's included.
    limit : int
        The most that the model is trained on.
    """

    counts: NDArray[np.int64]
    limit: int

    @property
    def too_long(self) -> int:
        """How many are longer than the limit."""
        return int((self.counts > self.limit).sum())

    def histogram(self, bins: int = 10) -> list[tuple[int, int, int]]:
        """Return (shortest, longest, examples) for stretches of equal width, over all lengths."""
        edges = np.linspace(self.counts.min(), self.counts.max() + 1, bins + 1).astype(int)
        edges = np.unique(edges)
        found, _ = np.histogram(self.counts, edges)
        return [(int(low), int(high) - 1, int(n)) for low, high, n in zip(edges[:-1], edges[1:], found, strict=True)]


def measure_lengths(learned: Sequence[Example], count: Callable[[list[Turn]], int], limit: int) -> Lengths:
    """Count the tokens of all examples before hours are spent.

    Parameters
    ----------
    learned : sequence of Example
        At least one.
    count : callable
        The tokens of chat turns.
    limit : int
        The recipe's sequence length, in tokens.

    Raises
    ------
    ShelfmarkError
        When an example is longer than the limit: it would be cut, and taught without its end.
    """
    lengths = Lengths(np.array([count([*one.prompt, *one.completion]) for one in learned], dtype=np.int64), limit)
    if lengths.too_long:
        longest = int(lengths.counts.max())
        raise ShelfmarkError(
            f"--max-seq-length {limit}: {lengths.too_long} of {len(learned)} examples are longer, the longest has "
            f"{longest} tokens; take {longest} or more, or shorten the texts"
        )
    return lengths
