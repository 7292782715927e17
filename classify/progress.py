"""Progress bars with rate and time left; silent where nobody watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from catalog.foreign import visible

Advance = Callable[[int], None]
Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Opens a bar: ``with progress('encode', 5000) as advance: advance(100)``."""


def _ignore(rows: int) -> None:
    del rows


@contextmanager
def silent(what: str, total: int) -> Iterator[Advance]:
    """Show nothing."""
    del what, total
    yield _ignore


@contextmanager
def bar(what: str, total: int, tell: Callable[[], str] | None = None) -> Iterator[Advance]:
    """Show a bar called `what` over `total` rows on standard error, where that is a terminal, and what `tell` says."""
    if not sys.stderr.isatty():
        yield _ignore
        return
    # Imported here: most of what the command prints needs no bar.
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    from classify.terminal import Terminal

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f} rows/s" if speed else "")

    class Told(ProgressColumn):
        def render(self, task: Task) -> Text:
            del task
            return Text(visible(tell()) if tell is not None else "")

    columns = (
        TextColumn("{task.description:<12}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, Told(), console=Terminal(stderr=True), refresh_per_second=4) as bars:
        task = bars.add_task(visible(what), total=total)
        yield lambda rows: bars.advance(task, rows)


@contextmanager
def timed(what: str, total: int) -> Iterator[Advance]:
    """Show a bar, and when it is done one line with the time that it took, wherever standard error goes."""
    started, done = time.perf_counter(), 0

    def count(rows: int) -> None:
        nonlocal done
        done += rows
        advance(rows)

    with bar(what, total) as advance:
        yield count
    seconds = time.perf_counter() - started
    print(visible(f"{what}: {done:,} of {total:,} in {seconds:,.2f} s"), file=sys.stderr, flush=True)
