"""The command that snaps raw answers, whoever gave them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.errors import ShelfmarkError
from classify.commands.app import app
from classify.commands.options import SchemaOption, TrainOption, ValidOption, read_taxonomy
from classify.commands.options import policy as checked_policy
from classify.console import advise, progress, result, show_json

if TYPE_CHECKING:
    from postprocess.likeness import Embed


@app.command()
def snap(
    answers: Annotated[
        list[Path],
        typer.Argument(
            help="JSON lines, CSV or Parquet with the id and 'answer'; .predict; Batch API output and error files; "
            "or one run directory."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The predictions to write: .jsonl, .csv or .predict.")],
    train: TrainOption = None,
    taxonomy: Annotated[Path | None, typer.Option(help="A CSV of the valid paths, in place of --train.")] = None,
    policy: ValidOption = "path",
    leave_below: Annotated[
        float, typer.Option(min=0, max=1, help="Leave answers alone whose repair is less sure than this.")
    ] = 0.0,
    products: Annotated[
        Path | None, typer.Option(help="The products that were asked about: text and retailer break ties.")
    ] = None,
    embed: Annotated[
        str | None, typer.Option(help="Compare meanings, too: minilm, mpnet or any sentence-transformers name.")
    ] = None,
    changes: Annotated[
        Path | None, typer.Option(help="Where every change is kept (default: beside --out, NAME.changes.jsonl).")
    ] = None,
    schema: SchemaOption = "indoml",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Snap raw answers of any model onto valid label paths, and keep every change."""
    from catalog.machine import cores
    from catalog.places import features_file
    from catalog.products import read_products
    from catalog.schema import load_schema
    from classify.job import training_files
    from classify.raw_answers import raw_answers
    from postprocess import Snapper
    from postprocess.files import changes_beside, check_places, snap_answers

    valid = checked_policy(policy)
    products = products and features_file(products, "test")
    own_schema = Path(schema) if Path(schema).is_file() else None
    read = (*answers, *training_files(train or ()).values(), taxonomy, products, own_schema)
    check_places(out, changes, [place for place in read if place is not None])
    meanings = None if embed is None else _embed(embed)
    columns = load_schema(schema)
    known = read_taxonomy(columns, train, taxonomy)
    if known is None:
        raise ShelfmarkError("give --train TRAIN or --taxonomy FILE: the label paths that are valid")
    found = raw_answers(answers, columns)
    asked = None if products is None else read_products(products, columns)
    snapper = Snapper(known, valid, leave_below=leave_below, embed=meanings)
    processes = int(cores()) if meanings is None else 1
    with progress()("snap", len(found)) as advance:
        summary = snap_answers(
            found, snapper, out, columns, products=asked, changes=changes, advance=advance, processes=processes
        )
    kept = changes or changes_beside(out)
    if json:
        value = {"rows": summary.rows, "statuses": summary.statuses, "rules": summary.rules}
        show_json({**value, "out": str(out), "changes": str(kept)})
    else:
        advise("\n".join(summary.lines()))
        result(out, f"; each change is in {kept}")


def _embed(name: str) -> Embed:
    from rag.encoders import check_name, make_encoder

    if name == "ngram" or name.startswith("hybrid:"):
        raise ShelfmarkError(f"--embed {name}: letters are compared anyway; name a sentence encoder, such as minilm")
    check_name(name, "--embed")
    encoder = make_encoder(name)
    encoder.fit([])
    return lambda texts: encoder.encode(texts).dense
