"""CSV files that people open in a spreadsheet: no cell of them is a formula, and read back they say what was written.

A spreadsheet takes a cell for a formula that begins with one of a few signs, and a formula can fetch a page or start a
program. Such a cell gets an apostrophe before it, which readers of these sheets take off again.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from typing import IO, Any

# Signs that nobody sees may stand before it: some programs pass over them. The last four are as wide as a kanji.
_FORMULA = re.compile("'*(?:[\\s\x00-\x1f\x7f\u200b\ufeff]*[=+\\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])")
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?%?", re.ASCII)
_OURS = ({"predicted", "confidence"}, {"status", "confidence"}, {"was", "became", "rule"}, {"file_name", "size_bytes"})
"""Columns by which a sheet is known that was written here: of rows to label, predictions, changes, submissions."""


class SheetWriter:
    """Writes the rows of a sheet.

    Parameters
    ----------
    stream : text stream
        Opened without a translation of line ends.
    quote_text : bool
        Whether all text stands in quotes; else that which needs them.
    """

    def __init__(self, stream: IO[str], *, quote_text: bool = False) -> None:
        self._plain = csv.writer(stream, lineterminator="\n")
        self._quoting = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        self._quote_text = quote_text

    def write(self, row: Sequence[Any]) -> None:
        """Write one row; numbers are numbers, and text is no formula."""
        cells = [_guarded(cell) if isinstance(cell, str) else cell for cell in row]
        # The csv module of Python 3.11 leaves a lone carriage return unquoted, and then cannot read it.
        bare = any(isinstance(cell, str) and "\r" in cell for cell in cells)
        (self._quoting if self._quote_text or bare else self._plain).writerow(cells)


def is_sheet(columns: Iterable[str]) -> bool:
    """Tell by its columns whether a file is a sheet that was written here; of other files nothing is taken off."""
    names = set(columns)
    return any(ours <= names for ours in _OURS)


def restored(cell: str) -> str:
    """Return the text that was written into a cell of a sheet."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _guarded(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
