"""Coroutines in a thread of their own, for a plain generator that hands on what they return."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Background(Generic[T]):
    """An event loop in a thread, as a context: at its end what still runs is cancelled, and the thread is gone."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # A daemon, so that a generator that nobody closed does not keep the process alive.
        self._thread = Thread(target=self._loop.run_forever, name="shelfmark-background", daemon=True)
        self._tasks: set[asyncio.Task[T]] = set()
        self._done: SimpleQueue[asyncio.Task[T]] = SimpleQueue()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine in the thread and wait for what it returns or raises."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def start(self, work: Coroutine[Any, Any, T]) -> None:
        """Begin a coroutine, whose outcome `take` will give."""
        self._loop.call_soon_threadsafe(self._begin, work)

    def take(self) -> T:
        """Wait for any coroutine that was begun to end; return what it returns, or raise what it raises."""
        return self._done.get().result()

    def cancel(self) -> None:
        """Cancel what still runs, and wait until it has ended."""
        self.call(self._cancel())

    def _begin(self, work: Coroutine[Any, Any, T]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not log those that nobody takes any more
            self._done.put(task)

    async def _cancel(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.shutdown_default_executor()  # where names of hosts are looked up
