"""Which descriptions are searched for, and which of them first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from catalog.context import description_key
from catalog.errors import ShelfmarkError
from catalog.products import stream_products
from catalog.schema import Schema
from classify.recorded_lines import read_predictions
from classify.rundir import RunDirectory

Described = tuple[str, float]
"""A description, and what it would be worth to know more of it: 1 for a product, less where something is known."""


@dataclass
class Query:
    """A description to search for.

    Attributes
    ----------
    text : str
        One of its spellings: the first in order of their signs, whatever the order of the rows.
    rows : int
        Products that have it.
    worth : float
        Of all of them.
    """

    text: str
    rows: int = 0
    worth: float = 0.0


def distinct(described: Iterable[Described]) -> dict[str, Query]:
    """Return the distinct descriptions by their keys, those first that are worth most; of like worth by their key."""
    found: dict[str, Query] = {}
    for text, worth in described:
        key = description_key(text)
        if not key:
            continue
        query = found.setdefault(key, Query(text))
        query.text = min(query.text, text)
        query.rows += 1
        query.worth += worth
    return dict(sorted(found.items(), key=lambda item: (-round(item[1].worth, 9), item[0])))


def of_files(files: Iterable[Path], schema: Schema) -> Iterator[Described]:
    """Yield the descriptions of products in files; each is worth as much as the next.

    Raises
    ------
    ShelfmarkError
        When a file is wrong.
    """
    for file in files:
        for block in stream_products(file, schema):
            for text in block.texts:
                yield text, 1.0


def of_run(folder: Path, below: float) -> Iterator[Described]:
    """Yield the descriptions of products of which a run is less sure than `below`; worth how unsure it is.

    Raises
    ------
    ShelfmarkError
        When it is no run, or has no predictions.
    """
    run = RunDirectory.open(folder)
    if not run.predictions.is_file():
        raise ShelfmarkError(f"--run {folder}: it has no predictions yet; classify resume {folder}")
    told = read_predictions(run.predictions, run.schema)
    for block in stream_products(run.test, run.schema, limit=run.manifest["limit"]):
        for text in block.texts:
            line = next(told, None)
            if line is None:
                raise ShelfmarkError(f"{run.predictions}: fewer rows than {run.test.name}; classify resume {folder}")
            confidence = line.confidence
            if confidence < below:
                yield text, 1.0 - confidence


def of_model(folder: Path, rows: int | None, *, trust: bool = False) -> Iterator[Described]:
    """Yield the descriptions of training rows that a ``rag`` model holds out to learn how far to trust the answers.

    Raises
    ------
    ShelfmarkError
        When the folder is no model, or one of a strategy whose fit shows what it was fitted with.
    """
    from classify.model import load

    strategy = load(folder, trust=trust).strategy
    if not hasattr(strategy, "held_out_texts"):
        raise ShelfmarkError(
            f"--model {folder}: a model of {strategy.name}, fixed by its fit; rag alone can gain context"
        )
    for text in strategy.held_out_texts(strategy.options.calibrate if rows is None else rows):
        yield text, 1.0
