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
from multiprocessing.process import BaseProcess
from typing import TypeVar

Asked = TypeVar("Asked")
Found = TypeVar("Found")
Work = Callable[[Sequence[Asked]], list[Found]]

LEAST = 1000
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
    if count < 2 or sys.platform != "linux":
        return work(items)
    shares = [items[number::count] for number in range(count)]
    others = [_begun(work, share) for share in shares[1:]]
    done = [work(shares[0])]
    for share, (process, results) in zip(shares[1:], others, strict=True):
        with results:
            try:
                done.append(results.recv())
            except EOFError:  # it was killed, or failed: then this process does its share, or fails and tells why
                done.append(work(share))
        process.join()
    return [done[place % count][place // count] for place in range(len(items))]


def _begun(work: Work[Asked, Found], share: Sequence[Asked]) -> tuple[BaseProcess, Connection[None, list[Found]]]:
    """Begin a process for a share; return it, and where its results come from."""
    context = multiprocessing.get_context("fork")
    results, end = context.Pipe(duplex=False)
    process = context.Process(target=_do, args=(work, share, end), daemon=True)
    with end, warnings.catch_warnings():
        # Python 3.12 warns where there are threads, whose locks nobody would give back; the work waits for none.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    return process, results


def _do(work: Work[Asked, Found], share: Sequence[Asked], end: Connection[list[Found], None]) -> None:
    # An interrupt is for the process that waits; and what a process that ends soon leaves behind need not be found.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    with suppress(Exception):
        end.send(work(share))
