"""What a fine-tune would learn from: how many rows, how long they are, and how long what is predicted is."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from catalog.errors import ShelfmarkError
from catalog.products import Products
from catalog.schema import Schema
from finetune.architecture import local_folder
from finetune.examples import Lengths, choose_rows, examples, hold_out, prompts
from finetune.recipe import Recipe
from rag.tokens import TokenCounter, estimate_tokens, token_counter

MEASURED = 20_000
"""Rows at most whose tokens are counted; of more, so many at random and those with the longest texts."""

LONGEST = 200

ESTIMATED_ABOVE = 1.75
"""`estimate_tokens` of an example over its tokens by Llama 3's tokenizer and chat template: 1.74 on the rows of
``classify sample``, 1.77 to 1.87 on till descriptions of shops. Memory is planned for the estimate, time for what it
stands for."""

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")


@dataclass(frozen=True)
class Counter:
    """What counts tokens.

    Attributes
    ----------
    count : callable
        The tokens of chat turns.
    estimated : bool
        Whether it estimates them on the high side, for want of the base's tokenizer.
    """

    count: TokenCounter
    estimated: bool

    @property
    def scale(self) -> float:
        """What a count is multiplied by to tell the tokens of Llama 3's tokenizer, which others come near."""
        return 1 / ESTIMATED_ABOVE if self.estimated else 1.0


@dataclass(frozen=True)
class Workload:
    """What is learned from, and what is predicted.

    Attributes
    ----------
    rows, held_out, paths : int
        Rows that are learned from; rows kept to validate on; label paths among the former.
    lengths : Lengths
        Of the examples that were counted: all, or `MEASURED` at random.
    longest : int
        Tokens of the longest example, as counted.
    estimated : bool
        Whether tokens are estimated on the high side.
    tokens_a_row : float
        Tokens of an example in the mean, as Llama 3's tokenizer would count where they are estimated.
    test_rows : int
        Rows to predict; 0 where none are.
    prompt_tokens, answer_tokens : float
        Tokens of a row that is predicted, likewise: read and written.
    """

    rows: int
    held_out: int
    paths: int
    lengths: Lengths
    longest: int
    estimated: bool
    tokens_a_row: float
    test_rows: int
    prompt_tokens: float
    answer_tokens: float

    @property
    def too_long(self) -> int:
        """How many of the counted examples are longer than the limit."""
        return max(self.lengths.too_long, int(self.longest > self.lengths.limit))

    def check(self) -> None:
        """Refuse examples that are too long, in the words in which training would.

        Raises
        ------
        ShelfmarkError
            When an example is longer than the recipe's limit.
        """
        if not self.too_long:
            return
        limit = self.lengths.limit
        how = " (estimated on the high side: have the base's tokenizer at hand to know)" if self.estimated else ""
        raise ShelfmarkError(
            f"--max-seq-length {limit}: {self.too_long} of {len(self.lengths.counts)} examples are longer, the longest "
            f"has {self.longest} tokens{how}; take {self.longest} or more, or shorten the texts"
        )


def counter(base: str) -> Counter:
    """Return the base's own tokenizer where it is at hand, else an estimate on the high side. Nothing is downloaded.

    Raises
    ------
    ShelfmarkError
        When the tokenizer is there and cannot be loaded.
    """
    folder = local_folder(base)
    if folder is None or find_spec("transformers") is None:
        return Counter(estimate_tokens, estimated=True)
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        return Counter(estimate_tokens, estimated=True)
    try:
        return Counter(token_counter(str(folder)), estimated=False)
    except ShelfmarkError as error:
        raise ShelfmarkError(str(error).replace("--tokenizer", "--base", 1)) from None


def rows_to_learn(products: Products, recipe: Recipe, seed: int) -> tuple[NDArray[np.intp], int]:
    """Return the rows to learn from, and how many are held out before.

    Raises
    ------
    ShelfmarkError
        As `finetune.examples.choose_rows`.
    """
    rest, held_out = hold_out(len(products), recipe.validation, seed=seed)
    return rest[choose_rows(products.take(rest), recipe.selection, seed=seed)], len(held_out)


def measure(
    train: Products, test: Products | int | None, schema: Schema, recipe: Recipe, counted: Counter, *, seed: int = 0
) -> Workload:
    """Choose the rows as training would, and count tokens.

    Parameters
    ----------
    train : Products
        Labelled.
    test : Products, int or None
        What is to be predicted, or so many rows like those of `train`.
    schema : Schema
        Of both.
    recipe : Recipe
        Says which rows, and what of them is shown.
    counted : Counter
        What counts.
    seed : int
        Chooses the rows, as it does for training.

    Raises
    ------
    ShelfmarkError
        When `train` has no labels, or the sample is smaller than the number of label paths.
    """
    rows, held_out = rows_to_learn(train, recipe, seed)
    learned = train.take(rows)
    some, long = _some(learned, seed)
    lengths = Lengths(_count(learned.take(some), schema, recipe, counted), recipe.max_seq_length)
    longest = int(max(lengths.counts.max(), _count(learned.take(long), schema, recipe, counted).max(initial=0)))

    asked = _prompts(learned.take(some), schema, recipe, counted)
    answers = float(lengths.counts.mean() - asked.mean())
    if isinstance(test, Products):
        some, _ = _some(test, seed)
        asked = _prompts(test.take(some), schema, recipe, counted)
    return Workload(
        rows=len(rows),
        held_out=held_out,
        paths=len(set(learned.require_labels())),
        lengths=lengths,
        longest=longest,
        estimated=counted.estimated,
        tokens_a_row=float(lengths.counts.mean()) * counted.scale,
        test_rows=len(test) if isinstance(test, Products) else test or 0,
        prompt_tokens=float(asked.mean()) * counted.scale,
        answer_tokens=answers * counted.scale,
    )


def _some(products: Products, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows at random, ascending, and the rows of the longest texts; of few rows all and none."""
    if len(products) <= MEASURED:
        return np.arange(len(products), dtype=np.intp), np.array([], dtype=np.intp)
    some = np.random.default_rng(seed).permutation(len(products))[:MEASURED]
    labels = products.labels or [()] * len(products)
    signs = [len(text) + sum(map(len, label)) for text, label in zip(products.texts, labels, strict=True)]
    return np.sort(some), np.argsort(np.array(signs))[-LONGEST:]


def _count(products: Products, schema: Schema, recipe: Recipe, counted: Counter) -> NDArray[np.int64]:
    learned = examples(products, schema, recipe.selection)
    return np.array([counted.count([*one.prompt, *one.completion]) for one in learned], dtype=np.int64)


def _prompts(products: Products, schema: Schema, recipe: Recipe, counted: Counter) -> NDArray[np.int64]:
    return np.array([counted.count(turn) for turn in prompts(products, schema, recipe.selection)], dtype=np.int64)
