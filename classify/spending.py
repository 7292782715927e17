"""What a run may pay a provider, and what its requests will cost, told before the first is sent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

from catalog.errors import ShelfmarkError
from catalog.files import read_json
from classify.asking import unanswered
from classify.costs import Budget, load_prices
from classify.engines.base import ApiOptions
from classify.engines.batch import nobody
from classify.loads import answer_tokens, answer_writing, load_of
from classify.progress import silent
from classify.rundir import RunDirectory
from classify.token_counts import token_counts


def begin_paying(run: RunDirectory, engine: Any, files: list[Path], again: bool) -> Budget | None:
    """Refuse what could cost more than it may, and give an engine that keeps books of it their place.

    Parameters
    ----------
    run : RunDirectory
        Its manifest says what it may cost, by which prices.
    engine : Engine
        Will answer.
    files : list of Path
        Of the requests.
    again : bool
        Whether requests are asked again that have an error for an answer.

    Returns
    -------
    Budget or None
        None where no provider is paid by tokens, as far as is known.

    Raises
    ------
    ShelfmarkError
        When it could cost more, or there is a bound and the price is not known.
    """
    cap, options = run.manifest.get("max_cost"), getattr(engine, "options", None)
    if not isinstance(options, ApiOptions):
        if cap is not None and engine.name != "neighbours":
            raise ShelfmarkError(f"--max-cost: the engine {engine.name} is not paid by tokens; see --gpu-price")
        return None
    price = load_prices(run.manifest.get("prices") or None).of(options.llm)
    batch = hasattr(engine, "keep_books")
    if price is None and cap is None and not batch:
        return None
    budget = Budget(cap, price, model=options.llm, batch=batch, spent=_paid_for_fit(run))
    counts = token_counts(options.llm)
    writing = answer_writing(not run.answers_freely, options.constrain, engine.form)
    written, _ = answer_tokens(run.taxonomy().counts, counts, writing)
    if batch:
        begun = "id" in run.manifest
        if not begun:
            run.record(id=uuid4().hex)
        engine.keep_books(
            run.folder / "batches",
            run.manifest["id"],
            budget,
            begun=begun,
            written=written,
            tell=nobody if run.progress is silent else _tell,
        )
        return budget
    asking = run.manifest.get("asking", {})
    budget.spent += budget.dollars(asking.get("prompt_tokens", 0), asking.get("completion_tokens", 0))
    waiting = unanswered(run.folder, files, again=again)
    load = load_of(waiting, counts, written, options.max_tokens, constrain=options.constrain, form=engine.form)
    if price is not None:
        expected, most = load.dollars(price, batch=False)
        budget.check(most, f"{load.rows:,} requests")
        budget.estimate = asking.get("estimate") or [round(expected, 6), round(most, 6)]
    return budget


def _paid_for_fit(run: RunDirectory) -> float:
    """Return what the run paid for a model of its own, in dollars."""
    own = run.folder / "model" / "tuning.json"
    cost = read_json(own).get("cost") if own.is_file() else None
    return float((cost or {}).get("actual") or 0.0)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
