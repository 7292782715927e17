"""The command that says what a strategy would take, before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from catalog.errors import ShelfmarkError
from classify.commands import options as o
from classify.commands.app import app
from classify.commands.parameters import ENGINE, HOW, MONEY, completing, some, takes
from classify.console import show, show_json


@app.command()
@takes(
    options=some(o.COMMON, "clean_text", "ignore_price", "context_tokens")
    | some(o.LORA, "recipe", "base", "sample", "epochs")
    | some(o.TRAINING, "whole_set", "grouped", "validation", "batch_size", "gradient_accumulation", "max_seq_length")
    | o.OPENAI
)
def plan(
    options: dict[str, Any],
    train: Annotated[list[Path] | None, typer.Option(help="Labelled products; may be given more than once.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="A run whose requests are written, in place of --train: what answers cost.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Products to predict.")] = None,
    test_rows: Annotated[
        int | None, typer.Option(min=1, help="So many products to predict, in place of --test.")
    ] = None,
    schema: o.SchemaOption = "indoml",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="What is planned: lora (default) or openai.",
            rich_help_panel=HOW,
            autocompletion=completing(("lora", "openai")),
        ),
    ] = None,
    context: o.ContextOption = None,
    seed: o.SeedOption = 0,
    calibrate: Annotated[
        int | None,
        typer.Option(help="Held-out rows that are asked about, too (openai, default 200).", rich_help_panel=HOW),
    ] = None,
    stop: Annotated[
        str | None, typer.Option(help="What answers end with (openai, default nothing).", rich_help_panel=ENGINE)
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option(
            help="A provider's model that is there: prediction alone (openai, or with --run).", rich_help_panel=ENGINE
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of an answer at most (openai, or with --run).", rich_help_panel=ENGINE),
    ] = None,
    cards: Annotated[
        Path | None,
        typer.Option(help="A TOML file of cards and prices of your own (lora).", rich_help_panel=MONEY),
    ] = None,
    max_cost: o.CostOption = None,
    prices: o.PricesOption = None,
) -> None:
    """Say what a fine-tune or a run would take, before it costs anything.

    lora: rows, tokens, steps; and on each card memory, hours and dollars. openai, or a run's requests: tokens and
    dollars, with the Batch API and without.
    """
    from catalog.schema import load_schema
    from classify.planning import Question, plan_run
    from classify.planning import plan as make_plan

    options |= o.given(
        calibrate=calibrate, stop=stop, llm=llm, max_tokens=max_tokens, cards=cards, max_cost=max_cost, prices=prices
    )
    if bool(train) == (run is not None):
        raise ShelfmarkError("give one of --train TRAIN and --run RUN; see classify plan --help")
    if run is not None:
        planned = plan_run(
            run, {**options, **o.given(strategy=strategy, test=test, test_rows=test_rows, context=context)}
        )
    else:
        question = Question(train or [], test, test_rows, load_schema(schema), options, seed, context)
        planned = make_plan(strategy or "lora", question)
    if json:
        show_json(planned.value)
    else:
        for table in planned.tables:
            show(table)
    if planned.problem is not None:
        raise planned.problem
