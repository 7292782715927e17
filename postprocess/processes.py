"""Share work out among processes: a share for each, and one for this process."""

from __future__ import annotations

import gc
import multiprocessing
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Found = TypeVar("Found")
Work = Callable[[Sequence[Asked]], list[Found]]

LEAST = 500
"""For fewer items a process is not worth its start."""


def shared_out(work: Work[Asked, Found], items: Sequence[Asked], processes: int) -> list[Found]:
    """Return ``work(items)``, done by several processes where one can be copied safely: on Linux.

    Parameters
    ----------
    work : callable
        Takes items and returns one result for each, in order; no result depends on another item. It must not use
        threads, which a copy of a process does not have.
    items : sequence
        What is to be done.
    processes : int
        At most so many, this one among them.
    """
    count = min(processes, len(items) // LEAST)
    # A process that is a helper itself may have none of its own.
    if count < 2 or sys.platform != "linux" or multiprocessing.current_process().daemon:
        return work(items)
    shares = [items[number::count] for number in range(count)]
    others = [_Share(work, share) for share in shares[1:]]
    try:
        done = [work(shares[0]), *[other.done() for other in others]]
    finally:
        for other in others:
            other.end()
    return [done[place % count][place // count] for place in range(len(items))]


class _Share(Generic[Asked, Found]):
    """A share of the work, and the process that does it, where one can be had."""

    def __init__(self, work: Work[Asked, Found], items: Sequence[Asked]) -> None:
        self.work, self.items = work, items
        context = multiprocessing.get_context("fork")
        self._results, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_do, args=(work, items, self._results, theirs), daemon=True)
        with theirs, suppress(OSError), warnings.catch_warnings():
            # Python 3.12 warns where there are threads, whose locks nobody would give back; the work waits for none.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()

    def done(self) -> list[Found]:
        """Wait for the results. Where the process was not to be had, was killed or failed, the work is done here."""
        try:
            found: list[Found] = self._results.recv()
        except (EOFError, OSError):
            return self.work(self.items)
        return found

    def end(self) -> None:
        """Give back what the process had; one that nobody waits for any more is ended."""
        self._results.close()
        if self._process.pid is not None:
            self._process.terminate()
            self._process.join()


def _do(
    work: Work[Asked, Found],
    items: Sequence[Asked],
    theirs: Connection[None, list[Found]],
    results: Connection[list[Found], None],
) -> None:
    # An interrupt is for the process that waits; and what a process that ends soon leaves behind need not be found.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    # As long as this process could read them itself, it would wait to be rid of its results when nobody else can.
    theirs.close()
    with suppress(Exception):
        results.send(work(items))
