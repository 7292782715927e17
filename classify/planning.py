"""What a strategy would take, before hours or money are spent: one planner for each that can be planned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from catalog.errors import ShelfmarkError, nearest
from catalog.products import Products, join_products, read_products
from catalog.schema import Schema


@dataclass(frozen=True)
class Question:
    """What is to be planned.

    Attributes
    ----------
    train : sequence of Path
        Labelled products.
    test : Path or None
        What is to be predicted.
    test_rows : int or None
        So many rows like those of `train`, in place of `test`.
    schema : Schema
        The columns of both.
    options : dict
        The options that were given and are the strategy's.
    seed : int
        Chooses the rows, as it does in the fit.
    """

    train: Sequence[Path]
    test: Path | None
    test_rows: int | None
    schema: Schema
    options: dict[str, Any]
    seed: int = 0


@dataclass(frozen=True)
class Planned:
    """The answer.

    Attributes
    ----------
    value : dict
        All of it, as JSON.
    tables : list of Table
        The same for people.
    problem : ShelfmarkError or None
        Why it cannot be done so; said after the tables.
    """

    value: dict[str, Any]
    tables: list[Table]
    problem: ShelfmarkError | None = None


def plan(strategy: str, question: Question) -> Planned:
    """Return what a strategy would take.

    Raises
    ------
    ShelfmarkError
        When there is nothing to plan for that strategy, a file cannot be read, or an option is wrong.
    """
    if strategy not in PLANNERS:
        raise ShelfmarkError(
            f"--strategy {strategy}: cannot be planned{nearest(strategy, PLANNERS)}; "
            f"what can be planned: {', '.join(PLANNERS)}"
        )
    return PLANNERS[strategy](question)


def _plan_lora(question: Question) -> Planned:
    from classify.plan_table import lora_tables, lora_value
    from finetune.architecture import load_architecture
    from finetune.cards import load_cards
    from finetune.plan import make_plan
    from finetune.recipe import load_recipe
    from finetune.workload import counter, measure

    changes = dict(question.options)
    cards = load_cards(changes.pop("cards", None))
    recipe = load_recipe(changes.pop("recipe", "lora-llama3-8b"), **changes)
    shape, counted = load_architecture(recipe.base), counter(recipe.base)
    workload = measure(_train(question), _test(question), question.schema, recipe, counted, seed=question.seed)
    made = make_plan(recipe, workload, shape, cards)
    problem = None
    try:
        workload.check()
    except ShelfmarkError as error:
        problem = error
    return Planned(lora_value(made), lora_tables(made), problem)


def _train(question: Question) -> Products:
    return join_products([read_products(path, question.schema, labels=True) for path in question.train])


def _test(question: Question) -> Products | int | None:
    if question.test is None:
        return question.test_rows
    if question.test_rows is not None:
        raise ShelfmarkError("give one of --test and --test-rows")
    return read_products(question.test, question.schema)


PLANNERS: dict[str, Callable[[Question], Planned]] = {"lora": _plan_lora}
