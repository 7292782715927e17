"""What must hold of any command, whatever it was given and however it ended."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import TypeVar

from benchmarks.chaos.findings import Failure, Goal, Outcome
from benchmarks.chaos.forker import Forker
from benchmarks.chaos.jobs import Ended, Job

ABORT_MARKS = ("Traceback (most recent call last)", "Fatal Python error", "Segmentation fault", "terminate called")
PLAIN = {ord(sign) for sign in "\n\t"}


def judge(part: str, case: str, job: Job, done: Ended, *, killed: bool = False) -> list[Failure]:
    """Return what did not hold: of a command that was not killed, and of one that was, what it wrote until then.

    A bug's exit code (1), a signal or a traceback is an abort; so is exit code 2 without its one line.
    """
    found: list[Failure] = []

    def wrong(goal: Goal, what: str) -> None:
        detail = _where_it_hangs(done.err) if done.hung else (done.trace or done.err)[-3000:]
        found.append(Failure(part, goal, what, case, job.line(), detail))

    if done.hung:
        wrong(Goal.HANG, f"hung for {job.limit:.0f} s")
    elif killed and done.code == -9:
        pass
    elif done.code not in (0, 2):
        lines = done.err.strip().splitlines() or [""]
        wrong(Goal.ABORT, f"exit code {done.code}: {lines[-1][:200]}")
    elif any(mark in done.err for mark in ABORT_MARKS):
        wrong(Goal.ABORT, f"exit code {done.code}, and a traceback")
    elif done.code == 2 and not _one_line(done.err):
        wrong(Goal.OTHER, f"exit code 2, and not one line: {done.err[:120]!r}")
    if done.code in (0, 2) and (signs := _raw_signs(done.out + done.err)):
        wrong(Goal.OTHER, f"writes raw signs to the terminal: {signs!r}")
    if done.outside:
        wrong(Goal.OUTSIDE, f"writes outside: {', '.join(done.outside[:3])}")
    if done.orphans:
        wrong(Goal.OTHER, f"{done.orphans} helpers live on after the command")
    return found


def _where_it_hangs(text: str) -> str:
    """Return the innermost calls of each thread, as `faulthandler` tells them."""
    threads = text.split("hread 0x")[1:]
    return "\n".join("\n".join(thread.splitlines()[1:6]) for thread in threads)


def _one_line(text: str) -> bool:
    """Tell whether a command said in one line, its last, why it refuses; how it went before may stand above."""
    lines = text.split("\n")
    said = [line for line in lines if line.startswith("classify: ")]
    return len(said) == 1 and lines[-1] == "" and lines[-2] == said[0]


def _raw_signs(text: str) -> str:
    """Return the signs that steer a terminal: controls, and those that turn the direction of a text."""
    return "".join(
        sorted(
            {sign for sign in text if (ord(sign) < 32 and ord(sign) not in PLAIN) or sign in "\x7f\u202e\u2066\u2067"}
        )
    )


Case = TypeVar("Case")


def in_parallel(
    cases: Iterable[Case],
    forkers: list[Forker],
    work: Callable[[Case, Forker], Outcome],
    add: Callable[[Outcome], None],
    *,
    total: int,
    what: str,
) -> None:
    """Do the work of all cases, with as many at once as there are forkers, and tell how far it is."""
    free: SimpleQueue[Forker] = SimpleQueue()
    for fork in forkers:
        free.put(fork)

    def one(case: Case) -> Outcome:
        fork = free.get()
        try:
            return work(case, fork)
        except Exception as error:  # of the benchmark's own: the other cases go on
            wrong = f"the benchmark itself: {type(error).__name__}: {error}"
            failure = Failure(what, Goal.OTHER, wrong, str(case)[:200], detail=traceback.format_exc())
            return Outcome("", 0, [failure])
        finally:
            free.put(fork)

    told = monotonic()
    with ThreadPoolExecutor(len(forkers)) as pool:
        for number, future in enumerate(as_completed([pool.submit(one, case) for case in cases]), start=1):
            outcome = future.result()
            add(outcome)
            for failure in outcome.failures:
                print(failure.told(), flush=True)
            if monotonic() - told > 30:
                told = monotonic()
                print(f"  {what}: {number:,} of {total:,}", flush=True)


def contents(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return the content of files, and of all files in folders, that are there; but for temporary names."""
    found: dict[str, bytes] = {}
    for name in names:
        place = folder / name
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        found |= {
            str(file.relative_to(folder)): file.read_bytes()
            for file in files
            if file.is_file() and file.suffix != ".tmp"
        }
    return found
