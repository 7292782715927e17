"""How the batches of a run stand: by its books, and by what the provider says now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from catalog.errors import ShelfmarkError
from classify.authority import name_all
from classify.cost_rows import dollars
from classify.costs import Budget, load_prices
from classify.engines.books_report import books_report
from classify.engines.ledger import Chunk, Ledger, read_ledger
from classify.provider.batches import Batches
from classify.provider.client import Provider
from classify.provider.seen import ENDED
from classify.questions import asked_options
from classify.run import Run
from classify.terminal import shown


@dataclass(frozen=True)
class Standing:
    """One batch.

    Attributes
    ----------
    id, status : str
        Of the batch; ``not sent`` for a chunk that waits.
    rows, done, failed : int
        Requests: all, answered, and refused by the provider.
    cost, at_most : float or None
        Dollars: what it came to, and what it may come to while it is not read; None where that is not known.
    """

    id: str
    status: str
    rows: int
    done: int
    failed: int
    cost: float | None
    at_most: float | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in (*ENDED, "turned away", "not sent")


class BatchList:
    """The batches of a run.

    Parameters
    ----------
    run : Run
        Has sent batches, or may have.
    base_url : str
        The address of the provider; empty for the run's, where this machine's user has named it.

    Raises
    ------
    ShelfmarkError
        When it has sent none.
    """

    def __init__(self, run: Run, base_url: str = "") -> None:
        books = read_ledger(run.folder)
        if books is None or "id" not in run.manifest:
            raise ShelfmarkError(f"{run.folder}: has sent no batches; --engine batch does")
        self.run, self.books = run, books
        if base_url:
            name_all({"base_url": base_url})
            run.manifest["engine_options"] = {**run.manifest["engine_options"], "base_url": base_url}
        options = run.engine_options
        model = str(options.get("llm") or asked_options(run).get("llm") or "")
        self.price = load_prices(run.prices).of(model)
        self._url = str(options.get("base_url") or "")
        self.asks = bool(os.environ.get("OPENAI_API_KEY", "").strip())

    def standings(self) -> list[Standing]:
        """Return how each batch stands; without a key, as the books have it.

        Batches at the provider that carry the run's id and are not in the books are among them.
        """
        self.books = Ledger(self.books.folder)
        found = list(self._of_books())
        if not self.asks:
            return found
        now = {batch.id: batch for batch in self._batches().mine()}
        known = self.books.known
        told = []
        for one in found:
            batch = now.get(one.id)
            if batch is None or one.ended:
                told.append(one)
                continue
            told.append(Standing(one.id, batch.status, one.rows, batch.completed, batch.failed, None, one.at_most))
        for name, batch in now.items():
            if name not in known:
                told.append(Standing(name, batch.status, batch.total, batch.completed, batch.failed, None, None))
        return told

    def cancel(self) -> int:
        """Stop every batch that has not ended; what they have done is paid, and is kept. Return how many there were.

        Raises
        ------
        ShelfmarkError
            When one could not be stopped; the others are.
        """
        if not self.asks:
            raise ShelfmarkError("OPENAI_API_KEY is not set: put the provider's key there to stop batches")
        batches = self._batches()
        running = [one for one in self.standings() if not one.ended]
        problem: ShelfmarkError | None = None
        for one in running:
            try:
                batches.cancel(one.id)
            except ShelfmarkError as error:
                problem = error
        if problem is not None:
            raise problem
        return len(running)

    def report(self) -> dict[str, Any]:
        """Return the sums of the books, as JSON values."""
        return books_report(self.books, Budget(None, self.price, batch=True))

    def _batches(self) -> Batches:
        return Batches(Provider(self._url), str(self.run.manifest["id"]))

    def _of_books(self) -> Iterator[Standing]:
        for chunk in self.books:
            at_most = None if self.price is None else chunk.load.dollars(self.price, batch=True)[1]
            for sent in chunk.sent.values():
                status = "turned away" if sent.turned_away else sent.status or "sent"
                counts = (chunk.counts or {}) if not sent.turned_away else {}
                # What a chunk cost stands beside the first of its batches.
                cost = self._cost(chunk) if counts and sent.id == chunk.first else None
                done, failed = counts.get("answers", 0), counts.get("refused", 0)
                yield Standing(sent.id, status, chunk.rows, done, failed, cost, None if sent.ended else at_most)
            if chunk.waiting and not chunk.sent:
                yield Standing(f"(chunk {chunk.number})", "not sent", chunk.rows, 0, 0, None, at_most)

    def _cost(self, chunk: Chunk) -> float | None:
        if self.price is None or chunk.counts is None:
            return None
        return self.price.dollars(chunk.counts["read"], chunk.counts["written"], batch=True)


def batch_table(folder: Path, standings: list[Standing], report: dict[str, Any], *, live: bool) -> Table:
    """Return the batches as a table for people."""
    seen = "" if live else "; as they were last seen: OPENAI_API_KEY is not set"
    caption = f"cost so far: {dollars(report['cost'])}{seen}"
    table = Table(title=shown(str(folder)), title_justify="left", caption=shown(caption), caption_justify="left")
    table.add_column("batch", overflow="fold")
    table.add_column("status")
    for name in ("requests", "done", "failed", "cost", "at most"):
        table.add_column(name, justify="right")
    for one in standings:
        numbers = (f"{one.rows:,}", f"{one.done:,}", f"{one.failed:,}")
        money = ("" if one.cost is None else dollars(one.cost), "" if one.at_most is None else dollars(one.at_most))
        table.add_row(shown(one.id), shown(one.status), *numbers, *money)
    return table
