"""Lines of text files from elsewhere, plain or gzipped: of bounded length, and no more than their size accounts for."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from catalog.errors import ShelfmarkError, nearest_place

MOST_LINE = 1 << 24
"""Bytes of a line, at most: 16 MiB, a thousand times what a long product takes."""
MOST_SWELLING, UNSUSPICIOUS = 200, 1 << 26
"""Gzipped text may be so many times as large as its file, once it is larger than 64 MiB. Rows of text swell tenfold."""


def byte_lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Yield the numbers and lines of a file, plain or gzipped; a byte order mark is taken off.

    Raises
    ------
    ShelfmarkError
        When the file is missing, no file, UTF-16, damaged as gzip, or swells beyond `MOST_SWELLING`, or a line is
        longer than `MOST_LINE`.
    """
    path = Path(path)
    number = 0
    try:
        with open(path, "rb") as packed:
            if path.suffix == ".gz":
                bound = max(UNSUSPICIOUS, MOST_SWELLING * os.fstat(packed.fileno()).st_size)
                with gzip.open(packed) as stream:
                    for number, line in lines_within(io.BufferedReader(stream, 1 << 16), str(path), bound):
                        yield number, line
            else:
                yield from lines_within(packed, str(path))
    except FileNotFoundError:
        raise ShelfmarkError(f"{path}: no such file{nearest_place(path)}") from None
    except IsADirectoryError:
        raise ShelfmarkError(f"{path}: a folder, not a file") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ShelfmarkError(f"{path}, after line {number}: damaged gzip data ({error}); copy it again") from None


def bounded_lines(stream: IO[bytes], too_long: Callable[[int], ShelfmarkError]) -> Iterator[tuple[int, bytes]]:
    """Yield the numbers and lines of an open stream of bytes, as they are; none is longer than `MOST_LINE`.

    Parameters
    ----------
    stream : binary file
        Is read to its end.
    too_long : function
        Makes the error that is raised for the line of this number, once it is longer.
    """
    for number, line in enumerate(iter(partial(stream.readline, MOST_LINE + 1), b""), start=1):
        if len(line) > MOST_LINE:
            raise too_long(number)
        yield number, line


def lines_within(stream: IO[bytes], file: str, most: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield the numbers and lines of an open stream of bytes.

    Parameters
    ----------
    stream : binary file
        Is read to its end.
    file : str
        What it is called in messages.
    most : int, optional
        Bytes that it may have; where it is unpacked from less, what that can account for.

    Raises
    ------
    ShelfmarkError
        When a line is longer than `MOST_LINE`, the whole is larger than `most`, or it is UTF-16.
    """
    size = 0

    def too_long(number: int) -> ShelfmarkError:
        return ShelfmarkError(
            f"{file}, line {number}: longer than {MOST_LINE >> 20} MiB; write one row a line, and no files into it"
        )

    for number, line in bounded_lines(stream, too_long):
        if number == 1:
            if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise ShelfmarkError(f"{file}: UTF-16 text; save it as UTF-8")
            line = line.removeprefix(b"\xef\xbb\xbf")
        if most is not None:
            size += len(line)
            if size > most:
                raise ShelfmarkError(
                    f"{file}, line {number}: unpacked, it is more than {MOST_SWELLING} times its size, as no table of "
                    "products is; if it is right, unpack it first"
                )
        yield number, line


def text_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield the numbers and lines of a UTF-8 text file, plain or gzipped.

    Raises
    ------
    ShelfmarkError
        As `byte_lines`, and when a line is not UTF-8.
    """
    for number, line in byte_lines(path):
        yield number, decoded(line, f"{path}, line {number}")


def decoded(line: bytes, place: str) -> str:
    """Return a line as text.

    Raises
    ------
    ShelfmarkError
        When it is not UTF-8.
    """
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ShelfmarkError(f"{place}, byte {error.start + 1}: not UTF-8; save the file as UTF-8") from None
