"""What a run asks an engine, and what it learns from the answers to questions about held-out rows."""

from __future__ import annotations

import time
from typing import Any

from catalog.errors import ShelfmarkError
from catalog.messages import Completion
from classify.answers import AnswerReader
from classify.asking import ANSWERS, ask, read_answers, tally, unanswered
from classify.engines.base import KeepsBooks
from classify.engines.ledger import Ledger, read_ledger
from classify.engines.levels import LevelsEngine
from classify.held_out import COMPARED, HELD_OUT, compare_top_k, learn_joint, learn_trust, read_held_out, write_held_out
from classify.joint import Joint
from classify.lines import GrowingLines
from classify.names import STRATEGIES
from classify.registry import find, make_engine, own_llm
from classify.rundir import NO_LLM, RunDirectory
from classify.spending import PAID_BEFORE, begin_paying
from classify.strategies.base import check_options
from classify.trust import Trust
from rag.prompts import Prompt
from rag.tokens import token_counter

COMPARED_ROWS = 200
"""Held-out rows to compare numbers of neighbours on, where none are asked for."""


def asked_options(run: RunDirectory) -> dict[str, Any]:
    """Return the options with which the run's engine is made: where they name no LLM, with that of the run's model.

    Raises
    ------
    ShelfmarkError
        When the model is not on this machine, or the run names what only this machine's user may.
    """
    strategy = run.manifest["strategy"]
    chosen = find("strategy", STRATEGIES, strategy)
    if not hasattr(chosen, "own_llm"):
        return run.engine_options
    checked = check_options(chosen.options_class, strategy, run.options)
    return own_llm(strategy, run.manifest["engine"], run.engine_options, run.model_folder, checked)


def ask_engine(run: RunDirectory, files: list[str], again: bool = False) -> None:
    """Have the run's engine answer the requests of some of its files; the manifest's ``asking`` tells of it.

    Raises
    ------
    ShelfmarkError
        When the engine is of no use; what was answered is kept.
    """
    options = run.manifest["options"]
    engine: Any = make_engine(run.manifest["engine"], asked_options(run), run.answer_form())
    paths = [run.folder / name for name in files]
    books = isinstance(engine, KeepsBooks)
    if options.get("ask_by") == "level" and books:
        raise ShelfmarkError("--ask-by level asks each question by the answer before; a batch cannot do that")
    budget = begin_paying(run, engine, paths, again)
    if options.get("ask_by") == "level" and engine.name != NO_LLM:
        checked = run.options
        prompt = Prompt(run.schema, checked["prompt"], by_level=True)
        count, limit = token_counter(checked["tokenizer"]), checked["max_prompt_tokens"]
        engine = LevelsEngine(engine, prompt, run.taxonomy(), count=count, limit=limit)
    asking = run.manifest.get("asking", {})
    if not (run.folder / ANSWERS).exists():
        asking = {name: value for name, value in asking.items() if name == PAID_BEFORE}
    past, started = asking.get("seconds", 0.0), time.perf_counter()

    def note(**counts: Any) -> None:
        seconds = round(past + time.perf_counter() - started, 3)
        asking.update(seconds=seconds, **engine.report, **counts)
        if run.manifest["gpu_price"] is not None:
            asking["cost"] = round(run.manifest["gpu_price"] * seconds / 3600, 6)  # dollars
        elif budget is not None and not books:
            told = [asking.get(name, 0) for name in ("prompt_tokens", "completion_tokens")]
            asking["estimate"], asking["cost"] = budget.estimate, round(budget.dollars(*told), 6)
        run.record(asking=asking)

    run.record(deterministic=engine.deterministic)
    try:
        ask(run.folder, engine, paths, progress=run.progress, note=note, again=again)
    finally:
        run.mend()  # a full disk tears a line, too
        note(**tally(run.folder))


def compare(run: RunDirectory, strategy: Any, *, with_engine: bool) -> dict[str, Any]:
    """Find the best number of neighbours on held-out rows, as the engine answers them or, without it, as they vote."""
    options = run.manifest["options"]
    made = {k: strategy.with_top_k(k) for k in options["compare_top_k"]}
    held = {k: other.held_out_requests(options["calibrate"] or COMPARED_ROWS) for k, other in made.items()}
    answers = None
    if with_engine and run.manifest["engine"] != NO_LLM:
        write_held_out(run.folder / COMPARED, [one for some in held.values() for one in some])
        ask_engine(run, [COMPARED])
        answers = read_answers(run.folder)
    return compare_top_k(held, answers, AnswerReader(strategy.taxonomy, options["policy"]))


def hold_out(run: RunDirectory, strategy: Any) -> None:
    """Write requests about held-out rows; not those that lack candidates where others have them (zero-shot)."""
    held = strategy.held_out_requests(run.manifest["options"]["calibrate"])
    free = bool(getattr(strategy, "answers_as", ""))
    write_held_out(run.folder / HELD_OUT, [(request, label) for request, label in held if free or request.candidates])


def learn(run: RunDirectory) -> tuple[Joint | None, Trust | None]:
    """Learn how far to trust the answers, where held-out rows were asked about.

    The manifest's ``joint`` tells of requests with candidates, its ``trust`` of those without.
    """
    if not (run.folder / HELD_OUT).is_file():
        return None, None
    reader = AnswerReader(run.taxonomy(), run.manifest["options"]["policy"])
    held, answers = read_held_out(run.folder / HELD_OUT), read_answers(run.folder)
    joint, trust = learn_joint(held, answers, reader), learn_trust(held, answers, reader)
    if not held or any(request.candidates for request, _ in held):
        run.record(joint={"used": True, "rows": 0} if joint is None else joint.report)
    else:
        run.record(trust={"rows": 0} if trust is None else trust.report)
    return joint, trust


def give_up(run: RunDirectory) -> None:
    """Record an error for each request that has no answer: its best candidate will stand."""
    missing = [request.id for request in unanswered(run.folder, run.request_files())]
    with GrowingLines(run.folder / ANSWERS) as lines:
        lines.append(Completion(name, error="given up").to_dict() for name in missing)
    if read_ledger(run.folder) is not None:
        # Those that have an error already, too: a process may have been killed in between.
        failed = [request.id for request in unanswered(run.folder, run.request_files(), again=True)]
        with Ledger.writing(run.folder / "batches") as books:
            books.write("gave up", ids=failed)
