"""Commands that carry a run on: here, on another machine, or in files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from classify.commands import options as o
from classify.commands.app import app, execute
from classify.commands.parameters import ENGINE, completing, takes
from classify.console import advise, progress, result
from classify.names import runs


@app.command()
@takes(asked=o.ANSWERS | o.ANSWERING)
def resume(
    run: o.RunArgument,
    asked: dict[str, Any],
    until: o.UntilOption = "report",
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Ask once more what failed.")] = False,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Let the best candidate stand where there is no answer: status failed.")
    ] = False,
    engine: o.EngineOption = None,
    llm: Annotated[
        str | None, typer.Option("--llm", "--model", help="The LLM that answers.", rich_help_panel=ENGINE)
    ] = None,
    base_url: o.UrlOption = None,
    gpu_price: o.PriceOption = None,
    max_cost: o.CostOption = None,
    prices: o.PricesOption = None,
    trust: o.TrustOption = False,
) -> None:
    """Carry on where a run stopped, here or on another machine."""
    from classify.run import Run

    execute(
        run,
        lambda: Run.open(run, progress=progress(), trust=trust),
        until=until,
        engine=engine,
        again=retry_failed,
        give_up=give_up,
        money=o.given(gpu_price=gpu_price, max_cost=max_cost, prices=prices and str(prices.resolve())),
        **asked,
        **o.given(llm=llm, base_url=base_url),
    )


@app.command()
@takes(asked=o.ANSWERS)
def export(
    run: Annotated[
        Path,
        typer.Argument(help="The run directory, after --until requests.", autocompletion=completing(runs)),
    ],
    asked: dict[str, Any],
    format: Annotated[
        str,
        typer.Option(
            help="openai-batch: for the OpenAI Batch API and vLLM's run-batch.",
            autocompletion=completing(("openai-batch",)),
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="The folder to write to (default: RUN/export).")] = None,
    llm: Annotated[
        str | None, typer.Option("--llm", "--model", help="The LLM that the files name.", rich_help_panel=ENGINE)
    ] = None,
) -> None:
    """Write the requests that have no answer to files that others can answer."""
    from classify.exchange import export_requests
    from classify.run import Run

    place = out or run / "export"
    for file, rows in export_requests(Run.open(run), place, format, asked | o.given(llm=llm)):
        result(file, f": {rows:,} requests")
    advise(f"when they are answered: classify import {run} FILE...")


@app.command("import")
def import_(
    run: o.RunArgument,
    files: Annotated[list[Path], typer.Argument(help="Output and error files, in any order, whole or in part.")],
) -> None:
    """Take back what others answered."""
    from classify.exchange import import_answers
    from classify.run import Run

    advise(import_answers(Run.open(run), files))
