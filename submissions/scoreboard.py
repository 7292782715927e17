"""The scoreboard: what was handed in, when, and the score that came back, as a CSV file beside the runs."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from catalog.errors import ShelfmarkError, nearest
from catalog.files import atomic_write, owned
from catalog.foreign import visible
from catalog.sheets import SheetWriter
from catalog.tables import Row, read_table
from submissions.archive import check_name

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("number", "score", "file_name", "date_time", "size_bytes", "status")
Status = Literal["ready", "scored", "failed"]
STATUSES: tuple[Status, ...] = get_args(Status)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class ScoreRow:
    """One submission.

    Attributes
    ----------
    number : int
        1 for the first.
    score : float or None
        What came back, in the judge's unit; None until it did.
    file_name : str
        ``NAME.zip``.
    date_time : datetime
        When the row was added, in UTC, to the second.
    size_bytes : int
        Of the zip.
    status : str
        One of `STATUSES`: ``ready`` to hand in, ``scored``, or ``failed``, which a person typed.
    """

    number: int
    score: float | None
    file_name: str
    date_time: datetime
    size_bytes: int
    status: Status


def read_scoreboard(path: str | Path) -> list[ScoreRow]:
    """Return the rows of a scoreboard, in file order; none where the file does not exist yet.

    Raises
    ------
    ShelfmarkError
        When the file is damaged: the line, and what to do.
    """
    if not Path(path).exists():
        return []
    rows: list[ScoreRow] = []
    try:
        for row in read_table(path, required=COLUMNS):
            rows.append(_parsed(row, last=rows[-1].number if rows else 0))
    except ShelfmarkError as error:
        raise ShelfmarkError(f"{error}; mend that scoreboard, or move it away to begin a new one") from None
    return rows


def _parsed(row: Row, last: int) -> ScoreRow:
    number = row.whole_number("number", default=1)
    if number <= last:
        raise row.fault(f"{number} after {last}: the numbers must rise", "number")
    score = _number(row.text("score"))
    if score is not None and not math.isfinite(score):
        raise row.fault(f"{row.text('score')[:60]!r} is not a finite number", "score")
    try:
        moment = datetime.fromisoformat(row.text("date_time"))
        # A time without a zone was typed by hand; UTC is what stands in the rest of the file.
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # the latter: a day at the end of the calendar, in another zone
        raise row.fault(f"{row.text('date_time')[:60]!r} is not a date and time", "date_time") from None
    size = row.text("size_bytes")
    if not (size.isascii() and size.isdigit() and len(size) <= 18):
        raise row.fault(f"{size[:60]!r} is not a size in bytes", "size_bytes")
    status = next((known for known in STATUSES if known == row.text("status")), None)
    if status is None:
        raise row.fault(f"{row.text('status')[:60]!r} is not one of {', '.join(STATUSES)}", "status")
    return ScoreRow(number, score, row.text("file_name"), moment, int(size), status)


def _number(text: str) -> float | None:
    """Return the number that is written, None for an empty cell, and NaN for what is no number."""
    try:
        return float(text) if text else None
    except ValueError:
        return math.nan


def add_row(
    path: str | Path,
    name: str,
    size_bytes: int,
    *,
    now: Callable[[], datetime] = _utc_now,
) -> ScoreRow:
    """Add a submission to the scoreboard, which is made where it does not exist yet.

    Parameters
    ----------
    path : str or Path
        ``scoreboard.csv``, beside the runs.
    name : str
        The submission's name; the row's file name is ``NAME.zip``.
    size_bytes : int
        Of the zip.
    now : callable, optional
        The clock.

    Returns
    -------
    ScoreRow
        The new row.

    Raises
    ------
    ShelfmarkError
        When the name cannot be used or the scoreboard is damaged.
    """
    check_name(name)
    with _locked(Path(path)):
        rows = read_scoreboard(path)
        moment = now().astimezone(UTC).replace(microsecond=0)
        number = rows[-1].number + 1 if rows else 1
        row = ScoreRow(number, None, f"{name}.zip", moment, size_bytes, "ready")
        _write(path, [*rows, row])
    return row


def record_score(path: str | Path, score: float, of: str) -> ScoreRow:
    """Write the score that came back into the newest row of a name, which becomes ``scored``.

    Parameters
    ----------
    path : str or Path
        ``scoreboard.csv``, beside the runs.
    score : float
        A finite number, in the judge's unit.
    of : str
        The submission's name, with or without ``.zip``.

    Returns
    -------
    ScoreRow
        The row as it now is.

    Raises
    ------
    ShelfmarkError
        When the score is no finite number, no row has that name, or the scoreboard is damaged.
    """
    if not math.isfinite(score):
        raise ShelfmarkError(f"the score {score} is not a finite number; give the one that came back, like 0.4823")
    path = Path(path)
    if not path.exists():
        raise ShelfmarkError(f"{path}: no such scoreboard; hand something in first, with classify submit RUN")
    with _locked(path):
        rows = read_scoreboard(path)
        for place in reversed(range(len(rows))):
            if rows[place].file_name in (of, f"{of}.zip"):
                rows[place] = replace(rows[place], score=float(score), status="scored")
                _write(path, rows)
                return rows[place]
    names = list(dict.fromkeys(row.file_name.removesuffix(".zip") for row in reversed(rows)))
    listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    raise ShelfmarkError(f"{path}: no submission is called '{of}'{nearest(of, names)}; newest: {listed}")


def best(rows: Sequence[ScoreRow]) -> ScoreRow | None:
    """Return the row with the highest score, the earliest of equals; None where nothing was scored."""
    scored = [row for row in rows if row.score is not None]
    return max(scored, key=lambda row: row.score if row.score is not None else -math.inf, default=None)


def scoreboard_table(rows: Sequence[ScoreRow]) -> Table:
    """Return the rows as a table for the terminal, the best one starred."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Scoreboard")
    for heading in ("", "#", "score", "file", "date and time (UTC)", "bytes", "status"):
        table.add_column(heading, justify="right" if heading in ("#", "score", "bytes") else "left")
    winner = best(rows)
    for row in rows:
        cells = (
            "*" if row is winner else "",
            str(row.number),
            "" if row.score is None else f"{row.score:.6g}",
            row.file_name,
            f"{row.date_time:%Y-%m-%d %H:%M:%S}",
            f"{row.size_bytes:,}",
            row.status,
        )
        # Text, not str: a file name with square brackets is not markup.
        table.add_row(*(Text(visible(cell)) for cell in cells), style="bold" if row is winner else None)
    return table


def _write(path: str | Path, rows: Sequence[ScoreRow]) -> None:
    with atomic_write(path) as stream:
        sheet = SheetWriter(stream)
        sheet.write(COLUMNS)
        for row in rows:
            score = "" if row.score is None else repr(row.score)
            moment = row.date_time.isoformat(timespec="seconds")
            sheet.write([row.number, score, row.file_name, moment, row.size_bytes, row.status])


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep others from changing the scoreboard meanwhile. The system frees the lock when a process dies.

    The lock is on a file of its own, as the scoreboard itself is replaced whenever it changes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "ab", opener=owned) as lock:
        # Windows has no such lock; there, two commands at the very same moment may lose a row.
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
