"""The command about the batches of a run."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from classify.commands.app import app
from classify.commands.options import RunArgument, UrlOption
from classify.console import advise, show, show_json


@app.command()
def batches(
    run: RunArgument,
    base_url: UrlOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again until all have ended.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop them; what is done is paid, and kept.")] = False,
    every: Annotated[float, typer.Option(min=0.01, help="Seconds between two looks, with --watch.")] = 30.0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how the batches of a run stand, watch them, or stop them."""
    from dataclasses import asdict

    from classify.batch_list import BatchList, batch_table
    from classify.run import Run

    found = BatchList(Run.open(run), base_url or "")
    if cancel:
        stopped = found.cancel()
        what = "1 batch" if stopped == 1 else f"{stopped:,} batches"
        advise(f"{run}: {what} stopped; classify resume {run} takes in what was done")
    before = None
    while True:
        standings = found.standings()
        if standings != before and not json:
            show(batch_table(run, standings, found.report(), live=found.asks))
        before = standings
        if not watch or not found.asks or all(one.ended for one in standings):
            break
        time.sleep(every)
    if json:
        value = {"batches": [asdict(one) for one in standings], **{"totals": found.report()}}
        show_json(value)
