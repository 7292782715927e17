"""Commands about what there is already: results, submissions, more labels, made-up data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catalog.errors import ShelfmarkError
from classify.commands.app import app
from classify.commands.options import RunArgument, SchemaOption, SeedOption, TrainOption, ValidOption, read_taxonomy
from classify.commands.options import policy as checked_policy
from classify.commands.parameters import completing
from classify.console import advise, progress, result, show, show_also, show_json
from classify.names import runs as run_names
from classify.names import submissions


@app.command()
def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(
            help="A run directory, predictions.jsonl or a .predict file.", autocompletion=completing(run_names)
        ),
    ],
    labels: Annotated[Path, typer.Argument(help="The true labels.")],
    train: TrainOption = None,
    taxonomy: Annotated[Path | None, typer.Option(help="A CSV of the valid paths (default: the run's).")] = None,
    policy: Annotated[
        str | None, typer.Option(help="What is valid: path or brand-free (default: the run's, else path).")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Score each value of this column, too.")] = None,
    schema: SchemaOption = "indoml",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Score predictions against labels."""
    from catalog.schema import load_schema
    from classify.scoring import evaluate_files, valid_in_run
    from classify.tables import evaluation_table

    columns = load_schema(schema)
    known = read_taxonomy(columns, train, taxonomy)
    if known is None:
        known, valid = valid_in_run(predictions)
        policy = policy or valid
    what = checked_policy(policy or "path")
    whole, parts = evaluate_files(predictions, labels, columns, taxonomy=known, policy=what, by=by)
    if json:
        value = {**whole.to_dict(), **({"by": {name: part.to_dict() for name, part in parts.items()}} if by else {})}
        show_json(value)
    else:
        show(evaluation_table(whole, parts, by))


@app.command()
def submit(
    run: Annotated[Path | None, typer.Argument(help="The run directory.", autocompletion=completing(run_names))] = None,
    name: Annotated[str | None, typer.Option(help="The submission's name (default: the run's).")] = None,
    test: Annotated[Path | None, typer.Option(help="The test file to match (default: the run's).")] = None,
    score: Annotated[float | None, typer.Option(help="The score that came back, 0 to 1.")] = None,
    of: Annotated[
        str | None,
        typer.Option(help="The submission that it came back for.", autocompletion=completing(submissions)),
    ] = None,
    board: Annotated[Path | None, typer.Option(help="The scoreboard (default: beside the runs).")] = None,
) -> None:
    """Write the submission zip of a run, or record the score that came back; and show the scoreboard."""
    from submissions.scoreboard import read_scoreboard, record_score, scoreboard_table

    place = board or (run.resolve().parent if run is not None else Path("runs")) / "scoreboard.csv"
    if run is not None:
        if score is not None or of is not None:
            raise ShelfmarkError("give a run to submit, or --score S --of NAME for one that was; not both")
        from classify.run import Run
        from classify.submit import submit_run

        made = submit_run(Run.open(run), name, test, place)
        result(made.path, f": {made.rows:,} rows, {made.size:,} bytes, valid")
    elif score is not None and of is not None:
        if not 0 <= score <= 1:
            raise ShelfmarkError(f"--score {score:g}: a score is between 0 and 1, like 0.4823")
        before = {row.file_name: row.score for row in read_scoreboard(place)}
        scored = record_score(place, score, of)
        if before[scored.file_name] not in (None, score):
            advise(f"{scored.file_name}: {before[scored.file_name]:g} is replaced by {score:g}")
    elif score is not None or of is not None:
        raise ShelfmarkError("--score S and --of NAME go together")
    (show if run is None and score is None else show_also)(scoreboard_table(read_scoreboard(place)))


@app.command()
def vote(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Two run directories or more, over the same products.", autocompletion=completing(run_names)
        ),
    ],
    out: Annotated[Path, typer.Option(help="The run directory to write.")],
    policy: ValidOption = "brand-free",
) -> None:
    """Let several runs vote, weighted by confidence: a new run directory with their joint predictions."""
    from classify.tables import run_table
    from classify.vote import vote_into

    show_also(run_table(vote_into(runs, out, checked_policy(policy))), out)


@app.command()
def ask(
    run: RunArgument,
    rows: Annotated[int, typer.Option(min=1, help="How many rows to ask for.")] = 500,
    out: Annotated[Path | None, typer.Option(help="The CSV file to write (default: RUN/ask.csv).")] = None,
) -> None:
    """Pick the rows whose labels would teach most: a CSV to fill in, and to give back with a second --train."""
    from classify.ask import ask as write_questions
    from classify.run import Run

    place = out or run / "ask.csv"
    written = write_questions(Run.open(run), rows, place)
    result(place, f": {written:,} rows; fill in the levels, then: classify ... --train TRAIN --train {place}")


@app.command()
def sample(
    rows: Annotated[int, typer.Option(help="Labelled products for training.")],
    test_rows: Annotated[int, typer.Option(help="Products to predict.")],
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
    taxonomy: Annotated[Path | None, typer.Option(help="A CSV of label paths, in place of our own.")] = None,
    schema: SchemaOption = "indoml",
    seed: SeedOption = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace files of these names.")] = False,
) -> None:
    """Write data in the datathon's shape: train.features, train.labels, test.features, test.labels, taxonomy.csv."""
    from catalog.sample import write_sample
    from catalog.schema import load_schema
    from catalog.taxonomy import Taxonomy

    columns = load_schema(schema)
    known = None if taxonomy is None else Taxonomy.read(taxonomy, columns)
    with progress()("sample", rows + test_rows) as advance:
        write_sample(
            out,
            rows=rows,
            test_rows=test_rows,
            schema=columns,
            taxonomy=known,
            seed=seed,
            force=force,
            progress=advance,
        )
    result(out, f": {rows:,} labelled products and {test_rows:,} to predict")
