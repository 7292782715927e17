"""What the web says of products: which strategies read it, and how much of it a job shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from catalog.context import stream_joined
from catalog.errors import ShelfmarkError
from catalog.schema import Schema
from classify.names import STRATEGIES
from classify.registry import find
from rag.quoting import USUAL_TOKENS

OPTION = "context_tokens"
"""The option of strategies that read it: tokens at most of what is shown with a product; 0 shows nothing."""


def context_options(
    strategy: str, given: dict[str, Any], context: Path | None, *, model: Path | None = None
) -> dict[str, Any]:
    """Return a strategy's options for a job that has a cache of what the web says, or has none.

    Parameters
    ----------
    strategy : str
        Its name.
    given : dict
        The options; of a fitted model, all of them.
    context : Path or None
        The cache.
    model : Path or None
        The fitted model, if there is one.

    Raises
    ------
    ShelfmarkError
        When the strategy reads none, a fitted model was fitted otherwise, or there is none where one is needed.
    """
    tokens = given.get(OPTION, 0)
    if context is None:
        if tokens and model is not None and learns(strategy):
            raise ShelfmarkError(
                f"{model}: it was fitted with --context; say with --context FILE what the web says now"
            )
        if tokens:
            raise ShelfmarkError(f"--context-tokens {tokens}: of what? Give --context FILE, too")
        return given
    if OPTION not in find("strategy", STRATEGIES, strategy).options_class.model_fields:
        readers = [
            name for name in STRATEGIES if OPTION in find("strategy", STRATEGIES, name).options_class.model_fields
        ]
        raise ShelfmarkError(f"--context: the strategy {strategy} does not read it; there are: {', '.join(readers)}")
    if tokens:
        return given
    if model is not None and learns(strategy):
        raise ShelfmarkError(f"--context: {model} was fitted without; fit another one with --context FILE")
    return {**given, OPTION: USUAL_TOKENS}


def learns(strategy: str) -> bool:
    """Tell whether a strategy's fit reads what the web says of training rows, so that its model is asked likewise."""
    return bool(getattr(find("strategy", STRATEGIES, strategy), "learns_context", False))


def check_learns(strategy: str) -> None:
    """Refuse a cache where a fit would not read it.

    Raises
    ------
    ShelfmarkError
        When the strategy reads it only when it asks, or not at all.
    """
    if not learns(strategy):
        when = "; give it to classify --model MODEL --context FILE" if strategy == "rag" else ""
        raise ShelfmarkError(f"--context: the fit of {strategy} does not read it{when}")


def count_known(cache: Path, test: Path, schema: Schema, limit: int | None) -> int:
    """Return of how many products a cache knows something.

    Raises
    ------
    ShelfmarkError
        When a file is wrong, or it knows nothing of any.
    """
    rows = known = 0
    for block in stream_joined(test, schema, cache, limit=limit):
        rows += len(block)
        known += sum(map(bool, block.contexts or ()))
    if not known:
        raise ShelfmarkError(
            f"--context {cache}: it knows nothing of any of the {rows:,} products of {test}; classify context {test} "
            f"--out {cache} --search ... searches for them"
        )
    return known
