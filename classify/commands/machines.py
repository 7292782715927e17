"""Commands that carry a run on: here, on another machine, or in files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classify.commands import options as o
from classify.commands.app import app, execute


@app.command()
def resume(
    run: Annotated[Path, typer.Argument(help="The run directory.")],
    until: o.UntilOption = "report",
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Ask once more what failed.")] = False,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Let the best candidate stand where there is no answer: status failed.")
    ] = False,
    engine: o.EngineOption = None,
    llm: Annotated[str | None, typer.Option("--llm", "--model", help="The LLM that answers.")] = None,
    constrain: o.ConstrainOption = None,
    temperature: o.TemperatureOption = None,
    max_tokens: o.MaxTokensOption = None,
    base_url: o.UrlOption = None,
    concurrency: o.ConcurrencyOption = None,
    timeout: o.TimeoutOption = None,
    retries: o.RetriesOption = None,
    batch_size: o.BatchOption = None,
    tensor_parallel: o.ParallelOption = None,
    quantization: o.QuantizationOption = None,
    adapter: o.AdapterOption = None,
    max_model_len: o.LengthOption = None,
    gpu_memory: o.MemoryOption = None,
    dtype: o.DtypeOption = None,
    device: o.DeviceOption = None,
    gpu_price: o.PriceOption = None,
    max_cost: o.CostOption = None,
    prices: o.PricesOption = None,
    tier: o.TierOption = None,
    max_enqueued_tokens: o.EnqueuedOption = None,
    poll: o.PollOption = None,
) -> None:
    """Carry on where a run stopped, here or on another machine."""
    from classify.progress import bar
    from classify.run import Run

    asked = o.given(
        llm=llm,
        constrain=constrain,
        temperature=temperature,
        max_tokens=max_tokens,
        base_url=base_url,
        concurrency=concurrency,
        timeout=timeout,
        retries=retries,
        batch_size=batch_size,
        tensor_parallel=tensor_parallel,
        quantization=quantization,
        adapter=adapter,
        max_model_len=max_model_len,
        gpu_memory=gpu_memory,
        dtype=dtype,
        device=device,
        tier=tier,
        max_enqueued_tokens=max_enqueued_tokens,
        poll=poll,
    )

    execute(
        run,
        lambda: Run.open(run, progress=bar),
        until=until,
        engine=engine,
        again=retry_failed,
        give_up=give_up,
        money=o.given(gpu_price=gpu_price, max_cost=max_cost, prices=prices and str(prices.resolve())),
        **asked,
    )


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="The run directory, after --until requests.")],
    format: Annotated[str, typer.Option(help="openai-batch: for the OpenAI Batch API and vLLM's run-batch.")],
    out: Annotated[Path | None, typer.Option(help="The folder to write to (default: RUN/export).")] = None,
    llm: Annotated[str | None, typer.Option("--llm", "--model", help="The LLM that the files name.")] = None,
    constrain: o.ConstrainOption = None,
    temperature: o.TemperatureOption = None,
    max_tokens: o.MaxTokensOption = None,
) -> None:
    """Write the requests that have no answer to files that others can answer."""
    from classify.exchange import export_requests
    from classify.run import Run

    asked = o.given(llm=llm, constrain=constrain, temperature=temperature, max_tokens=max_tokens)
    for file, rows in export_requests(Run.open(run), out or run / "export", format, asked):
        typer.echo(f"{file}: {rows:,} requests")
    typer.echo(f"when they are answered: classify import {run} FILE...")


@app.command("import")
def import_(
    run: Annotated[Path, typer.Argument(help="The run directory.")],
    files: Annotated[list[Path], typer.Argument(help="Output and error files, in any order, whole or in part.")],
) -> None:
    """Take back what others answered."""
    from classify.exchange import import_answers
    from classify.run import Run

    typer.echo(import_answers(Run.open(run), files))
