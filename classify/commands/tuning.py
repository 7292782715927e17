"""The command about a provider's fine-tunes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classify.commands import options as o
from classify.commands.app import app
from classify.console import advise, show


@app.command()
def tuning(
    out: Annotated[Path, typer.Argument(help="What classify fit --strategy openai was given as --out.")],
    base_url: o.UrlOption = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel the job; what it has done so far is paid.")] = False,
) -> None:
    """Show how a fine-tune at a provider stands, or cancel it."""
    from classify.provider import standing
    from classify.tuning_table import tuning_table

    if cancel:
        advise(f"{standing.cancel(out, base_url or '')}: cancelled")
        return
    show(tuning_table(standing.standing(out, base_url or "")))
