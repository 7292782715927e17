"""The batch engine driven to its end over the server, whatever goes wrong, and what must hold then.

What is checked is read from the raw files with plain JSON, and from the server's bills: not by the engine's own reader.
"""

import functools
import json
import os
import random
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from catalog.errors import ShelfmarkError
from catalog.messages import Completion, Request, request_id
from classify.costs import Budget, load_prices
from classify.engines.batch import BatchEngine
from classify.engines.batch_options import BatchOptions
from classify.engines.ledger import Ledger
from classify.provider.client import Provider
from tests.openai_server.running import Server, running
from tests.openai_server.state import KEY, State

MODEL = "gpt-4o-mini"
RUN = "run-of-the-driver"
CERTIFICATES = functools.cache(ssl.create_default_context)
"""To read them for each client takes longer than most drives."""
MOST_RESTARTS = 200
REFUSED, FILTERED = "number 21 ", "number 35 "
"""Products that the model refuses, and that the provider's filter stops."""

CHANCES = {
    "cancel_batch": (1, 2, 0.4),
    "expire": (1, 2, 0.4),
    "fail_batch": (1, 2, 0.4),
    "late_output": (2,),
    "no_output": (1, 2, 0.4),
    "no_usage": (1, 2, 0.4),
    "only_errors": (1, 2, 0.4),
    "row_errors": (0.2,),
    "blank": (0.2,),
    "corrupt": (0.2,),
    "crlf": (1, 0.4),
    "drop": (0.2,),
    "repeat": (0.3,),
    "shuffle": (1,),
    "unknown": (0.2,),
    "cut_file": (2,),
    "hide_batch": (2,),
    "hide_file": (2,),
    "http_429": (0.15,),
    "http_500": (0.15,),
    "http_503": (0.1,),
    "http_drop": (0.1,),
    "after_500": (0.15,),
    "after_drop": (0.1,),
    "legacy": (True,),
}
"""Faults that `random_faults` draws from, and how often each may happen."""


def random_faults(seed: int) -> dict[str, Any]:
    """Draw one to six faults, and at times how they happen."""
    draw = random.Random(seed)
    faults: dict[str, Any] = {"seed": seed}
    for name in draw.sample(sorted(CHANCES), draw.randint(1, 6)):
        faults[name] = draw.choice(CHANCES[name])
    if draw.random() < 0.3:
        faults |= {"enqueued_limit": draw.choice([200, 500, 900]), "enqueued_refuses": draw.random() < 0.5}
    if draw.random() < 0.2:
        faults["fail_share"] = 0.5
    if draw.random() < 0.2:
        faults["expire_share"] = draw.choice([0, 1])
    if draw.random() < 0.2:
        faults["cancel_share"] = draw.choice([0, 1])
    if draw.random() < 0.2:
        faults["damage_errors"] = True
    if draw.random() < 0.2:
        faults["clock_jump"] = draw.choice([-5000, 5000])
    return faults


def some_requests(rows: int) -> list[Request]:
    """Make requests; two of the first forty get no answer (`REFUSED`, `FILTERED`)."""
    requests = []
    for row in range(rows):
        turns = [
            {"role": "system", "content": "Classify"},
            {"role": "user", "content": f"product {row} number {row * 7} | shop{row % 3} | {row}.5 ->"},
        ]
        requests.append(Request(request_id(row, turns), turns, max_tokens=16))
    return requests


@contextmanager
def at_once() -> Iterator[list[float]]:
    """Have the provider's client use the server's key and never wait; give the seconds that it would have waited."""
    slept: list[float] = []
    with (
        patch.object(Provider, "sleep", staticmethod(slept.append)),
        patch.object(ssl, "create_default_context", CERTIFICATES),
        patch.dict(os.environ, OPENAI_API_KEY=KEY),
    ):
        yield slept


@dataclass
class Driven:
    """What came of a drive.

    `stops` are the errors that the engine ended with, each time that it was begun again after one; `left` counts how
    often it was left in the middle. `given_up` counts how often a person gave up each request, after the engine said
    that it may be paid and its answer lost: only then it is asked again. `asked` tells how many batches that were taken
    each request was in.
    """

    seed: int
    faults: dict[str, Any]
    requests: list[Request]
    completions: dict[str, Completion] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    stops: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    left: int = 0
    too_dear: bool = False
    given_up: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    billed: dict[str, int] = field(default_factory=dict)
    processed: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)  # of the server's batches

    def errors(self) -> dict[str, str]:
        """Return the errors by request."""
        return {name: one.error for name, one in self.completions.items() if one.error is not None}


def drive(
    seed: int,
    faults: dict[str, Any] | None = None,
    rows: int = 40,
    *,
    folder: Path,
    retries: int = 3,
    max_cost: float | None = None,
    leave: float = 0.3,
    requests: list[Request] | None = None,
    server: Server | None = None,
    options: dict[str, Any] | None = None,
) -> Driven:
    """Have all requests answered by the engine, and check all that must hold.

    It is begun again after each error, as a person does it, and after it was left in the middle of its answers.

    Parameters
    ----------
    seed : int
        Says which faults there are, unless they are given, and when the engine is left.
    faults : dict, optional
        By the names of the fields of `Faults`.
    rows : int
        How many requests are made, unless they are given.
    folder : Path
        Gets the books.
    retries : int
        As of the engine.
    max_cost : float, optional
        Dollars. Where they are used up the drive ends, `Driven.too_dear`.
    leave : float
        How probable it is, each time that the engine is begun, that it is left.
    requests : list of Request, optional
        What is asked.
    server : Server, optional
        One that runs already; the checks of bills are about all that it ever did.
    options : dict, optional
        More options of the engine.

    Raises
    ------
    AssertionError
        When something does not hold that must.
    """
    given = random_faults(seed) if faults is None else faults
    asked = some_requests(rows) if requests is None else requests
    done = Driven(seed, given, asked)
    if server is None:
        with running(refuses={REFUSED}, filters={FILTERED}) as made, at_once() as done.slept:
            made.faults.update(given)
            _to_the_end(done, made, folder, retries, max_cost, leave, options or {})
    else:
        with at_once() as done.slept:
            server.faults.update(given)
            _to_the_end(done, server, folder, retries, max_cost, leave, options or {})
    return done


def _to_the_end(
    done: Driven,
    server: Server,
    folder: Path,
    retries: int,
    max_cost: float | None,
    leave: float,
    options: dict[str, Any],
) -> None:
    draw = random.Random(f"leave {done.seed}")
    chosen = {"llm": MODEL, "base_url": server.url, "poll": 0.01, "constrain": "off", **options}
    price = load_prices().of(chosen["llm"])
    refusals = 0
    for start in range(MOST_RESTARTS):
        todo = [request for request in done.requests if request.id not in done.completions]
        if start and not todo and not Ledger(folder).unsettled:
            break
        engine = BatchEngine(BatchOptions(**chosen, retries=retries))
        budget = Budget(max_cost, price, model=chosen["llm"], batch=True)
        engine.keep_books(folder, RUN, budget, begun=start > 0, tell=done.told.append)
        rows = draw.randint(1, len(done.requests)) if draw.random() < leave else 0
        answers: Any = engine.complete(iter(todo))
        try:
            for completion in answers:
                assert completion.id not in done.completions, f"{completion.id} came out twice"
                done.completions[completion.id] = completion
                rows -= 1
                if rows == 0:
                    done.left += 1
                    break
            answers.close()
        except ShelfmarkError as stop:
            done.stops.append(str(stop))
            refused = str(stop).startswith("--max-cost") and "in flight is taken in" not in str(stop)
            refusals = refusals + 1 if refused else 0
            if "--give-up" in str(stop) and done.stops[-2:] == [str(stop)] * 2:  # to look once more was in vain
                left = [request.id for request in done.requests if request.id not in done.completions]
                with Ledger.writing(folder) as books:
                    books.write("gave up", ids=left)
                done.given_up.update(left)
        done.report = engine.report
        if refusals > 1:
            done.too_dear = True
            break
    state = server.state
    done.billed, done.processed = state.billed()["batch"], state.processed()
    done.calls, done.statuses = state.calls, Counter(batch.status for batch in state.batches.values())
    if not done.too_dear:
        assert set(done.completions) == {request.id for request in done.requests}, done.stops[-3:]
    doubled = _may_double(done.faults)
    done.asked = check_books(folder, state, retries=retries, doubled=doubled, again=list(done.given_up))
    for name, times in done.processed.items() if not doubled else ():
        assert times <= 1 + done.given_up[name], f"{name} was paid {times} times, and nobody said so"
    check_costs(done.report, state, exact="no_usage" not in done.faults)
    if max_cost is not None and price is not None:
        spent = price.dollars(done.billed["prompt_tokens"], done.billed["completion_tokens"], batch=True)
        assert spent <= max_cost + 5e-7, f"${spent} of {max_cost}"


def _may_double(faults: dict[str, Any]) -> bool:
    """Tell whether the faults may keep the engine from finding a batch that it made, so that it makes it twice."""
    return bool(faults.get("hide_batch", 0) > 4)


def check_books(
    folder: Path, state: State, *, retries: int = 3, doubled: bool = False, again: Sequence[str] = ()
) -> Counter[str]:
    """Check the books of a run that has ended against its raw files and against the server.

    Parameters
    ----------
    folder : Path
        Of the books.
    state : State
        Of the server.
    retries : int
        As of the engine.
    doubled : bool
        Whether a batch may have been made twice.
    again : sequence of str
        Requests that a person had asked again.

    Returns
    -------
    Counter
        In how many batches that were taken, and that nobody stopped, each request was.
    """
    asked: Counter[str] = Counter()
    here: set[str] = set()
    taken: dict[int, list[str]] = {}
    open_batches: set[str] = set()
    creating: set[int] = set()
    made: dict[int, list[str]] = {}
    for line in (folder / "ledger.jsonl").read_bytes().split(b"\n")[:-1]:
        event = json.loads(line)
        kind, number = event["event"], event.get("number", 0)
        if kind == "creating":
            twice = here & set(_rows_of(folder, number))
            assert not twice, f"chunk {number} asks again what is answered: {sorted(twice)[:3]}"
            creating.add(number)
        elif kind == "not created":
            creating.discard(number)
        elif kind == "created":
            creating.discard(number)
            open_batches.add(event["batch"])
            made.setdefault(number, []).append(event["batch"])
        elif kind == "ended":
            open_batches.discard(event["batch"])
            here |= set(_answered(folder, number, made[number].index(event["batch"]) + 1))
            if not event["turned_away"] and event["batch"] not in taken.get(number, ()):
                taken.setdefault(number, []).append(event["batch"])
                if event["status"] != "cancelled":
                    asked.update(_rows_of(folder, number))
    assert not open_batches, "batches were left in flight"
    assert not creating, "nobody found out what became of a batch"
    books = Ledger(folder)
    assert not books.unsettled
    if not doubled:
        for number, batches in taken.items():
            assert len(batches) == 1, f"chunk {number} was paid {len(batches)} times"
        most = Counter({name: times for name, times in asked.items() if name not in set(again)})
        assert max(most.values(), default=0) <= retries + 1, most.most_common(3)
    known = {batch for batches in taken.values() for batch in batches}
    bills = Counter(bill.object_id for bill in state.ledger if bill.kind == "batch")
    for batch in state.batches.values():
        assert batch.id in known or (not bills[batch.id] and batch.status == "failed"), f"{batch.id} is an orphan"
    return asked


def check_costs(report: dict[str, Any], state: State, *, exact: bool = True) -> None:
    """Check that a report tells what the server billed; no less of it where the provider does not tell."""
    billed = state.billed()["batch"]
    tokens = [billed["prompt_tokens"], billed["completion_tokens"]]
    if exact:
        assert report["unsure"] == 0
    if not report["unsure"]:
        assert report["billed_tokens"] == tokens
    for told, true in zip(report["billed_tokens"], tokens, strict=True):
        assert told >= true
    price = load_prices().of(MODEL)
    if exact and price is not None and all(bill.model == MODEL for bill in state.ledger):
        dollars = price.dollars(*tokens, batch=True)
        assert abs(report["cost"] - dollars) < 1e-6


def _rows_of(folder: Path, number: int) -> list[str]:
    path = folder / f"{number:04d}.requests.jsonl"
    if not path.exists():  # never sent: others took its place
        return []
    return [json.loads(line)["custom_id"] for line in path.read_bytes().split(b"\n")[:-1]]


def _answered(folder: Path, number: int, place: int) -> Iterator[str]:
    """Yield the requests of a chunk of which the files of its n-th batch hold an answer."""
    rows = set(_rows_of(folder, number))
    for path in folder.glob(f"{number:04d}-{place}.*.jsonl"):
        for text in path.read_bytes().split(b"\n"):
            try:
                line = json.loads(text)
                name, response = line["custom_id"], line["response"]
                if response["status_code"] == 200 and response["body"]["choices"][0]["message"] and name in rows:
                    yield name
            except (ValueError, LookupError, TypeError, RecursionError):
                continue
