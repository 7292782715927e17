"""The command that says what a strategy would take, before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catalog.errors import ShelfmarkError
from classify.commands.app import app, show
from classify.commands.options import (
    CleanOption,
    ContextOption,
    ContextTokensOption,
    SchemaOption,
    SeedOption,
    given,
)


@app.command()
def plan(
    train: Annotated[list[Path] | None, typer.Option(help="Labelled products; may be given more than once.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="A run whose requests are written, in place of --train: what answers cost.")
    ] = None,
    strategy: Annotated[str | None, typer.Option(help="What is planned: lora (default) or openai.")] = None,
    test: Annotated[Path | None, typer.Option(help="Products to predict.")] = None,
    test_rows: Annotated[
        int | None, typer.Option(min=1, help="So many products to predict, in place of --test.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe's name (lora-llama3-8b), or a TOML file (lora).")] = None,
    cards: Annotated[Path | None, typer.Option(help="A TOML file of cards and prices of your own (lora).")] = None,
    base: Annotated[
        str | None, typer.Option(help="The model: a folder or a Hugging Face name (lora), a provider's name (openai).")
    ] = None,
    sample: Annotated[int | None, typer.Option(help="Rows to learn from, stratified on the label path.")] = None,
    whole_set: Annotated[bool | None, typer.Option("--whole-set", help="Learn from every row (lora).")] = None,
    grouped: Annotated[bool | None, typer.Option("--grouped", help="First leave near-duplicates out (lora).")] = None,
    clean_text: CleanOption = None,
    context: ContextOption = None,
    context_tokens: ContextTokensOption = None,
    ignore_price: Annotated[bool | None, typer.Option("--ignore-price", help="Do not show the price.")] = None,
    validation: Annotated[int | None, typer.Option(help="Rows held out (default 500).")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the rows; whole ones for openai.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows at once on a card (lora).")] = None,
    gradient_accumulation: Annotated[int | None, typer.Option(help="Batches that make a step (lora).")] = None,
    max_seq_length: Annotated[int | None, typer.Option(help="Tokens of a row at most (lora).")] = None,
    max_training_tokens: Annotated[
        int | None, typer.Option(help="Tokens of the training file at most (openai, default 2,000,000).")
    ] = None,
    calibrate: Annotated[
        int | None, typer.Option(help="Held-out rows that are asked about, too (openai, default 200).")
    ] = None,
    stop: Annotated[str | None, typer.Option(help="What answers end with (openai, default nothing).")] = None,
    llm: Annotated[
        str | None, typer.Option(help="A provider's model that is there: prediction alone (openai, or with --run).")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens of an answer at most (openai, or with --run).")
    ] = None,
    prices: Annotated[Path | None, typer.Option(help="A TOML file of a provider's prices of your own.")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="Dollars that the provider may cost at most.")] = None,
    seed: SeedOption = 0,
    schema: SchemaOption = "indoml",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what a fine-tune or a run would take, before it costs anything.

    lora: rows, tokens, steps; and on each card memory, hours and dollars. openai, or a run's requests: tokens and
    dollars, with the Batch API and without.
    """
    from catalog.schema import load_schema
    from classify.planning import Question, plan_run
    from classify.planning import plan as make_plan

    options = given(
        recipe=recipe,
        cards=cards,
        base=base,
        sample=sample,
        whole_set=whole_set,
        grouped=grouped,
        clean_text=clean_text,
        context_tokens=context_tokens,
        ignore_price=ignore_price,
        validation=validation,
        epochs=epochs,
        batch_size=batch_size,
        gradient_accumulation=gradient_accumulation,
        max_seq_length=max_seq_length,
        max_training_tokens=max_training_tokens,
        calibrate=calibrate,
        stop=stop,
        llm=llm,
        max_tokens=max_tokens,
        prices=prices,
        max_cost=max_cost,
    )
    if bool(train) == (run is not None):
        raise ShelfmarkError("give one of --train TRAIN and --run RUN; see classify plan --help")
    if run is not None:
        planned = plan_run(
            run, {**options, **given(strategy=strategy, test=test, test_rows=test_rows, context=context)}
        )
    else:
        question = Question(train or [], test, test_rows, load_schema(schema), options, seed, context)
        planned = make_plan(strategy or "lora", question)
    if json:
        import json as encoder

        typer.echo(encoder.dumps(planned.value, ensure_ascii=False))
    else:
        for table in planned.tables:
            show(table)
    if planned.problem is not None:
        raise planned.problem
