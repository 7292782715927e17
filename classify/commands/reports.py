"""The command that writes a run as a page, or compares runs on one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catalog.errors import ShelfmarkError
from classify.commands.app import app
from classify.commands.parameters import completing
from classify.console import result
from classify.names import runs as run_names


@app.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="A run directory; or several, to compare with the first.", autocompletion=completing(run_names)
        ),
    ],
    labels: Annotated[
        Path | None, typer.Option(help="The true labels (default: those that stood beside the test file).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The page to write (default: RUN/report.html, or comparison.html beside it).")
    ] = None,
) -> None:
    """Write a run as one HTML page; of several runs, what changed, was won and lost."""
    from classify.report.page import check_page, write_comparison, write_report
    from classify.run import Run

    check_page(out)
    if labels is not None and not labels.exists():
        raise ShelfmarkError(f"--labels {labels}: no such file")
    opened = [Run.open(run) for run in runs]
    if len({run.resolve() for run in runs}) < len(runs):
        raise ShelfmarkError("a run is named twice; compare runs that differ")
    place = write_report(opened[0], labels, out) if len(opened) == 1 else write_comparison(opened, labels, out)
    result(place, f": {place.stat().st_size / 1024:,.0f} KB")
