"""Searching: every description that the cache lacks goes to the provider, and what comes back is on disk at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from catalog.context import MOST_QUERY, Entry, Snippet, description_key, read_entries
from catalog.errors import ShelfmarkError
from catalog.files import owned
from classify.engines import retry
from classify.engines.connection import NO_CONNECTION, TOO_LONG, UNPAID, TroubleError
from classify.lines import GrowingLines
from classify.search.base import RefusedSearchError, SearchProvider
from classify.search.books import Books

FIRST_FAILURES = 3
"""So many searches fail one after the other before any was answered: then something is wrong with how it is asked."""
MORE_FAILURES = 20
"""So many more than are in flight fail one after the other before the provider counts as gone."""

REFUSED = "refused"


@dataclass(frozen=True)
class Pace:
    """How fast is asked, and how patiently.

    Attributes
    ----------
    concurrency : int
        Searches in flight, at most.
    rate : float or None
        Searches begun in a second, at most; None for no bound.
    retries : int
        How often a search is sent again after a trouble that may pass.
    """

    concurrency: int = 8
    rate: float | None = None
    retries: int = 4


@dataclass
class Tally:
    """What came of the searches of this command."""

    found: int = 0
    empty: int = 0
    failed: int = 0


class _GivenUpError(Exception):
    """The search is left for another time; nothing is recorded."""


class _SpentError(Exception):
    """The money does not reach for another search."""


def _ignore(rows: int) -> None:
    del rows


class Searcher:
    """Searches, many descriptions at once.

    The first search goes alone, so that no others are paid where all would be in vain. Failures whose retries are used
    up are recorded once the provider answers another search: where it turns out to be gone, nothing is said of them.
    What is in flight when something goes wrong is waited for: it is paid.

    Parameters
    ----------
    provider : SearchProvider
        Who is asked.
    cache : Path
        Grows.
    books : Books
        Of the cache.
    pace : Pace
        How fast.
    advance : callable
        Told of each search that came to an end.
    """

    sleep = staticmethod(asyncio.sleep)

    def __init__(
        self,
        provider: SearchProvider,
        cache: Path,
        books: Books,
        pace: Pace,
        advance: Callable[[int], None] = _ignore,
    ) -> None:
        self.provider, self.cache, self.books, self.pace, self.advance = provider, cache, books, pace, advance
        self.tally = Tally()
        self._stop: ShelfmarkError | _SpentError | None = None
        self._next = 0.0

    def search(self, queries: Iterable[str]) -> Tally:
        """Search for descriptions, in this order; none of them twice.

        Raises
        ------
        ShelfmarkError
            When the provider is of no use, or the money is spent; what was found is kept.
        """
        try:
            with GrowingLines(self.cache) as self._lines:
                asyncio.run(self._search(queries))
        finally:
            if self.cache.exists() and not self._any():
                self.cache.unlink()
        if isinstance(self._stop, _SpentError):
            raise self._spent()
        if self._stop is not None:
            raise self._stop
        return self.tally

    async def _search(self, queries: Iterable[str]) -> None:
        await self.provider.connection.open()
        pending: set[asyncio.Task[tuple[Entry, str]]] = set()
        waiting, answered = iter(queries), False
        held: list[Entry] = []
        last = ""
        try:
            while True:
                room = self.pace.concurrency if answered else 1
                while len(pending) < room and self._stop is None and (query := next(waiting, None)) is not None:
                    pending.add(asyncio.create_task(self._one(query)))
                if not pending:
                    break
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    try:
                        entry, last = task.result()
                    except _GivenUpError:
                        continue
                    except (_SpentError, ShelfmarkError) as error:
                        self._stop = self._stop or error
                        continue
                    if not last:
                        self._record(held)
                        held, answered = [], True
                        continue
                    held.append(entry)
                    most = self.pace.concurrency + MORE_FAILURES if answered else FIRST_FAILURES
                    if len(held) >= most and self._stop is None:
                        self._stop = self._gone(f"{len(held)} searches in a row failed, the last with {entry.error}")
            if self._stop is None and last == NO_CONNECTION:
                self._stop = self._gone(f"the last {len(held)} searches failed, the last with {held[-1].error}")
            if self._stop is None:
                self._record(held)
        finally:
            for task in pending:  # somebody pressed ctrl-C
                task.cancel()
            await self.provider.connection.close()

    async def _one(self, query: str) -> tuple[Entry, str]:
        """Return what was found, written down already, or a failure, and the kind of trouble (else empty)."""
        trouble = TroubleError("")
        for tries in range(self.pace.retries + 1):
            if tries:
                await self.sleep(retry.wait(tries - 1, trouble.retry_after))
            await self._turn()
            if self._stop is not None:
                raise _GivenUpError
            most = self.provider.most(query)
            number = self.books.begin(query, most)
            if number is None:
                raise _SpentError
            try:
                snippets, dollars = await self.provider.search(" ".join(query.split())[:MOST_QUERY])
            except TroubleError as error:
                trouble = error
                self.books.end(number, most, 0.0 if error.kind in UNPAID else most, error.kind)
                if error.kind == TOO_LONG:
                    break
                continue
            except RefusedSearchError as error:
                self.books.end(number, most, most, REFUSED)  # whether it is billed is not known
                return self._entry(query, error=str(error)), REFUSED
            except ShelfmarkError:
                self.books.end(number, most, 0.0, REFUSED)
                raise
            # The answer first: what dies between the two lines counts as paid, and is not asked for again.
            self._record([self._entry(query, snippets, dollars)])
            self.books.end(number, most, dollars)
            return self._entry(query), ""
        return self._entry(query, error=f"{trouble}{retry.after(tries)}"), trouble.kind

    async def _turn(self) -> None:
        """Wait until another search may be begun."""
        if self.pace.rate is None:
            return
        now = asyncio.get_running_loop().time()
        at = max(now, self._next)
        self._next = at + 1 / self.pace.rate
        if at > now:
            await self.sleep(at - now)

    def _entry(
        self, query: str, snippets: list[Snippet] | None = None, dollars: float | None = None, error: str = ""
    ) -> Entry:
        date = datetime.now(UTC).date().isoformat()
        return Entry(
            query, snippets or [], self.provider.label, date, None if dollars is None else round(dollars, 8), error
        )

    def _record(self, entries: list[Entry]) -> None:
        self._lines.append(entry.to_dict() for entry in entries)
        self.tally.failed += sum(bool(entry.error) for entry in entries)
        self.tally.empty += sum(not entry.error and not entry.snippets for entry in entries)
        self.tally.found += sum(bool(entry.snippets) for entry in entries)
        self.advance(len(entries))

    def _spent(self) -> ShelfmarkError:
        budget = self.books.budget
        return ShelfmarkError(
            f"--max-cost {budget.cap:g}: ${budget.spent:,.4f} spent, and another search is not within it; "
            f"{self._kept()}; raise --max-cost to go on"
        )

    def _gone(self, why: str) -> ShelfmarkError:
        begins = "goes on from there" if self._any() else "begins again"
        return ShelfmarkError(f"{self.provider.label}: {why}; {self._kept()}: the same command {begins}")

    def _kept(self) -> str:
        return f"what was found is in {self.cache}" if self._any() else "nothing was found"

    def _any(self) -> bool:
        """Whether the cache holds anything; one that does not is not left behind."""
        return self.cache.exists() and self.cache.stat().st_size > 0


def known(cache: Path, *, again: bool = False) -> dict[str, bool]:
    """Return the keys of the descriptions that a cache has, and whether something was found; with `again` no errors.

    Raises
    ------
    ShelfmarkError
        When a line is damaged.
    """
    if not cache.exists():
        return {}
    found: dict[str, bool] = {}
    for entry in read_entries(cache):
        if not (again and entry.error):
            key = description_key(entry.query)
            found[key] = found.get(key, False) or bool(entry.lines)
    return found


def mend(cache: Path) -> None:
    """End the last line of a cache, where it is whole: what is torn is cut off, what a person wrote must not be."""
    if not cache.exists():
        return
    with open(cache, "rb+", opener=owned) as stream:
        content = b""
        for content in stream:  # noqa: B007 -- the last line is what is wanted
            pass
        if content.strip() and not content.endswith(b"\n"):
            try:
                json.loads(content)
            except ValueError:
                return
            stream.seek(0, 2)
            stream.write(b"\n")
