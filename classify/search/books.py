"""The books of a cache: every search that was sent, and what came of it, so that nothing paid is forgotten.

A line is written before a search is sent, and another when its outcome is known. What has no second line was in flight
when a process died, and counts at its worst.
"""

from __future__ import annotations

import fcntl
from pathlib import Path

from pydantic import Field

from catalog.errors import ShelfmarkError
from catalog.files import owned
from classify.costs import Budget, Price
from classify.lines import GrowingLines, read_lines
from classify.recorded_lines import Line

ANSWER = "answer"
"""The outcome of a search that was answered; of others it is the kind of trouble."""
FREE = Price(input=0, output=0)
"""Stands for a price of tokens where searches are paid by the piece."""


def books_of(cache: Path) -> Path:
    """Return where the books of a cache are: beside it."""
    return cache.with_name(cache.stem + ".books.jsonl")


class _Begun(Line):
    number: int = Field(alias="try")
    query: str
    at_most: float | None = Field(ge=0)


class _Ended(Line):
    number: int = Field(alias="try")
    dollars: float | None = Field(ge=0)
    outcome: str


class Spent:
    """What the books say.

    Attributes
    ----------
    tries : int
        Searches that were sent.
    dollars : float
        What they cost: where it is not known yet, at most.
    lost : float
        The part of it that no answer came for.
    unsettled : int
        Searches whose outcome nobody wrote down: they were in flight when a process died.
    unpriced : int
        Searches that may have cost something, when no price was known.
    """

    def __init__(self) -> None:
        self.tries = self.unsettled = self.unpriced = 0
        self.dollars = self.lost = 0.0

    @classmethod
    def read(cls, file: Path) -> Spent:
        """Read the books; where there are none, nothing was spent."""
        spent, opened = cls(), dict[int, float | None]()
        for line in read_lines(file, _Begun | _Ended) if file.exists() else ():  # type: ignore[arg-type]
            if isinstance(line, _Begun):
                opened[line.number] = line.at_most
                spent.tries += 1
            else:
                opened.pop(line.number, None)
                spent.add(line.dollars, line.outcome == ANSWER)
        for most in opened.values():
            spent.unsettled += 1
            spent.add(most, answered=False)
        return spent

    def add(self, dollars: float | None, answered: bool) -> None:
        """Count what a search cost."""
        self.unpriced += dollars is None
        self.dollars += dollars or 0.0
        self.lost += 0.0 if answered else dollars or 0.0

    def total(self, each: float | None) -> float:
        """Return the dollars that are gone, where a search without a price counts as `each`, if that is known."""
        return self.dollars + self.unpriced * (each or 0.0)

    def besides(self, each: float | None) -> str:
        """Return what is to be told beside the dollars: searches of which nobody knows what they cost."""
        return f", besides {self.unpriced:,} searches without a known price" if self.unpriced and each is None else ""


class Books:
    """The books of one cache, open and locked, with a bound on what may be spent.

    Parameters
    ----------
    cache : Path
        The cache.
    cap : float or None
        Dollars that all of its searches may cost, those of earlier commands included.
    each : float or None
        Dollars that a search counts as when it was made without a known price; None where that is still not known.

    Attributes
    ----------
    spent : Spent
        So far.
    budget : Budget
        The bound.

    Raises
    ------
    ShelfmarkError
        When another process works on the cache.
    """

    def __init__(self, cache: Path, cap: float | None, each: float | None) -> None:
        file = books_of(cache)
        self._lock = open(file, "ab", opener=owned)  # noqa: SIM115 -- closed by close()
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise ShelfmarkError(f"{cache}: another process is searching for it; wait for it") from None
        self._lines = GrowingLines(file)  # cuts off what a killed process left of a line
        self.spent = Spent.read(file)
        self.budget = Budget(cap, FREE, spent=self.spent.total(each))

    def begin(self, query: str, most: float | None) -> int | None:
        """Write down that a search is about to be sent; return its number, or None where it is not within the bound."""
        dollars = most or 0.0
        if not self.budget.affords(dollars):
            return None
        number = self.spent.tries = self.spent.tries + 1
        self._lines.append([{"try": number, "query": query, "at_most": most}])
        self.budget.in_flight += dollars
        return number

    def end(self, number: int, most: float | None, dollars: float | None, outcome: str = ANSWER) -> None:
        """Write down what came of a search, and what it cost."""
        self._lines.append([{"try": number, "dollars": dollars, "outcome": outcome}])
        self.budget.in_flight -= most or 0.0
        self.budget.spent += dollars or 0.0
        self.spent.add(dollars, outcome == ANSWER)

    def close(self) -> None:
        """Close the books, and let others work on the cache; books in which nothing stands are none."""
        self._lines.close()
        if not self.spent.tries:
            self._lines.path.unlink()
        self._lock.close()
