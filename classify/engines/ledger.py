"""The books of a run's batches: what is to be sent, what was, what became of it and what it cost.

A line is written before each step that cannot be taken back and after it, so that from a process that was killed
anywhere it is known what may have happened at the provider.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError
from catalog.files import content_hash
from catalog.json_reader import decode_json
from classify.costs import Load
from classify.engines.ledger_events import check_event
from classify.lines import GrowingLines

BOOKS = "ledger.jsonl"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""A batch's id that may be a part of a file's name."""


@dataclass
class Sent:
    """One batch at the provider.

    Attributes
    ----------
    id : str
        Its name there.
    status : str
        As it was last seen.
    ended : bool
        Whether it has ended, and its files are here.
    turned_away : bool
        Whether it ended before anything of it was done: it was not taken, and is not paid.
    usage : (int, int) or None
        Tokens read and written, as the provider says; None where it does not.
    short : bool
        Whether its files tell of fewer requests than the provider did, as far as it says how many.
    """

    id: str
    status: str = ""
    ended: bool = False
    turned_away: bool = False
    usage: tuple[int, int] | None = None
    short: bool = False


@dataclass
class Chunk:
    """Requests that go together: one file.

    Attributes
    ----------
    number : int
        From 1.
    digest : str
        Of the file's content: SHA-256, in hexadecimal.
    options : str
        A hash of what the answers hang on: chunks of other options answer other questions.
    rows, size : int
        Requests, and bytes.
    load : Load
        Tokens, expected and at most.
    again : bool
        Whether its rows were asked before.
    file : str
        The file's name at the provider.
    creating : bool
        Whether a batch may have been made of it that is not in the books.
    doubt : bool
        Whether a batch may have been made of it that was looked for in vain.
    dropped : bool
        Whether it is not to be sent: others took over its rows.
    sent : dict of str to Sent
        The batches made of it, by id: several where one was turned away, or made twice.
    counts : dict or None
        What its files told, once they are read.
    """

    number: int
    digest: str
    options: str
    rows: int
    size: int
    load: Load
    again: bool = False
    file: str = ""
    creating: bool = False
    doubt: bool = False
    dropped: bool = False
    sent: dict[str, Sent] = field(default_factory=dict)
    counts: dict[str, int] | None = None

    @property
    def open(self) -> bool:
        """Whether a batch of it has not ended."""
        return any(not batch.ended for batch in self.sent.values())

    @property
    def done(self) -> bool:
        """Whether its batches have ended, and one of them was not turned away."""
        return not self.open and any(not batch.turned_away for batch in self.sent.values())

    @property
    def first(self) -> str:
        """The first batch of it that was not turned away; empty where there is none."""
        return next((batch.id for batch in self.sent.values() if not batch.turned_away), "")

    @property
    def unread(self) -> bool:
        """Whether what came of it is here, and was not handed on."""
        return self.done and self.counts is None

    @property
    def cancelled(self) -> bool:
        """Whether somebody stopped it: what it lacks is not asked for again unasked."""
        return all(batch.status == "cancelled" for batch in self.sent.values() if not batch.turned_away)

    @property
    def waiting(self) -> bool:
        """Whether it is to be sent."""
        return not (self.dropped or self.open or self.done)


class Ledger:
    """The books, read from a folder; written to when used as a context.

    Parameters
    ----------
    folder : Path
        Of the run's batches; made when it is missing and the books are opened for writing.

    Attributes
    ----------
    chunks : dict of int to Chunk
        By number.
    given_up : dict of str to int
        Requests that were given up: the number of the last chunk at that time.

    Raises
    ------
    ShelfmarkError
        When the books are damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chunks: dict[int, Chunk] = {}
        self.given_up: dict[str, int] = {}
        self._lines: GrowingLines | None = None
        if (folder / BOOKS).exists():
            for event in _events(folder / BOOKS):
                self._apply(event)

    @classmethod
    @contextmanager
    def writing(cls, folder: Path) -> Iterator[Ledger]:
        """Open the books of `folder` to be written to; what a killed process left of a line is cut off."""
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*.tmp"):  # of a killed process
            leftover.unlink()
        with GrowingLines(folder / BOOKS) as lines:
            books = cls(folder)
            books._lines = lines
            yield books

    def write(self, event: str, **values: Any) -> None:
        """Write down what is about to happen, or has."""
        assert self._lines is not None
        self._lines.append([{"event": event, **values}])
        self._apply({"event": event, **values})

    def requests(self, chunk: Chunk) -> Path:
        """Return the file that is sent."""
        return self.folder / f"{chunk.number:04d}.requests.jsonl"

    def output(self, chunk: Chunk, batch: str, kind: str) -> Path:
        """Return the file that comes of a batch: its ``output`` or its ``errors``.

        It is named by our own count of the chunk's batches: what a provider calls a batch may be no name of a file.
        """
        return self.folder / f"{chunk.number:04d}-{list(chunk.sent).index(batch) + 1}.{kind}.jsonl"

    def outputs(self, chunk: Chunk, batch: str) -> list[Path]:
        """Return the files that came of a batch."""
        names = [self.output(chunk, batch, kind) for kind in ("output", "errors")]
        if _NAME.fullmatch(batch):  # as they were named before
            names += [self.folder / f"{chunk.number:04d}.{batch}.{kind}.jsonl" for kind in ("output", "errors")]
        return [path for path in names if path.exists()]

    def next_number(self) -> int:
        """Return the number of the next chunk."""
        return max(self.chunks, default=0) + 1

    def restore(self, number: int, options: str, load: Load) -> Chunk:
        """Enter a chunk whose requests are here, though no line of the books tells of it."""
        path = self.folder / f"{number:04d}.requests.jsonl"
        about = {"options": options, "rows": load.rows, "size": path.stat().st_size, "again": False}
        self.write("chunk", number=number, digest=content_hash(path), load=vars(load), **about)
        return self.chunks[number]

    @property
    def known(self) -> set[str]:
        """The ids of all batches in the books."""
        return {batch for chunk in self for batch in chunk.sent}

    @property
    def doubtful(self) -> list[Chunk]:
        """The chunks of which there may be a batch that nobody has seen."""
        return [chunk for chunk in self if chunk.doubt]

    @property
    def unsettled(self) -> bool:
        """Whether something may be in flight at the provider, or is here and not read yet."""
        return any(chunk.open or chunk.creating or chunk.unread or chunk.doubt for chunk in self)

    def __iter__(self) -> Iterator[Chunk]:
        return iter([chunk for _, chunk in sorted(self.chunks.items())])

    def _apply(self, event: dict[str, Any]) -> None:
        kind = event.pop("event")
        if kind == "chunk":
            load = Load(**event.pop("load"))
            self.chunks[event["number"]] = Chunk(**event, load=load)
            return
        if kind == "gave up":
            last = max(self.chunks, default=0)
            self.given_up.update(dict.fromkeys(event["ids"], last))
            return
        chunk = self.chunks[event.pop("number")]
        if kind == "uploaded":
            chunk.file = event["file"]
        elif kind in ("creating", "not created"):
            chunk.creating = kind == "creating"
            chunk.doubt = chunk.doubt or not event.get("sure", True)
        elif kind == "looked":
            chunk.doubt = False
        elif kind == "created":
            chunk.creating = False
            chunk.sent.setdefault(event["batch"], Sent(event["batch"]))
            chunk.counts = None  # a second batch of it tells more
        elif kind == "ended":
            usage, short = event["usage"], bool(event.get("short", False))
            about = event["status"], True, event["turned_away"], None if usage is None else tuple(usage), short
            chunk.sent[event["batch"]] = Sent(event["batch"], *about)
            chunk.counts = None  # files that came later tell more
        elif kind == "read":
            chunk.counts = event["counts"]
        elif kind == "dropped":
            chunk.dropped = True


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of the books; one without an end is being written, or was when a process died."""
    advice = "put it back from a copy, or move the file away: the run's batches are then found again at the provider"
    numbers: set[int] = set()
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                return
            place = f"{path}, line {number}"
            try:
                value = decode_json(line)
            except ValueError:
                raise ShelfmarkError(f"{place}: damaged; {advice}") from None
            yield check_event(value, numbers, place, advice)


def read_ledger(run: Path) -> Ledger | None:
    """Return the books of a run; None where it has sent no batch."""
    folder = run / "batches"
    return Ledger(folder) if (folder / BOOKS).exists() else None
