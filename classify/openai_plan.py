"""What a provider's fine-tune, and prediction by a provider's model, would take: rows, tokens, files, dollars."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from catalog.context import stream_joined
from catalog.messages import Request, request_id
from catalog.products import Products
from catalog.schema import SEPARATOR, Schema
from classify.costs import Budget, Load, Price, Prices
from classify.engines.base import ModelOptions
from classify.engines.batch_files import MOST_BYTES, MOST_ROWS
from classify.file_counts import BatchFiles
from classify.loads import answer_tokens, load_of
from classify.provider.figures import TuningFigures
from classify.token_counts import TokenCounts, base_of
from classify.training_rows import choose_within
from finetune.examples import hold_out
from finetune.piped import piped_prompts

MEASURED = 20_000
"""Training rows at most, at random, that stand for rows to predict of which only the number is known."""

Dollars = tuple[float, float]
"""Expected, and at most."""


@dataclass(frozen=True)
class Training:
    """What the fine-tune takes.

    Attributes
    ----------
    figures : TuningFigures
        Of the fine-tune.
    rows, held_out, left_out : int
        Rows that are learned from; rows kept to validate on; rows of the sample that the budget of tokens left out.
    paths, all_paths : int
        Label paths among the former, and in all.
    prompt_tokens, answer_tokens : float
        Of a row in the mean.
    tokens, most_tokens : float
        Of the training file: expected, and at most.
    price : Price or None
        Of the base; None where it is not known.
    """

    figures: TuningFigures
    rows: int
    held_out: int
    left_out: int
    paths: int
    all_paths: int
    prompt_tokens: float
    answer_tokens: float
    tokens: float
    most_tokens: float
    price: Price | None

    @property
    def dollars(self) -> Dollars | None:
        """What all passes cost; None where that is not known."""
        if self.price is None or self.price.training is None:
            return None
        dollar = self.figures.epochs * self.price.training / 1_000_000
        return self.tokens * dollar, self.most_tokens * dollar


@dataclass(frozen=True)
class Asked:
    """What it takes to have rows answered.

    Attributes
    ----------
    model : str
        Who answers; a model that is not tuned yet is called ``ft:BASE``.
    load : Load
        Rows and tokens.
    files : int
        Of the Batch API.
    price : Price or None
        None where it is not known.
    enqueued : list of int
        Tokens that may wait in batches, by usage tier; empty where it is not known.
    """

    model: str
    load: Load
    files: int
    price: Price | None
    enqueued: list[int] = field(default_factory=list)

    def dollars(self, *, batch: bool) -> Dollars | None:
        """Return what it costs, as batches or one by one; None where the price is not known."""
        return None if self.price is None else self.load.dollars(self.price, batch=batch)

    @property
    def waves(self) -> list[int]:
        """How many times batches have to wait for those before them, and one: by usage tier, by what is expected."""
        return [max(math.ceil(self.load.read / most), 1) for most in self.enqueued]


@dataclass(frozen=True)
class ProviderPlan:
    """Both, as far as they are wanted.

    Attributes
    ----------
    counts : TokenCounts
        What counted.
    base : str
        Whose tokens they are.
    training : Training or None
        The fine-tune.
    asked : Asked or None
        Prediction.
    batches : bool
        Whether it is asked by batches, not one by one.
    """

    counts: TokenCounts
    base: str
    training: Training | None
    asked: Asked | None
    batches: bool = True

    @property
    def dollars(self) -> Dollars | None:
        """What all of it costs; None where a price is not known."""
        parts = [self.training.dollars] if self.training else []
        parts += [self.asked.dollars(batch=self.batches)] if self.asked else []
        known = [part for part in parts if part is not None]
        return (sum(part[0] for part in known), sum(part[1] for part in known)) if len(known) == len(parts) else None

    def check(self, cap: float | None) -> None:
        """Refuse a plan that could cost more than `cap` dollars.

        Raises
        ------
        ShelfmarkError
            When it could, or a price is not known.
        """
        if cap is None:
            return
        priced: dict[str, Price | None] = {}
        if self.training:
            priced[f"training {self.base}"] = self.training.price if self.training.dollars else None
        if self.asked:
            priced[self.asked.model] = self.asked.price
        budgets = [Budget(cap, price, model=model) for model, price in priced.items()]
        assert self.dollars is not None
        budgets[-1].check(self.dollars[1], "what is planned")


def plan_training(
    train: Products, schema: Schema, figures: TuningFigures, prices: Prices, counts: TokenCounts, *, seed: int
) -> Training:
    """Choose the rows as the fine-tune would, and count.

    Raises
    ------
    ShelfmarkError
        As `choose_within`.
    """
    rest, held = hold_out(len(train), figures.validation, seed=seed)
    known = train.take(rest)
    rows, tokens, most = choose_within(
        known, schema, figures.selection, counts, figures.max_training_tokens, seed, stop=figures.stop
    )
    labels = known.require_labels()
    learned = Counter(labels[row] for row in rows)
    answered, _ = answer_tokens(learned, counts, lambda path: SEPARATOR.join(path) + figures.stop)
    return Training(
        figures=figures,
        rows=len(rows),
        held_out=len(held),
        left_out=min(figures.sample, len(rest)) - len(rows),
        paths=len(learned),
        all_paths=len(set(train.require_labels())),
        prompt_tokens=tokens / len(rows) - answered,
        answer_tokens=answered,
        tokens=tokens,
        most_tokens=most,
        price=prices.of(figures.base),
    )


def plan_products(
    train: Products,
    test: Path | int,
    schema: Schema,
    figures: TuningFigures,
    model: str,
    max_tokens: int | None,
    prices: Prices,
    counts: TokenCounts,
    *,
    calibrate: int = 0,
    limit: int | None = None,
    context: Path | None = None,
    seed: int,
) -> Asked:
    """Count what it takes to predict products, asked about as in the fine-tune.

    Parameters
    ----------
    train : Products
        Their label paths are what is answered.
    test : Path or int
        The products, which are not held; or so many like those of `train`, of which `MEASURED` are counted.
    schema, figures
        The columns; what of them is shown.
    model : str
        Who answers.
    max_tokens : int or None
        The most tokens of an answer; None for those of the longest label path.
    prices, counts
        What it costs; what counts.
    calibrate : int
        So many of the held-out rows are asked about, too.
    limit : int or None
        So many products of a file are asked about, at most.
    context : Path or None
        A cache of what the web says of the products of a file.
    seed : int
        Decides which rows of `train` are held out, and which stand for others.

    Raises
    ------
    ShelfmarkError
        When the file of products is wrong.
    """
    written, longest = answer_tokens(Counter(train.require_labels()), counts)
    most = max_tokens or longest
    files = BatchFiles(ModelOptions(llm=model, constrain="off"))

    def load(blocks: Iterable[Products]) -> Load:
        return load_of(files.watch(_requests(blocks, schema, figures, most)), counts, written)

    _, held = hold_out(len(train), figures.validation, seed=seed)
    extra = load([train.take(held[:calibrate])])
    if isinstance(test, Path):
        blocks = stream_joined(test, schema, context, limit=limit)
        return asked(model, load(blocks) + extra, files.count, prices)
    some = np.random.default_rng(seed).permutation(len(train))[: min(test, MEASURED)]
    few = load([train.take(np.sort(some))])
    times = test / few.rows
    many = Load(test, *(tokens * times for tokens in (few.read, few.most_read, few.written, few.most_written)))
    by_bytes = files.bytes / (few.rows + extra.rows) * (test + extra.rows) / MOST_BYTES
    return asked(model, many + extra, math.ceil(max(by_bytes, (test + extra.rows) / MOST_ROWS)), prices)


def _requests(blocks: Iterable[Products], schema: Schema, figures: TuningFigures, most: int) -> Iterator[Request]:
    for block in blocks:
        for row, turns in zip(block.ids, piped_prompts(block, schema, figures.selection), strict=True):
            yield Request(request_id(row, turns), turns, max_tokens=most)


def tuned_from(base: str) -> str:
    """Return what a model is called that is not tuned yet."""
    return base if base.startswith("ft:") else f"ft:{base}"


def asked(model: str, load: Load, files: int, prices: Prices) -> Asked:
    """Return what it takes to have so much answered by a model."""
    base = prices.of(base_of(model))
    return Asked(model, load, files, prices.of(model), base.enqueued if base else [])
