"""What a part found: figures for the table, and each thing that did not hold, with what shows it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Goal(StrEnum):
    """What must never happen."""

    ABORT = "tracebacks or aborts"
    LOST = "ids lost or doubled"
    PAID = "rows paid twice"
    OUTSIDE = "writes outside"
    HANG = "hangs over 60 s"
    OTHER = "otherwise wrong"


@dataclass(frozen=True)
class Failure:
    """Something that did not hold.

    `what` says it in a line; `case` is the name of the case, which is drawn again by its name and the seed alone;
    `command` is the command line, and `detail` what it wrote of it.
    """

    part: str
    goal: Goal
    what: str
    case: str
    command: str = ""
    detail: str = ""

    def told(self) -> str:
        """Return it as lines to print."""
        lines = [f"  [{self.goal}] {self.case}: {self.what}"]
        lines += [f"      {self.command}"] if self.command else []
        lines += [f"      | {line}" for line in self.detail.strip().splitlines()[-12:]]
        return "\n".join(lines)


@dataclass
class Outcome:
    """What came of a case: how often it counts in its row of the table, and what did not hold."""

    row: str
    count: int = 1
    failures: list[Failure] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


@dataclass
class Row:
    """A row of the table."""

    name: str
    count: int = 0
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Count a case."""
        self.count += outcome.count
        self.failures += outcome.failures
        self.notes += outcome.notes


GOALS = tuple(Goal)


def table(rows: Iterable[Row]) -> str:
    """Return the rows as Markdown: how many cases, and how often each goal was missed."""
    lines = [
        "| what | cases | " + " | ".join(GOALS) + " |",
        "|---|---|" + "---|" * len(GOALS),
    ]
    for row in rows:
        missed = Counter(failure.goal for failure in row.failures)
        cells = [f"{missed[goal]}" for goal in GOALS]
        lines.append(f"| {row.name} | {row.count:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def kinds(failures: Iterable[Failure]) -> list[tuple[int, Failure]]:
    """Return one failure of each kind, with how many there are of it, the most frequent first."""
    groups: dict[tuple[str, str, str], list[Failure]] = {}
    for failure in failures:
        # The last line of a traceback says where it was raised better than the message, which quotes the input.
        place = next((line for line in reversed(failure.detail.splitlines()) if line.lstrip().startswith("File ")), "")
        groups.setdefault((failure.part, failure.goal, place or failure.what[:60]), []).append(failure)
    return sorted(((len(group), group[0]) for group in groups.values()), key=lambda one: -one[0])
