"""What a strategy would take, before hours or money are spent: one planner for each that can be planned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from catalog.context import join_context
from catalog.errors import ShelfmarkError, nearest
from catalog.products import Products, join_products, read_products
from catalog.schema import Schema
from classify.contexts import context_options
from classify.strategies.base import check_known, check_options


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
    context : Path or None
        A cache of what the web says of both.
    """

    train: Sequence[Path]
    test: Path | None
    test_rows: int | None
    schema: Schema
    options: dict[str, Any]
    seed: int = 0
    context: Path | None = None


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


@dataclass(frozen=True)
class Planner:
    """Plans one strategy.

    Attributes
    ----------
    plan : callable
        Answers a question.
    options : tuple of str
        What may be asked for with it.
    """

    plan: Callable[[Question], Planned]
    options: tuple[str, ...]


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
    planner = PLANNERS[strategy]
    question = replace(question, options=context_options(strategy, question.options, question.context))
    check_known(f"plan --strategy {strategy}", question.options, planner.options)
    return planner.plan(question)


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
    test = _test(question)
    products = read_products(test, question.schema) if isinstance(test, Path) else test
    if isinstance(products, Products) and question.context is not None:
        products = join_context(products, question.context)
    workload = measure(_train(question), products, question.schema, recipe, counted, seed=question.seed)
    made = make_plan(recipe, workload, shape, cards)
    return Planned(lora_value(made), lora_tables(made), _problem(workload.check))


def _plan_openai(question: Question) -> Planned:
    from classify.costs import load_prices
    from classify.openai_plan import ProviderPlan, plan_products, plan_training, tuned_from
    from classify.openai_plan_table import provider_tables, provider_value
    from classify.strategies.openai import OpenaiOptions
    from classify.token_counts import base_of, token_counts

    asking = {name: question.options.get(name) for name in ASKING}
    figures = check_options(
        OpenaiOptions, "openai", {name: value for name, value in question.options.items() if name not in ASKING}
    )
    llm, prices, test, seed = asking["llm"], load_prices(asking["prices"]), _test(question), question.seed
    if llm:
        _check_llm(llm, question)
    base = base_of(llm) if llm else figures.base
    model = llm or tuned_from(base)
    counts, train = token_counts(base), _train(question)
    how = question.schema, figures
    # Of a model that is there nobody knows which rows it did not learn from.
    calibrate = 0 if llm else figures.calibrate
    training = None if llm else plan_training(train, *how, prices, counts, seed=seed)
    asked = (
        None
        if test is None
        else plan_products(
            train,
            test,
            *how,
            model,
            asking["max_tokens"],
            prices,
            counts,
            calibrate=calibrate,
            context=question.context,
            seed=seed,
        )
    )
    made = ProviderPlan(counts, base, training, asked)
    value = {"strategy": "openai", **provider_value(made)}
    return Planned(value, provider_tables(made), _problem(lambda: made.check(asking["max_cost"])))


def _check_llm(llm: str, question: Question) -> None:
    """Refuse to plan the fine-tune of a model that is there, or nothing at all."""
    tuning = [name for name in TUNING if name in question.options]
    if tuning:
        raise ShelfmarkError(f"--llm {llm}: nothing is trained; leave --{tuning[0].replace('_', '-')} out")
    if question.test is None and question.test_rows is None:
        raise ShelfmarkError(f"--llm {llm}: nothing is trained; say with --test or --test-rows what it is to predict")


def plan_run(folder: Path, options: dict[str, Any]) -> Planned:
    """Return what the requests of a run would take at a provider that have no answer yet.

    Parameters
    ----------
    folder : Path
        Of the run.
    options : dict
        Those of `ASKING` that were given.

    Raises
    ------
    ShelfmarkError
        When it is no run, its requests are not written or all answered, no model is known, or an option is wrong.
    """
    from classify.costs import load_prices
    from classify.openai_plan import ProviderPlan
    from classify.openai_plan_table import provider_tables, provider_value
    from classify.run_plan import plan_requests
    from classify.rundir import RunDirectory
    from classify.token_counts import base_of, token_counts

    check_known("plan --run", options, ASKING)
    run = RunDirectory.open(folder)
    # What the run may cost, and by which prices, was said when it was begun.
    cap = options.get("max_cost", run.manifest.get("max_cost"))
    prices = load_prices(options.get("prices") or run.prices)
    asked = plan_requests(run, options.get("llm", ""), options.get("max_tokens"), prices)
    base = base_of(asked.model)
    made = ProviderPlan(token_counts(base), base, None, asked)
    value = {"run": str(folder), "strategy": run.manifest["strategy"], **provider_value(made)}
    return Planned(value, provider_tables(made), _problem(lambda: made.check(cap)))


def _problem(check: Callable[[], None]) -> ShelfmarkError | None:
    """Return what a check finds, to be said after the tables."""
    try:
        check()
    except ShelfmarkError as error:
        return error
    return None


def _train(question: Question) -> Products:
    train = join_products([read_products(path, question.schema, labels=True) for path in question.train])
    return train if question.context is None else join_context(train, question.context)


def _test(question: Question) -> Path | int | None:
    if question.test is None:
        return question.test_rows
    if question.test_rows is not None:
        raise ShelfmarkError("give one of --test and --test-rows")
    return question.test


ASKING = ("llm", "max_tokens", "prices", "max_cost")
"""Options of what a provider is asked."""

TUNING = ("base", "sample", "epochs", "validation", "calibrate", "max_training_tokens")
"""Options that only a fine-tune has."""

LEARNING = ("base", "sample", "epochs", "validation", "clean_text", "ignore_price", "context_tokens")
"""Options of any fine-tune."""

PLANNERS: dict[str, Planner] = {
    "lora": Planner(
        _plan_lora,
        (*LEARNING, "recipe", "cards", "whole_set", "grouped", "batch_size", "gradient_accumulation", "max_seq_length"),
    ),
    "openai": Planner(_plan_openai, (*LEARNING, "max_training_tokens", "stop", "calibrate", *ASKING)),
}
