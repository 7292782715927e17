"""Rows of CSV, JSON-lines and Parquet files, each of which knows where it stands, so that an error can say so."""

from __future__ import annotations

import csv
import json
import math
import re
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, listed, nearest, nearest_place
from catalog.json_reader import decode_row
from catalog.messages import LabelPath, RowId
from catalog.parquet import parquet_columns, parquet_rows
from catalog.schema import SEPARATOR
from catalog.sheets import is_sheet, restored
from catalog.text_lines import MOST_LINE, text_lines

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json", ".features", ".labels", ".predict")
CSV_SUFFIXES = (".csv", ".tsv")
SUFFIXES = (*JSON_SUFFIXES, *CSV_SUFFIXES, ".parquet")

OTHER_NAMES = "; where they have other names, give a --schema FILE that tells them (docs/data.md)"
"""What to do where a column is missing that a schema names."""
MOST_COLUMNS = 10_000
"""Columns of a table, at most."""
MOST_TEXT, MOST_LABEL, MOST_ID = 100_000, 1_000, 500
"""Characters of a text, of a level's value and of an id, at most."""
MOST_MARKS, _LONG = 200, 1_000
"""Combining marks in a row, at most, in a text of more than so many characters: sorting them takes their number
squared, wherever text is normalized."""
MOST_COUNT = 10**15
"""Products that a label path may be said to have, at most: a float holds it exactly."""
_WHOLE_FLOATS = 2.0**53
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 60

csv.field_size_limit(MOST_LINE)


class Row:
    """One row of a table: its values by column, and its place.

    Parameters
    ----------
    file : str
        The file, for messages.
    place : str
        The line or row, for messages: ``line 17``.
    values : dict of str to Any
        The raw values; CSV gives text alone.
    """

    __slots__ = ("file", "place", "values")

    def __init__(self, file: str, place: str, values: dict[str, Any]) -> None:
        self.file, self.place, self.values = file, place, values

    def fault(self, message: str, column: str | None = None) -> ShelfmarkError:
        """Return the error that says what is wrong with this row, or with one column of it."""
        column_part = f", column '{column}'" if column is not None else ""
        return ShelfmarkError(f"{self.file}, {self.place}{column_part}: {message}")

    def _value(self, column: str) -> Any:
        if column not in self.values:
            raise self.lacks(column)
        return self.values[column]

    def lacks(self, column: str, hint: str = "") -> ShelfmarkError:
        """Return the error that says that a column is missing, and which there are."""
        found = listed(self.values)
        return self.fault(f"no column '{column}'{nearest(column, self.values)}; columns here: {found}{hint}")

    def _check_characters(self, value: str, column: str, most: int) -> None:
        if len(value) > most:
            raise self.fault(f"{len(value):,} characters; there may be {most:,} at most", column)
        if value.isascii():
            return
        # JSON can spell half of a surrogate pair, which no UTF-8 file can hold: it would break the output.
        if half := _HALF_PAIR.search(value):
            shown = ascii(value if len(value) <= 60 else value[half.start() : half.start() + 20])[:60]
            raise self.fault(f"{shown} holds half a surrogate pair; write the whole character", column)
        if len(value) > _LONG and _most_marks(value) > MOST_MARKS:
            raise self.fault(f"more than {MOST_MARKS} accents on one letter; it is no text", column)

    def id(self, column: str) -> RowId:
        """Return the row's id: a whole number, or text. Whole numbers written as text become numbers."""
        value = self._value(column)
        if isinstance(value, float) and value.is_integer() and abs(value) <= _WHOLE_FLOATS:  # above, digits are lost
            value = int(value)
        if isinstance(value, str) and value:
            self._check_characters(value, column, MOST_ID)
            plain = value.isascii() and value.isdigit() and (value == "0" or value[0] != "0")
            return int(value) if plain and len(value) < 19 else value
        if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 3 * MOST_ID:
            return int(value)
        if value is None or (isinstance(value, str) and not value):
            raise self.fault("the id is missing; give each row one", column)
        raise self.fault(f"{_shown(value)} is not an id; use a whole number or text", column)

    def text(self, column: str, default: str | None = None) -> str:
        """Return a text value. A missing one is an empty string; an absent column is `default`, else an error."""
        if default is not None and column not in self.values:
            return default
        value = self._value(column)
        if isinstance(value, str):
            self._check_characters(value, column, MOST_TEXT)
            return value
        if value is None:
            return ""
        if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 3 * MOST_ID:
            return str(value)
        if isinstance(value, float) and math.isfinite(value):
            return str(value)
        raise self.fault(f"{_shown(value)} is not text", column)

    def price(self, column: str) -> float:
        """Return a price, NaN where it is missing (an absent key, null or an empty cell)."""
        value = self._present(column)
        if value is None:
            return math.nan
        try:
            price = math.nan if isinstance(value, bool) else float(value)
        except OverflowError:
            price = math.inf
        except Exception:  # in a frame, any object may stand here
            raise self.fault(f"{_shown(value)} is not a number; write the price as 3.99", column) from None
        if not math.isfinite(price):
            raise self.fault(f"{_shown(value)} is not a price; leave it empty (null) where it is unknown", column)
        if price < 0:
            raise self.fault(
                f"the price {_shown(value)} is negative; leave it empty (null) where it is unknown", column
            )
        return price

    def _present(self, column: str) -> Any:
        """Return a value; None where it is absent, null or an empty cell."""
        value = self.values.get(column)
        return None if isinstance(value, str) and not value else value

    def label(self, levels: Sequence[str]) -> LabelPath:
        """Return the label path: one non-empty value for each level."""
        path = []
        for level in levels:
            value = self.text(level)
            if not value:
                raise self.fault("the label is empty; every level needs a value", level)
            if len(value) > MOST_LABEL:
                raise self.fault(f"a label of {len(value):,} characters; there may be {MOST_LABEL:,} at most", level)
            if SEPARATOR in value:
                raise self.fault(
                    f"{_shown(value)} contains '{SEPARATOR}', which separates the levels; write it otherwise",
                    level,
                )
            path.append(value)
        return tuple(path)

    def number(self, column: str) -> float | None:
        """Return a finite number, or None where the column is absent or empty."""
        value = self._present(column)
        if value is None:
            return None
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except Exception:  # in a frame, any object may stand here
            number = math.nan
        if not math.isfinite(number):
            raise self.fault(f"{_shown(value)} is not a number", column)
        return number

    def whole_number(self, column: str, default: int) -> int:
        """Return a whole number from 1 to `MOST_COUNT`, or `default` where the column is absent or empty."""
        value = self._present(column)
        if value is None:
            return default
        try:
            number = int(value)
        except Exception:  # in a frame, any object may stand here
            number = 0
        if number < 1 or isinstance(value, bool) or (isinstance(value, float) and number != value):
            raise self.fault(f"{_shown(value)} is not a whole number of at least 1", column)
        if number > MOST_COUNT:
            raise self.fault(f"{_shown(value)} is too large: there may be {MOST_COUNT:,} at most", column)
        return number


def _shown(value: Any) -> str:
    """Return a value for a message, at most 60 characters of it, whatever it is."""
    try:
        text = repr(value[:61]) if isinstance(value, str) else _SHOWN.repr(value)
    except Exception:  # a number of more than 4,300 digits, or an object of a frame's that cannot show itself
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def _most_marks(text: str) -> int:
    """Return how many combining marks stand in a row, at most."""
    runs = groupby(text, key=lambda sign: unicodedata.combining(sign) > 0)
    return max((sum(1 for _ in signs) for is_mark, signs in runs if is_mark), default=0)


def table_kind(path: str | Path) -> str:
    """Return the suffix that tells a table's kind, without ``.gz``.

    Raises
    ------
    ShelfmarkError
        When it is none that can be read.
    """
    name = Path(path)
    suffix = name.with_suffix("").suffix if name.suffix == ".gz" else name.suffix
    if suffix.lower() not in SUFFIXES:
        raise ShelfmarkError(f"{path}: cannot tell its kind; name it {', '.join(SUFFIXES)} (text files also with .gz)")
    return suffix.lower()


def read_table(
    path: str | Path,
    required: Sequence[str] = (),
    optional: Sequence[str] = (),
    *,
    hint: str = "",
    others: bool = True,
) -> Iterator[Row]:
    """Yield the rows of a CSV, JSON-lines or Parquet file (text plain or gzipped, UTF-8), in a stream.

    Parameters
    ----------
    path : str or Path
        The file.
    required : sequence of str
        Columns that each row must have.
    optional : sequence of str
        Columns that a row may lack but the file may not: where no row has one, that is an error.
    hint : str
        What to do where a required column is missing, such as `OTHER_NAMES`.
    others : bool
        Read columns that are neither. Without them Parquet files are read faster, whatever is in those columns.

    Raises
    ------
    ShelfmarkError
        When the file is missing, empty, damaged or lacks a column: file, line and what to do.
    """
    path = Path(path)
    if not path.exists():
        raise ShelfmarkError(f"{path}: no such file{nearest_place(path)}")
    kind = table_kind(path)
    if path.is_dir():
        raise ShelfmarkError(f"{path}: a folder, not a file")
    header: Row | None = None
    if kind == ".parquet":
        header = Row(str(path), "row 1", dict.fromkeys(_bounded(parquet_columns(path), str(path))))
        rows = _read_parquet(path, None if others else (*required, *optional))
    elif kind in CSV_SUFFIXES:
        rows = _read_csv(path, "\t" if kind == ".tsv" else ",")
    else:
        rows = _read_json_lines(path)
    unseen = set(optional)
    row = None
    for row in rows:
        for column in required:
            if column not in row.values:
                if kind in CSV_SUFFIXES:  # the header is what lacks it
                    header = Row(row.file, "line 1", row.values)
                raise (header or row).lacks(column, hint)
        if unseen:
            unseen -= row.values.keys()
        yield row
    if row is None:
        raise ShelfmarkError(f"{path}: it has no rows")
    if unseen:
        there = (header or row).values
        raise ShelfmarkError(
            f"{path}: no row has a column '{min(unseen)}'{nearest(min(unseen), there)}; columns here: {listed(there)}; "
            "where the data has none, use a --schema without it"
        )


def _bounded(names: Sequence[str], place: str) -> Sequence[str]:
    if len(names) > MOST_COLUMNS:
        raise ShelfmarkError(f"{place}: {len(names):,} columns; keep those of the schema, {MOST_COLUMNS:,} at most")
    return names


def _read_json_lines(path: Path) -> Iterator[Row]:
    file = str(path)
    for number, line in text_lines(path):
        line = line.rstrip(" \t\r\n")  # else the column is counted from the line's end
        if not line or line.isspace():
            continue
        try:
            value = decode_row(line)
        except json.JSONDecodeError as error:
            raise ShelfmarkError(
                f"{file}, line {number}, column {error.colno}: not JSON ({error.msg}); write one object a line"
            ) from None
        except ValueError as error:
            raise ShelfmarkError(
                f"{file}, line {number}: {error}; write one flat object a line, each key once"
            ) from None
        if not isinstance(value, dict):
            raise ShelfmarkError(f"{file}, line {number}: {_shown(value)} is not an object; write one object a line")
        if len(value) > MOST_COLUMNS:
            _bounded(list(value), f"{file}, line {number}")
        yield Row(file, f"line {number}", value)


def _read_csv(path: Path, delimiter: str) -> Iterator[Row]:
    file = str(path)
    records = _Records(path)
    reader = csv.reader(records, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    start, guarded = 1, False
    try:
        for cells in reader:
            number, start = start, reader.line_num + 1
            records.begin(start)
            if not cells:
                continue
            if header is None:
                header = list(_bounded(cells, f"{file}, line {number}"))
                if len(set(header)) < len(header):
                    (twice, _), *_ = Counter(header).most_common(1)
                    raise ShelfmarkError(f"{file}, line {number}: two columns are called '{twice[:60]}'; rename one")
                guarded = is_sheet(header)
                if guarded:
                    header = [restored(name) for name in header]
                continue
            if len(cells) != len(header):
                raise ShelfmarkError(
                    f"{file}, line {number}: {len(cells)} fields where the header has {len(header)}; "
                    "quote values that contain the delimiter"
                )
            if guarded:
                cells = [restored(cell) for cell in cells]
            yield Row(file, f"line {number}", dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        if "new-line" in str(error):  # Python's words for it advise programmers
            raise ShelfmarkError(
                f"{file}, line {start}: a carriage return without a line feed; save the file with line feeds"
            ) from None
        raise ShelfmarkError(f"{file}, line {start}: not CSV ({error}); check the quotes") from None


class _Records:
    """The lines of a CSV file, as long as no record is longer than a line may be: a quote may never be closed."""

    def __init__(self, path: Path) -> None:
        self._file, self._lines = str(path), text_lines(path)
        self.begin(1)

    def begin(self, line: int) -> None:
        """Begin a record."""
        self._start, self._size = line, 0

    def __iter__(self) -> _Records:
        return self

    def __next__(self) -> str:
        _, line = next(self._lines)
        self._size += len(line)
        if self._size > MOST_LINE:
            raise ShelfmarkError(
                f"{self._file}, line {self._start}: not CSV (a row of more than {MOST_LINE >> 20} MiB); "
                "a quote is opened there and not closed"
            )
        return line


def _read_parquet(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    file = str(path)
    for number, values in enumerate(parquet_rows(path, columns), start=1):
        yield Row(file, f"row {number}", values)
