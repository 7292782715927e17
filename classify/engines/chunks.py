"""Requests into files that a provider takes as batches: by rows, by bytes, by tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from catalog.files import owned
from classify.costs import Load
from classify.engines.batch_files import MOST_BYTES, MOST_ROWS
from classify.engines.ledger import Chunk, Ledger
from classify.loads import load_of_body
from classify.token_counts import TokenCounts


class ChunkWriter:
    """Writes lines into as many files as the limits ask for. They are no chunks before `enter`.

    Parameters
    ----------
    books : Ledger
        Where they will be entered.
    options : str
        What stands for the options that the answers hang on.
    counts : TokenCounts
        Counts tokens.
    written : float or None
        Tokens of an answer, expected; None for the most that there may be.
    most_tokens : float
        Tokens of the prompts of one file, at most.
    again : bool
        Whether the rows were asked before.
    """

    def __init__(
        self,
        books: Ledger,
        options: str,
        counts: TokenCounts,
        *,
        written: float | None,
        most_tokens: float = float("inf"),
        again: bool = False,
    ) -> None:
        self._books, self._options, self._counts, self._written = books, options, counts, written
        self._most_tokens, self._again = most_tokens, again
        self._chunks: list[Chunk] = []
        self._stream: IO[bytes] | None = None

    def add(self, line: bytes) -> None:
        """Write a request's line; it must be whole."""
        load = load_of_body(json.loads(line)["body"], self._counts, self._written)
        if self._stream is None or not self._fits(self._chunks[-1], len(line), load.most_read):
            self._begin()
        assert self._stream is not None
        chunk = self._chunks[-1]
        self._stream.write(line)
        self._hash.update(line)
        chunk.rows, chunk.size, chunk.load = chunk.rows + 1, chunk.size + len(line), chunk.load + load

    def load(self) -> Load:
        """Return the tokens of all that was added."""
        return sum((chunk.load for chunk in self._chunks), Load())

    def enter(self) -> None:
        """Enter the files into the books as chunks."""
        self._end()
        for chunk in self._chunks:
            number = self._books.next_number()
            self._path(chunk).replace(self._books.folder / f"{number:04d}.requests.jsonl")
            load = vars(chunk.load)
            about = {"options": chunk.options, "rows": chunk.rows, "size": chunk.size, "again": chunk.again}
            self._books.write("chunk", number=number, digest=chunk.digest, load=load, **about)
        self._chunks = []

    def discard(self) -> None:
        """Remove the files."""
        self._end()
        for chunk in self._chunks:
            self._path(chunk).unlink(missing_ok=True)
        self._chunks = []

    def _fits(self, chunk: Chunk, size: int, tokens: float) -> bool:
        return (
            chunk.rows < MOST_ROWS
            and chunk.size + size <= MOST_BYTES
            and chunk.load.most_read + tokens <= self._most_tokens
        )

    def _begin(self) -> None:
        self._end()
        number = len(self._chunks) + 1
        self._chunks.append(Chunk(number, "", self._options, 0, 0, Load(), again=self._again))
        self._stream = open(self._path(self._chunks[-1]), "wb", opener=owned)  # noqa: SIM115 -- closed by _end
        self._hash = hashlib.sha256()

    def _path(self, chunk: Chunk) -> Path:
        return self._books.folder / f".{'again' if self._again else 'first'}-{chunk.number:04d}.tmp"

    def _end(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            self._chunks[-1].digest = self._hash.hexdigest()


def chunk_lines(books: Ledger, chunk: Chunk) -> Iterator[tuple[str, bytes]]:
    """Yield each request of a chunk: its id and its line."""
    with open(books.requests(chunk), "rb") as stream:
        for line in stream:
            yield json.loads(line)["custom_id"], line


def some_lines(books: Ledger, chunk: Chunk, ids: Iterable[str]) -> Iterator[bytes]:
    """Yield the lines of these requests of a chunk."""
    wanted = set(ids)
    return (line for name, line in chunk_lines(books, chunk) if name in wanted)


def options_hash(options: dict[str, Any]) -> str:
    """Return what stands for these options: 16 hexadecimal digits."""
    text = json.dumps(options, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
