"""The command that says what a strategy would take, before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classify.commands.app import app, show
from classify.commands.options import CleanOption, SchemaOption, SeedOption, given


@app.command()
def plan(
    train: Annotated[list[Path], typer.Option(help="Labelled products; may be given more than once.")],
    strategy: Annotated[str, typer.Option(help="What is planned: lora.")] = "lora",
    test: Annotated[Path | None, typer.Option(help="Products to predict.")] = None,
    test_rows: Annotated[
        int | None, typer.Option(min=1, help="So many products to predict, in place of --test.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe's name (lora-llama3-8b), or a TOML file.")] = None,
    cards: Annotated[Path | None, typer.Option(help="A TOML file of cards and prices of your own.")] = None,
    base: Annotated[str | None, typer.Option(help="The model: a folder or a Hugging Face name.")] = None,
    sample: Annotated[int | None, typer.Option(help="Rows to learn from, stratified on the label path.")] = None,
    whole_set: Annotated[bool | None, typer.Option("--whole-set", help="Learn from every row.")] = None,
    grouped: Annotated[bool | None, typer.Option("--grouped", help="First leave near-duplicates out.")] = None,
    clean_text: CleanOption = None,
    ignore_price: Annotated[bool | None, typer.Option("--ignore-price", help="Do not show the price.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the rows.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows at once on a card.")] = None,
    gradient_accumulation: Annotated[int | None, typer.Option(help="Batches that make a step.")] = None,
    max_seq_length: Annotated[int | None, typer.Option(help="Tokens of a row at most.")] = None,
    seed: SeedOption = 0,
    schema: SchemaOption = "indoml",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what a fine-tune would take: rows, tokens, steps; and on each card memory, hours and dollars."""
    from catalog.schema import load_schema
    from classify.planning import Question
    from classify.planning import plan as make_plan

    options = given(
        recipe=recipe,
        cards=cards,
        base=base,
        sample=sample,
        whole_set=whole_set,
        grouped=grouped,
        clean_text=clean_text,
        ignore_price=ignore_price,
        epochs=epochs,
        batch_size=batch_size,
        gradient_accumulation=gradient_accumulation,
        max_seq_length=max_seq_length,
    )
    planned = make_plan(strategy, Question(train, test, test_rows, load_schema(schema), options, seed))
    if json:
        import json as encoder

        typer.echo(encoder.dumps(planned.value, ensure_ascii=False))
    else:
        for table in planned.tables:
            show(table)
    if planned.problem is not None:
        raise planned.problem
