"""JSON-lines files that grow while a job runs and survive its death."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar, overload

from catalog.errors import ShelfmarkError
from catalog.files import owned
from catalog.json_reader import checked, decode_json
from catalog.text_lines import MOST_LINE, bounded_lines

T = TypeVar("T")
_PIECE = 1 << 20
_COSTLY = ("completions.jsonl", "asked.jsonl", "lost.jsonl")


class GrowingLines:
    """Appends JSON objects, a line each. A line that a killed process left torn is cut off when the file is reopened.

    Parameters
    ----------
    path : Path
        The file; made when missing. It is no link: what it leads to may be anybody's.
    keep : int, optional
        Keep so many of the lines that are there already, and cut off the rest.

    Raises
    ------
    ShelfmarkError
        When the name stands for a link, or for no file.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        self.path = path
        self.lines = 0
        end = 0
        if os.path.lexists(path):
            with open(path, "rb", opener=owned) as stream:
                self.lines, end = _whole_lines(stream, keep)
        # Without a buffer: after a write that failed (a full disk), closing must not try it again.
        self._stream = open(path, "ab", buffering=0, opener=owned)  # noqa: SIM115 -- closed by close()
        if self._stream.seek(0, os.SEEK_END) != end:
            self._stream.truncate(end)

    def append(self, values: Iterable[Any]) -> None:
        """Write the objects and hand them to the operating system: a killed process loses none of them."""
        text = "".join(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n" for value in values)
        rest = memoryview(text.encode())
        try:
            while rest:
                rest = rest[self._stream.write(rest) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        self.lines += text.count("\n")

    def close(self) -> None:
        """Close the file, and have the disk hold it before anything is built on it."""
        if not self._stream.closed:
            os.fsync(self._stream.fileno())
            self._stream.close()

    def __enter__(self) -> Self:
        """Use as a context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


def count_lines(path: Path) -> int:
    """Return how many whole lines a file has; 0 where it is missing."""
    if not path.exists():
        return 0
    with open(path, "rb") as stream:
        return _whole_lines(stream)[0]


def _whole_lines(stream: IO[bytes], most: int | None = None) -> tuple[int, int]:
    """Return how many whole lines a file begins with, `most` at most, and where they end.

    It is read in pieces: a line may be as long as the disk.
    """
    lines = end = start = 0
    while (most is None or lines < most) and (piece := stream.read(_PIECE)):
        found = piece.count(b"\n")
        if most is not None and found > most - lines:
            place = -1
            for _ in range(most - lines):
                place = piece.index(b"\n", place + 1)
            return most, start + place + 1
        if found:
            end = start + piece.rindex(b"\n") + 1
        lines += found
        start += len(piece)
    return lines, end


@overload
def read_lines(path: Path) -> Iterator[Any]: ...


@overload
def read_lines(path: Path, kind: type[T]) -> Iterator[T]: ...


def read_lines(path: Path, kind: Any = object) -> Iterator[Any]:
    """Yield what stands in the lines of a file that this package wrote; it may have been damaged or edited since.

    Parameters
    ----------
    path : Path
        JSON lines.
    kind : type
        What each line must be (`catalog.json_reader.checked`); by default any JSON value.

    Raises
    ------
    ShelfmarkError
        When the file is missing, or a line is damaged or something else.
    """
    advice = _advice(path)
    for place, value in decoded_lines(path):
        yield checked(kind, value, place, advice)


def decoded_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the place of each line, for messages, and its JSON value.

    Raises
    ------
    ShelfmarkError
        When the file is missing, or a line is no JSON or too long.
    """

    def too_long(number: int) -> ShelfmarkError:
        reason = f"longer than {MOST_LINE >> 20} MiB"
        return ShelfmarkError(f"{path}, line {number}: damaged ({reason}); {_advice(path)}")

    try:
        # By bytes: a text has more ends of lines than a file has.
        with open(path, "rb") as stream:
            for number, line in bounded_lines(stream, too_long):
                place = f"{path}, line {number}"
                try:
                    value = decode_json(line)
                except ValueError as error:
                    raise ShelfmarkError(f"{place}: damaged ({_reason(error)}); {_advice(path)}") from None
                yield place, value
    except FileNotFoundError:
        raise ShelfmarkError(f"{path}: no such file; run the stage that writes it") from None


def _advice(path: Path) -> str:
    # Answers may have cost money: of their file, and of books, only the line goes.
    costly = path.name in _COSTLY or path.name.endswith(".books.jsonl")
    return "put it back from a copy, or delete the line" if costly else "delete the file"


def _reason(error: ValueError) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)
