"""What a run may pay a provider, and what its requests will cost, told before the first is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from catalog.errors import ShelfmarkError
from catalog.messages import Request
from catalog.products import Products
from classify import console
from classify.asking import ANSWERS, ASKED, LOST, read_requests, recorded, unanswered
from classify.costs import Budget, Load, Price, load_prices
from classify.engines.base import ApiOptions, KeepsBooks
from classify.engines.batch import nobody
from classify.held_out import COMPARED, HELD_OUT
from classify.lines import GrowingLines, read_lines
from classify.loads import answer_tokens, answer_writing, load_of
from classify.model import work_folder
from classify.names import STRATEGIES
from classify.openai_plan import ProviderPlan, plan_products, plan_training, tuned_from
from classify.progress import silent
from classify.provider.record import Record
from classify.provider.stored import read_tuning
from classify.recorded_lines import Lost
from classify.registry import find
from classify.rundir import RunDirectory
from classify.strategies.base import check_options
from classify.token_counts import token_counts

PAID_BEFORE = "paid_before"
"""In the manifest's ``asking``: dollars, at most, that answers cost which somebody deleted."""
Measure = Callable[[Iterable[Request]], Load]


def begin_paying(run: RunDirectory, engine: Any, files: list[Path], again: bool) -> Budget | None:
    """Refuse what could cost more than it may, and have the engine keep to that.

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
    price = load_prices(run.prices).of(options.llm)
    books = isinstance(engine, KeepsBooks)
    if price is None and cap is None and not books:
        return None
    budget = Budget(cap, price, model=options.llm, batch=books, spent=_paid_for_fit(run))
    counts = token_counts(options.llm)
    writing = answer_writing(not run.answers_freely, options.constrain, engine.form)
    written, _ = answer_tokens(run.taxonomy().counts, counts, writing)

    def measure(requests: Iterable[Request]) -> Load:
        return load_of(requests, counts, written, options.max_tokens, constrain=options.constrain, form=engine.form)

    budget.spent += _paid_before(run, price, measure)
    if isinstance(engine, KeepsBooks):
        _give_books(run, engine, budget, written)
    elif price is not None:
        _reckon(run, budget, price, measure, measure(unanswered(run.folder, files, again=again)))
        engine.charge = _charging(run, budget, price, measure)
    return budget


def _give_books(run: RunDirectory, engine: KeepsBooks, budget: Budget, written: float) -> None:
    """Give an engine that keeps books their place."""
    begun = "id" in run.manifest
    if not begun:
        run.record(id=uuid4().hex)
    tell = nobody if run.progress is silent else console.tell
    engine.keep_books(run.folder / "batches", run.manifest["id"], budget, begun=begun, written=written, tell=tell)


def _reckon(run: RunDirectory, budget: Budget, price: Price, measure: Measure, load: Load) -> None:
    """Count what is spent by what is on the disk, and refuse what could cost more than is left."""
    if (run.folder / ANSWERS).exists():
        counts, in_flight = recorded(run.folder)
        budget.spent += budget.dollars(counts["prompt_tokens"], counts["completion_tokens"])
        budget.spent += measure(_named(run, in_flight)).dollars(price, batch=False)[1] + _lost(run)
    expected, most = load.dollars(price, batch=False)
    budget.check(most, f"{load.rows:,} requests")
    budget.in_flight = most
    asking = run.manifest.get("asking", {})
    budget.estimate = asking.get("estimate") or [round(expected, 6), round(most, 6)]
    if run.manifest["gpu_price"] is None:
        # Now, for a process that is killed before it notes anything has spent, too.
        run.record(asking={**asking, "estimate": budget.estimate})


def _charging(run: RunDirectory, budget: Budget, price: Price, measure: Measure) -> Callable[[Request], bool]:
    """Return what writes down a try whose answer was lost, and says whether another one is within the bound."""

    def charge(request: Request) -> bool:
        dollars = measure([request]).dollars(price, batch=False)[1]
        with GrowingLines(run.folder / LOST) as lines:
            lines.append([{"id": request.id, "dollars": dollars}])
        affordable = budget.affords(dollars)
        budget.in_flight += dollars if affordable else 0.0
        return affordable

    return charge


def _paid_before(run: RunDirectory, price: Price | None, measure: Measure) -> float:
    """Return what was paid for answers that are not here any more, in dollars at most."""
    asking = run.manifest.get("asking", {})
    paid = float(asking.get(PAID_BEFORE, 0.0))
    if (run.folder / ANSWERS).exists():
        return paid
    if "estimate" in asking and "batches" not in asking:  # batches have books, which nobody deleted
        # A killed process may have asked more than the manifest knows.
        known = asking.get("answers", 0) + asking.get("errors", 0)
        asked = list(read_lines(run.folder / ASKED, str)) if (run.folder / ASKED).exists() else []
        others = measure(_named(run, Counter(asked[known:])))
        most = 0.0 if price is None else others.dollars(price, batch=False)[1]
        paid = round(paid + asking.get("cost", 0.0) + most + _lost(run), 6)
        run.record(asking={PAID_BEFORE: paid})
    for name in (ASKED, LOST):
        (run.folder / name).unlink(missing_ok=True)
    return paid


def _named(run: RunDirectory, times: Counter[str]) -> Iterator[Request]:
    """Yield the requests of these ids, each as often as it is counted."""
    files = [run.folder / name for name in (COMPARED, HELD_OUT, "requests.jsonl")] if times else []
    left = dict(times)
    for request in read_requests(file for file in files if file.is_file()):
        yield from [request] * left.pop(request.id, 0)


def _lost(run: RunDirectory) -> float:
    """Return what tries may cost whose answers were lost, in dollars at most."""
    file = run.folder / LOST
    return sum(line.dollars for line in read_lines(file, Lost)) if file.exists() else 0.0


def check_fit(run: RunDirectory, train: Products) -> None:
    """Refuse a fine-tune that, with the predictions after it, could cost more than the run may; before it is begun.

    Raises
    ------
    ShelfmarkError
        When it could, or a price is not known.
    """
    cap, options = run.manifest.get("max_cost"), run.manifest["options"]
    if cap is None or run.manifest["strategy"] != "openai" or options["tuned"] or options["job"]:
        return
    if Record(work_folder(run.folder / "model")).made("job"):
        return  # it is paid
    figures = check_options(find("strategy", STRATEGIES, "openai").options_class, "openai", run.options)
    prices, counts = load_prices(run.prices), token_counts(figures.base)
    engine, seed = run.manifest["engine_options"], run.manifest["seed"]
    model = engine.get("llm") or tuned_from(figures.base)
    how = run.schema, figures
    training = plan_training(train, *how, prices, counts, seed=seed)
    asked = plan_products(
        train,
        run.test,
        *how,
        model,
        engine.get("max_tokens"),
        prices,
        counts,
        calibrate=figures.calibrate,
        limit=run.manifest["limit"],
        context=run.context,
        seed=seed,
    )
    ProviderPlan(counts, figures.base, training, asked, batches=run.manifest["engine"] == "batch").check(cap)


def _paid_for_fit(run: RunDirectory) -> float:
    """Return what the run paid for a model of its own, in dollars: at most, where the provider does not tell."""
    own = run.folder / "model" / "tuning.json"
    about = read_tuning(own) if own.is_file() else {}
    cost = about.get("cost") or {}
    known = cost.get("actual")
    return float((cost.get("at_most") if known is None else known) or 0.0)
