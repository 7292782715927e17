"""The command that searches the web for descriptions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catalog.errors import ShelfmarkError
from classify.commands.app import app
from classify.commands.options import PricesOption, SchemaOption, TrustOption
from classify.console import is_quiet, say


@app.command()
def context(
    out: Annotated[Path, typer.Option(help="The cache, NAME.jsonl; what it has already is not searched for again.")],
    products: Annotated[
        list[Path] | None, typer.Argument(help="Products, to train on or to classify: each description, once.")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(help="Who searches: an address with {query} in it, a TOML file, or openai: see docs/context.md."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="The products of a run of which it is not sure (--below).")] = None,
    below: Annotated[float, typer.Option(min=0, max=1, help="With --run: those with less confidence.")] = 0.7,
    trust: TrustOption = False,
    model: Annotated[
        Path | None, typer.Option(help="The rows that a rag model holds out, to learn how far to trust the answers.")
    ] = None,
    calibrate: Annotated[int | None, typer.Option(min=0, help="With --model: how many (default: the model's).")] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help="Search for so many at most: those that are worth most, first.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what it would take; search for nothing.")] = False,
    price_per_1000: Annotated[
        float | None, typer.Option(min=0, help="Dollars for a thousand searches; 0 where they cost nothing.")
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="Dollars that all searches of the cache may cost at most, ever.")
    ] = None,
    prices: PricesOption = None,
    llm: Annotated[str | None, typer.Option(help="The model that searches (openai).")] = None,
    base_url: Annotated[str | None, typer.Option(help="Of an OpenAI-compatible API (openai).")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens of an answer at most (openai, default 200).")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Searches at once.")] = 8,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Searches a second at most.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for one search (default 30).")] = None,
    retries: Annotated[int, typer.Option(min=0, max=100, help="Tries after the first.")] = 4,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Search again for what failed.")] = False,
    schema: SchemaOption = "indoml",
) -> None:
    """Search the web for descriptions of products, each once, into a cache for --context."""
    from classify.commands.options import given
    from classify.search.command import Wanted, plan_searches, search_all
    from classify.search.searching import Pace

    if not products and run is None and model is None:
        raise ShelfmarkError("give products, or --run RUN, or --model MODEL; see classify context --help")
    options = given(
        search=search,
        price_per_1000=price_per_1000,
        prices=prices and str(prices),
        llm=llm,
        base_url=base_url,
        max_tokens=max_tokens,
        timeout=timeout,
    )
    wanted = Wanted(out, products or [], schema, run, below, model, calibrate, limit, retry_failed, trust)
    if plan:
        say(plan_searches(wanted, options, max_cost), lines=True)
    elif search is None:
        raise ShelfmarkError("give --search: an address with {query} in it, a TOML file, or openai; or --plan")
    else:
        try:
            found = search_all(wanted, options, max_cost, Pace(concurrency, rate, retries))
            say(out if is_quiet() else found, lines=True)
        except KeyboardInterrupt:
            say("classify: stopped; the same command goes on, and counts what was in flight as paid", err=True)
            raise
