"""What the requests of a run would take at a provider: those that have no answer yet."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from catalog.errors import ShelfmarkError
from catalog.messages import Request
from classify.asking import unanswered
from classify.costs import Prices
from classify.engines.base import Constrain, ModelOptions
from classify.file_counts import BatchFiles
from classify.loads import answer_tokens, answer_writing, load_of
from classify.openai_plan import Asked, asked
from classify.questions import asked_options
from classify.rundir import RunDirectory
from classify.token_counts import token_counts


def plan_requests(run: RunDirectory, llm: str, max_tokens: int | None, prices: Prices) -> Asked:
    """Count what it takes to have the requests answered; they are gone through once, and none is kept.

    Parameters
    ----------
    run : RunDirectory
        With its requests written.
    llm : str
        Who is to answer; empty for the LLM that the run names, or brings.
    max_tokens : int or None
        The most tokens of an answer; None for what the run or each request says.
    prices : Prices
        What it costs.

    Raises
    ------
    ShelfmarkError
        When no requests are written or all are answered, no model is known, or levels are asked for one by one.
    """
    if not run.manifest["engine"]:
        raise ShelfmarkError(f"{run.folder}: the strategy {run.manifest['strategy']} asks no LLM; it costs nothing")
    if run.manifest["options"].get("ask_by") == "level":
        raise ShelfmarkError(
            f"{run.folder}: --ask-by level asks each question by the answer before; what that reads is not known yet"
        )
    options = run.manifest["engine_options"]
    model = llm or options.get("llm") or asked_options(run).get("llm")
    if not model:
        raise ShelfmarkError("--llm NAME: name the model that is to answer; its price counts")
    waiting = unanswered(run.folder, run.request_files())
    first = next(waiting, None)
    if first is None:
        raise ShelfmarkError(f"{run.folder}: every request has an answer; carry on with classify resume {run.folder}")
    counts, form = token_counts(model), run.answer_form()
    # As files of a batch ask: a provider knows no choice.
    constrain: Constrain = "off" if options.get("constrain") == "off" else "json"
    most = max_tokens or options.get("max_tokens")
    written, _ = answer_tokens(run.taxonomy().counts, counts, answer_writing(bool(first.candidates), constrain, form))
    files = BatchFiles(ModelOptions(llm=model, constrain=constrain, max_tokens=most), form)
    requests: Iterator[Request] = files.watch(chain([first], waiting))
    load = load_of(requests, counts, written, most, constrain=constrain, form=form)
    return asked(model, load, files.count, prices)
