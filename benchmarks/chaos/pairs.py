"""Two processes at once on the same folder: one works, or both do; what comes out is as if one had been alone."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.findings import Failure, Goal, Outcome, Row
from benchmarks.chaos.forker import Forker
from benchmarks.chaos.jobs import Ended, Job
from benchmarks.chaos.judge import judge
from benchmarks.chaos.kills import WORKS, Place, Servers, Work, answered_twice, servers
from benchmarks.chaos.shelf import Shelf

PART = "pairs"
ALL = 40
NAMES = (
    "rag, neighbours",
    "rag, server",
    "openai, batch",
    "resume",
    "fit rag",
    "fit openai",
    "snap",
    "snap, CSV",
    "import",
    "export",
    "context",
    "submit",
    "vote",
    "report",
    "ask",
    "tree",
)
AGAIN = 5
"""So often the command is given again where both were refused, or one found half of what the other did."""


@dataclass(frozen=True)
class Pair:
    """A work that two processes begin, the second so many seconds after the first."""

    name: str
    work: Work
    later: float


def _cases(count: int, seed: int) -> Iterator[Pair]:
    works = [work for name in NAMES for work in WORKS if work.name == name]
    draw = random.Random(f"pairs {seed}")
    for number in range(count):
        yield Pair(f"{seed}:{number}", works[number % len(works)], draw.choice((0.0, 0.01, 0.05, draw.uniform(0, 0.4))))


def _both(forkers: list[Forker], job: Job, later: float) -> list[Ended]:
    """Carry a job out twice at once."""

    def begin(number: int) -> Ended:
        time.sleep(later * number)
        return forkers[number](job)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(begin, (0, 1)))


def _overpaid(place: Place, used: Servers) -> str:
    """Return what was billed twice though nobody died."""
    api = place.work.api
    if api == "batch":
        twice = [name for name, times in used.api.state.processed().items() if times > 1]
        return f"{len(twice)} rows of batches were paid twice" if twice else ""
    if api == "tune":
        return f"{len(used.api.state.jobs)} fine-tuning jobs were made" if len(used.api.state.jobs) > 1 else ""
    if api == "search":
        twice = [query for query, times in used.search.answered.items() if times > 1]
        return f"{len(twice)} searches were paid twice" if twice else ""
    if api == "chat":
        bills = sum(bill.kind == "chat" for bill in used.api.state.ledger)
        answers = place.answers()
        return f"{bills} chat requests were paid for {answers} answers" if bills > answers else ""
    return ""


def pairs(shelf: Shelf, forkers: list[Forker], scale: float, seed: int, only: Collection[str] = ()) -> list[Row]:
    """Carry the part out: one pair after the other, as each takes two processes."""
    count = max(round(ALL * scale), 1)
    row = Row("pairs of processes at once")
    more = [Forker()] if len(forkers) < 2 else []
    two = [*forkers, *more][:2]
    undisturbed: dict[str, dict[str, bytes]] = {}
    for case in _cases(count, seed):
        if only and case.name not in only:
            continue
        outcome = Outcome(PART)
        told = f"case {case.name}, {case.work.name}, the second {case.later:.3f} s later"

        def failed(goal: Goal, what: str, job: Job, done: Ended, told: str = told, outcome: Outcome = outcome) -> None:
            outcome.failures.append(Failure(PART, goal, what, told, job.line(), (done.trace or done.err)[-1500:]))

        with tempfile.TemporaryDirectory(prefix="chaos-case-") as temporary:
            if case.work.name not in undisturbed:
                with servers() as used:
                    alone = Place(case.work, Path(temporary) / "alone" / "case", shelf, used)
                    two[0](alone.job())
                    undisturbed[case.work.name] = alone.results()
            with servers() as used:
                place = Place(case.work, Path(temporary) / "case", shelf, used)
                job = place.job()
                both = _both(two, job, case.later)
                for done in both:
                    outcome.failures += judge(PART, told, job, done)
                    outcome.notes["refused" if done.code else "done"] += 1
                again, well = 0, not all(done.code for done in both)
                while not (well and place.done(undisturbed[case.work.name])) and again < AGAIN:
                    again, well = again + 1, True
                    done = two[0](place.job())
                    outcome.failures += judge(PART, told, job, done)
                if done.code and again == AGAIN:
                    failed(Goal.LOST, "is refused, though nobody else is at it", job, done)
                if not place.done(undisturbed[case.work.name]):
                    names = place.differing(undisturbed[case.work.name])
                    failed(Goal.LOST, f"is another than one process alone makes it: {', '.join(names)}", job, done)
                outcome.notes["begun again"] += bool(again)
                for goal, what in ((Goal.LOST, answered_twice(place)), (Goal.PAID, _overpaid(place, used))):
                    if what:
                        failed(goal, what, job, done)
        row.add(outcome)
        for failure in outcome.failures:
            print(failure.told(), flush=True)
    for one in more:
        one.close()
    return [row]
