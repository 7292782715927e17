"""The command that says what can run here."""

from __future__ import annotations

from typing import Annotated

import typer

from classify.commands.app import app
from classify.console import show, show_json


@app.command()
def doctor(json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Check this machine, what is installed and the keys: which strategies run here, and how to enable the others."""
    from classify.doctor import examine

    report = examine()
    if json:
        show_json(report.to_dict())
    else:
        from classify.doctor_table import doctor_tables

        for table in doctor_tables(report):
            show(table)
    if not report.can_run:
        raise typer.Exit(1)
