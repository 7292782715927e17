"""The command: each function reads options, calls one function, prints."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catalog.errors import ShelfmarkError, nearest

if TYPE_CHECKING:
    from catalog.schema import Schema
    from catalog.taxonomy import Taxonomy
    from classify.run import Run

app = typer.Typer(
    add_completion=True,
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Put products on the right shelf: short noisy product text in, one valid label path out.",
)

TrainOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Labelled products: NAME.features with NAME.labels beside it, a folder, or CSV, JSONL, Parquet. "
        "May be given more than once."
    ),
]
SchemaOption = Annotated[str, typer.Option(help="Which columns to read: indoml, esci, relevance, or a TOML file.")]
StrategyOption = Annotated[str | None, typer.Option(help="How a product becomes a label path: rag (default), or tree.")]
EncoderOption = Annotated[
    str | None, typer.Option(help="ngram (default), mpnet, minilm, any sentence-transformers name, or hybrid:NAME.")
]
TopKOption = Annotated[int | None, typer.Option(help="Similar products that vote and are shown (default 5).")]
FilterOption = Annotated[str | None, typer.Option(help="What is searched: retailer, prefer, none, or auto (default).")]
BandOption = Annotated[float | None, typer.Option(help="Prefer prices within this factor; by default a soft weight.")]
PolicyOption = Annotated[
    str | None,
    typer.Option(help="path: whole paths seen in training (default of rag); or brand-free (default of tree)."),
]
TopNOption = Annotated[int | None, typer.Option(help="Tell up to so many paths with their probabilities (tree).")]
AbstainOption = Annotated[
    float | None, typer.Option(help="Leave levels empty whose probability is lower, for a person to fill in (tree).")
]
SeedOption = Annotated[int, typer.Option(min=0, help="The same input, options and seed give the same bytes.")]
UntilOption = Annotated[str, typer.Option(help="The last stage: requests, completions, predictions or report.")]


@app.callback(invoke_without_command=True)
def classify(
    context: typer.Context,
    strategy: StrategyOption = None,
    train: TrainOption = None,
    model: Annotated[Path | None, typer.Option(help="A model that classify fit wrote, in place of --train.")] = None,
    test: Annotated[Path | None, typer.Option(help="The products to classify; labels are not needed.")] = None,
    schema: SchemaOption = "indoml",
    encoder: EncoderOption = None,
    engine: Annotated[str | None, typer.Option(help="What answers the requests: neighbours (default, no LLM).")] = None,
    top_k: TopKOption = None,
    filter: FilterOption = None,
    price_band: BandOption = None,
    candidates: Annotated[int | None, typer.Option(help="Candidates in a request at most (default 20).")] = None,
    policy: PolicyOption = None,
    top_n: TopNOption = None,
    abstain_below: AbstainOption = None,
    run: Annotated[Path | None, typer.Option(help="The run directory (default runs/STRATEGY-TIME).")] = None,
    seed: SeedOption = 0,
    until: UntilOption = "report",
    limit: Annotated[int | None, typer.Option(min=1, help="Classify the first so many rows alone.")] = None,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Classify products: classify --strategy rag --train TRAIN --test TEST."""
    if context.invoked_subcommand is not None:
        return
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"shelfmark {installed('shelfmark')}")
        return
    if not train and model is None and test is None:
        typer.echo(FIRST_STEPS)
        return
    if bool(train) == (model is not None) or test is None:
        raise ShelfmarkError("give --test TEST and one of --train TRAIN and --model MODEL; see classify --help")
    from catalog.schema import Schema, load_schema
    from classify.job import Job
    from classify.model import describe
    from classify.progress import bar
    from classify.registry import STRATEGIES, find
    from classify.run import Run, check_stage
    from classify.strategies.base import check_options

    check_stage(until)
    given = _given(
        encoder=encoder,
        top_k=top_k,
        filter=filter,
        price_band=price_band,
        candidates=candidates,
        policy=policy,
        top_n=top_n,
        abstain_below=abstain_below,
    )
    if model is not None:
        about = describe(model, strategy)
        strategy, seed = about["strategy"], about["seed"]
        columns, given = Schema.from_dict(about["schema"]), {**about["options"], **given}
    else:
        strategy, columns = strategy or "rag", load_schema(schema)
    chosen = find("strategy", STRATEGIES, strategy)
    options = check_options(chosen.options_class, strategy, given).model_dump()
    job = Job(strategy, engine or "", columns, options, seed, test, tuple(train or ()), model, limit)
    folder = run or Path("runs") / f"{strategy}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    _execute(folder, lambda: Run.start(folder, job, progress=bar), until, None)


@app.command()
def fit(
    train: Annotated[list[Path], typer.Option(help="Labelled products; may be given more than once.")],
    out: Annotated[Path, typer.Option(help="The folder to write the model to.")],
    strategy: StrategyOption = None,
    schema: SchemaOption = "indoml",
    encoder: EncoderOption = None,
    top_k: TopKOption = None,
    filter: FilterOption = None,
    price_band: BandOption = None,
    policy: PolicyOption = None,
    top_n: TopNOption = None,
    abstain_below: AbstainOption = None,
    seed: SeedOption = 0,
) -> None:
    """Fit a strategy on labelled products and save the model."""
    from classify.model import check_place
    from classify.model import fit as fit_model
    from classify.progress import bar

    check_place(out)
    options = _given(
        encoder=encoder,
        top_k=top_k,
        filter=filter,
        price_band=price_band,
        policy=policy,
        top_n=top_n,
        abstain_below=abstain_below,
    )
    model = fit_model(train, strategy=strategy or "rag", schema=schema, seed=seed, progress=bar, **options)
    model.save(out)
    paths = len(model.strategy.taxonomy)
    typer.echo(
        f"{out}: a {model.strategy.name} model of {paths:,} label paths; use it with classify --model {out} --test TEST"
    )


@app.command()
def resume(
    run: Annotated[Path, typer.Argument(help="The run directory.")],
    engine: Annotated[str | None, typer.Option(help="Have the requests answered by this engine.")] = None,
    until: UntilOption = "report",
) -> None:
    """Carry on where a run stopped."""
    from classify.progress import bar
    from classify.run import Run

    _execute(run, lambda: Run.open(run, progress=bar), until, engine)


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="A run directory, predictions.jsonl or a .predict file.")],
    labels: Annotated[Path, typer.Argument(help="The true labels.")],
    train: TrainOption = None,
    taxonomy: Annotated[Path | None, typer.Option(help="A CSV of the valid paths.")] = None,
    policy: Annotated[str, typer.Option(help="What is valid: path or brand-free.")] = "path",
    by: Annotated[str | None, typer.Option(help="Score each value of this column, too.")] = None,
    schema: SchemaOption = "indoml",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Score predictions against labels."""
    from catalog.schema import load_schema
    from classify.scoring import evaluate_files
    from classify.tables import evaluation_table

    columns = load_schema(schema)
    known = _taxonomy(columns, train, taxonomy)
    whole, parts = evaluate_files(predictions, labels, columns, taxonomy=known, policy=_policy(policy), by=by)
    if json:
        import json as encoder

        value = {**whole.to_dict(), **({"by": {name: part.to_dict() for name, part in parts.items()}} if by else {})}
        typer.echo(encoder.dumps(value, ensure_ascii=False))
    else:
        _print(evaluation_table(whole, parts, by))


@app.command()
def submit(
    run: Annotated[Path | None, typer.Argument(help="The run directory.")] = None,
    name: Annotated[str | None, typer.Option(help="The submission's name (default: the run's).")] = None,
    test: Annotated[Path | None, typer.Option(help="The test file to match (default: the run's).")] = None,
    score: Annotated[float | None, typer.Option(help="The score that came back.")] = None,
    of: Annotated[str | None, typer.Option(help="The submission that it came back for.")] = None,
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
        typer.echo(f"{made.path}: {made.rows:,} rows, {made.size:,} bytes, valid")
    elif score is not None and of is not None:
        record_score(place, score, of)
    elif score is not None or of is not None:
        raise ShelfmarkError("--score S and --of NAME go together")
    _print(scoreboard_table(read_scoreboard(place)))


@app.command()
def vote(
    runs: Annotated[list[Path], typer.Argument(help="Two run directories or more, over the same products.")],
    out: Annotated[Path, typer.Option(help="The run directory to write.")],
    policy: Annotated[str, typer.Option(help="What is valid: path or brand-free.")] = "brand-free",
) -> None:
    """Let several runs vote, weighted by confidence: a new run directory with their joint predictions."""
    from classify.tables import run_table
    from classify.vote import vote_into

    _print(run_table(vote_into(runs, out, _policy(policy))))


@app.command()
def ask(
    run: Annotated[Path, typer.Argument(help="The run directory.")],
    rows: Annotated[int, typer.Option(min=1, help="How many rows to ask for.")] = 500,
    out: Annotated[Path | None, typer.Option(help="The CSV file to write (default: RUN/ask.csv).")] = None,
) -> None:
    """Pick the rows whose labels would teach most: a CSV to fill in, and to give back with a second --train."""
    from classify.ask import ask as write_questions
    from classify.run import Run

    place = out or run / "ask.csv"
    written = write_questions(Run.open(run), rows, place)
    typer.echo(f"{place}: {written:,} rows; fill in the levels, then: classify ... --train TRAIN --train {place}")


@app.command()
def sample(
    rows: Annotated[int, typer.Option(help="Labelled products for training.")],
    test_rows: Annotated[int, typer.Option(help="Products to predict.")],
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
    taxonomy: Annotated[Path | None, typer.Option(help="A CSV of label paths, in place of our own.")] = None,
    schema: SchemaOption = "indoml",
    seed: SeedOption = 0,
) -> None:
    """Write data in the datathon's shape: train.features, train.labels, test.features, test.labels, taxonomy.csv."""
    from catalog.sample import write_sample
    from catalog.schema import load_schema
    from catalog.taxonomy import Taxonomy
    from classify.progress import bar

    columns = load_schema(schema)
    known = None if taxonomy is None else Taxonomy.read(taxonomy, columns)
    with bar("sample", rows + test_rows) as advance:
        write_sample(out, rows=rows, test_rows=test_rows, schema=columns, taxonomy=known, seed=seed, progress=advance)
    typer.echo(f"{out}: {rows:,} labelled products and {test_rows:,} to predict")


FIRST_STEPS = """\
classify puts products on the right shelf. To begin, with data made up for trying it out:

  classify sample --rows 20000 --test-rows 2000 --out sample
  classify --strategy tree --train sample/train.features --test sample/test.features --run runs/first
  classify submit runs/first

classify --help shows the options, classify COMMAND --help those of one command."""


def _execute(folder: Path, begin: Callable[[], Run], until: str, engine: str | None) -> None:
    from classify.tables import run_table

    def hint() -> str:
        begun = (folder / "manifest.json").is_file()
        return f"carry on with: classify resume {folder}" if begun else "nothing was begun; give the command again"

    try:
        run = begin()
        run.execute(until, engine)
    except KeyboardInterrupt:
        typer.echo(f"classify: stopped; {hint()}", err=True)
        raise
    except OSError as error:  # a full disk, most likely
        what = f"{error.filename or folder}: {error.strerror or error}"
        raise ShelfmarkError(f"{what}; when that is mended, {hint()}") from None
    _print(run_table(run))


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _policy(name: str) -> Any:
    from catalog.taxonomy import POLICIES

    if name not in POLICIES:
        raise ShelfmarkError(f"--policy {name}: unknown{nearest(name, POLICIES)}; there are: {', '.join(POLICIES)}")
    return name


def _taxonomy(schema: Schema, train: list[Path] | None, taxonomy: Path | None) -> Taxonomy | None:
    from catalog.products import read_products
    from catalog.taxonomy import Taxonomy

    if taxonomy is not None:
        if train:
            raise ShelfmarkError("give one of --train and --taxonomy")
        return Taxonomy.read(taxonomy, schema)
    if train:
        labels = [label for path in train for label in read_products(path, schema, labels=True).require_labels()]
        return Taxonomy.from_labels(labels, schema.levels)
    return None


def _print(table: Any) -> None:
    from rich.console import Console

    # Where nobody watches (a file, a pipe) a table is not cut to a terminal's width.
    Console(width=None if sys.stdout.isatty() else 140, highlight=False).print(table)


def main() -> None:
    """Run the command. A mistake of the user's is one line on standard error and exit code 2; ctrl-C is 130."""
    # The base class of the option parser's own errors, which typer does not export.
    usage_error: Any = typer.BadParameter.__mro__[2]
    try:
        code = app(standalone_mode=False, prog_name="classify")
        sys.exit(code if isinstance(code, int) else 0)
    except ShelfmarkError as error:
        _fail(str(error))
    except usage_error as error:
        _fail(" ".join(error.format_message().split()))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        what = error.strerror or str(error)
        _fail(f"{error.filename}: {what}" if error.filename else what)


def _fail(message: str) -> None:
    typer.echo(f"classify: {message}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
