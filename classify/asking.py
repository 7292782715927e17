"""Asking: every request that has no answer yet goes to the engine, and what comes back is on disk at once."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from catalog.errors import ShelfmarkError
from catalog.messages import Completion, Request
from classify import recorded_lines
from classify.engines.base import Engine, KeepsBooks
from classify.lines import GrowingLines, count_lines, read_lines
from classify.progress import Progress
from classify.recorded_answers import RecordedAnswers

ANSWERS = "completions.jsonl"
ASKED = "asked.jsonl"
"""Ids, each written before its request is sent: what has no answer was in flight when a process died."""
LOST = "lost.jsonl"
"""Tries whose answer was lost, though it may be billed: the request's ``id``, and the ``dollars`` it is at most."""
FLUSH_ROWS = 2048
NOTE_SECONDS = 10.0


def read_requests(files: Iterable[Path]) -> Iterator[Request]:
    """Yield the requests of several files that ask something."""
    for file in files:
        yield from (request for request in recorded_lines.read_requests(file) if request.messages)


def read_answers(folder: Path) -> RecordedAnswers:
    """Return what is recorded, by request id: the last answer of each, an answer before an error."""
    return RecordedAnswers(folder / ANSWERS)


def answered(folder: Path, *, again: bool = False) -> set[str]:
    """Return the ids of requests that have an answer; with `again` an error is none."""
    path = folder / ANSWERS
    lines = read_lines(path, Completion) if path.exists() else ()
    return {line.id for line in lines if not (again and line.error is not None)}


def unanswered(folder: Path, files: Iterable[Path], *, again: bool = False) -> Iterator[Request]:
    """Yield the requests that have no answer; with `again` also those that have an error for one."""
    done = answered(folder, again=again)
    return (request for request in read_requests(files) if request.id not in done)


def ask(
    folder: Path,
    engine: Engine,
    files: list[Path],
    *,
    progress: Progress,
    note: Callable[[], None] = lambda: None,
    again: bool = False,
) -> None:
    """Have an engine answer all requests of some files that have no answer yet.

    Parameters
    ----------
    folder : Path
        Of the run: `ANSWERS` and `ASKED` in it grow.
    engine : Engine
        Answers.
    files : list of Path
        Of requests.
    progress : Progress
        Opens a progress bar.
    note : callable
        Called every ten seconds or so.
    again : bool
        Also ask what has an error for an answer.

    Raises
    ------
    ShelfmarkError
        When a file is damaged or the engine is of no use; what was answered is kept.
    """
    fresh = not (folder / ANSWERS).exists()
    # Without answers nothing is known of what was asked before: someone took them away.
    with GrowingLines(folder / ANSWERS) as lines, _asked(folder, engine, keep=0 if fresh else None) as asked:
        done = answered(folder, again=again)
        wanted = missing = 0
        for request in read_requests(files):
            wanted += 1
            missing += request.id not in done

        def sent() -> Iterator[Request]:
            for request in read_requests(files):
                if request.id not in done:
                    if asked is not None:
                        asked.append([request.id])
                    yield request

        # An answer that costs is written the moment it is there: the next may be long in coming.
        rows = FLUSH_ROWS if engine.deterministic else 1
        held: list[dict[str, Any]] = []
        count, noted = 0, time.monotonic()

        def write() -> None:
            nonlocal count
            # Taken out first: what was torn by a full disk must not be followed by the same once more.
            taken, held[:] = held[:], []
            lines.append(taken)
            advance(len(taken))
            count += len(taken)

        with progress("answer", wanted) as advance, closing(_closable(engine.complete(sent()))) as completions:
            advance(wanted - missing)
            try:
                for completion in completions:
                    held.append(completion.to_dict())
                    if len(held) >= rows:
                        write()
                    if time.monotonic() - noted > NOTE_SECONDS:
                        note()
                        noted = time.monotonic()
            finally:
                write()
        if count < missing:
            raise ShelfmarkError(
                f"{folder}: {missing - count} of {missing} requests got no answer; resume to ask them again"
            )


def _asked(folder: Path, engine: Engine, keep: int | None) -> AbstractContextManager[GrowingLines | None]:
    """Open the list of what is asked; there is none for what costs nothing to ask again, or is in other books."""
    elsewhere = engine.deterministic or isinstance(engine, KeepsBooks)
    return nullcontext() if elsewhere else GrowingLines(folder / ASKED, keep=keep)


def _closable(completions: Iterator[Completion]) -> Generator[Completion]:
    """Give an engine's answers as a generator: to close it ends the engine's work, whatever kind of iterator it is."""
    yield from completions


def tally(folder: Path) -> dict[str, Any]:
    """Count what is recorded: answers, errors, tokens, and requests that were in flight when a process ended.

    Where there are any, ``unsure`` counts the tries whose answer was lost, though it may be billed, and ``uncounted``
    the answers whose tokens nobody told: they count as many as there may be.
    """
    return recorded(folder)[0]


def recorded(folder: Path) -> tuple[dict[str, Any], Counter[str]]:
    """Return what `tally` counts, and how often each request was in flight when a process ended."""
    counts = {"answers": 0, "errors": 0, "prompt_tokens": 0, "completion_tokens": 0}
    uncounted = 0
    every, good = array("q"), array("q")  # hashes of ids: a name for each of many rows would take memory
    in_flight = Counter(read_lines(folder / ASKED, str) if (folder / ASKED).exists() else ())
    for line in read_lines(folder / ANSWERS, Completion):
        if line.id in in_flight:
            in_flight[line.id] -= 1
        every.append(hash(line.id))
        if line.error is None:
            good.append(every[-1])
        counts["prompt_tokens"] += line.prompt_tokens
        counts["completion_tokens"] += line.completion_tokens
        uncounted += line.unsure
    counts["answers"] = len(np.unique(good))
    counts["errors"] = len(np.unique(every)) - counts["answers"]
    in_flight = +in_flight
    more = {"unsure": count_lines(folder / LOST), "uncounted": uncounted}
    told = {name: number for name, number in more.items() if number}
    return {**counts, "asked_again": in_flight.total(), **told}, in_flight
