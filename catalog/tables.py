"""Rows of CSV, JSON-lines and Parquet files, each of which knows where it stands, so that an error can say so."""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, nearest, nearest_place
from catalog.messages import LabelPath, RowId
from catalog.schema import SEPARATOR
from catalog.sheets import is_sheet, restored

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json", ".features", ".labels", ".predict")
CSV_SUFFIXES = (".csv", ".tsv")
SUFFIXES = (*JSON_SUFFIXES, *CSV_SUFFIXES, ".parquet")

OTHER_NAMES = "; where they have other names, give a --schema FILE that tells them (docs/data.md)"
"""What to do where a column is missing that a schema names."""
_HALF_PAIR = re.compile("[\ud800-\udfff]")

csv.field_size_limit(2**31 - 1)


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
        found = ", ".join(self.values) or "none"
        return self.fault(f"no column '{column}'{nearest(column, self.values)}; columns here: {found}{hint}")

    def _check_characters(self, value: str, column: str) -> None:
        # JSON can spell half of a surrogate pair, which no UTF-8 file can hold: it would break the output.
        if not value.isascii() and _HALF_PAIR.search(value):
            raise self.fault(f"{ascii(value)[:60]} holds half a surrogate pair; write the whole character", column)

    def id(self, column: str) -> RowId:
        """Return the row's id: a whole number, or text. Whole numbers written as text become numbers."""
        value = self._value(column)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, str) and value:
            self._check_characters(value, column)
            plain = value.isascii() and value.isdigit() and (value == "0" or value[0] != "0")
            return int(value) if plain and len(value) < 19 else value
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if value is None or value == "":
            raise self.fault("the id is missing; give each row one", column)
        raise self.fault(f"{_shown(value)} is not an id; use a whole number or text", column)

    def text(self, column: str, default: str | None = None) -> str:
        """Return a text value. A missing one is an empty string; an absent column is `default`, else an error."""
        if default is not None and column not in self.values:
            return default
        value = self._value(column)
        if isinstance(value, str):
            self._check_characters(value, column)
            return value
        if value is None:
            return ""
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, float) and math.isfinite(value):
            return str(value)
        raise self.fault(f"{_shown(value)} is not text", column)

    def price(self, column: str) -> float:
        """Return a price, NaN where it is missing (an absent key, null or an empty cell)."""
        value = self.values.get(column)
        if value is None or value == "":
            return math.nan
        try:
            price = math.nan if isinstance(value, bool) else float(value)
        except OverflowError:
            price = math.inf
        except (TypeError, ValueError):
            raise self.fault(f"{_shown(value)} is not a number; write the price as 3.99", column) from None
        if not math.isfinite(price):
            raise self.fault(f"{_shown(value)} is not a price; leave it empty (null) where it is unknown", column)
        if price < 0:
            raise self.fault(f"the price {value} is negative; leave it empty (null) where it is unknown", column)
        return price

    def label(self, levels: Sequence[str]) -> LabelPath:
        """Return the label path: one non-empty value for each level."""
        path = []
        for level in levels:
            value = self.text(level)
            if not value:
                raise self.fault("the label is empty; every level needs a value", level)
            if SEPARATOR in value:
                raise self.fault(
                    f"{_shown(value)} contains '{SEPARATOR}', which separates the levels; write it otherwise",
                    level,
                )
            path.append(value)
        return tuple(path)

    def number(self, column: str) -> float | None:
        """Return a finite number, or None where the column is absent or empty."""
        value = self.values.get(column)
        if value is None or value == "":
            return None
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise self.fault(f"{_shown(value)} is not a number", column)
        return number

    def whole_number(self, column: str, default: int) -> int:
        """Return a whole number of at least 1, or `default` where the column is absent or empty."""
        value = self.values.get(column)
        if value is None or value == "":
            return default
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            number = 0
        if number < 1 or isinstance(value, bool) or (isinstance(value, float) and number != value):
            raise self.fault(f"{_shown(value)} is not a whole number of at least 1", column)
        return number


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


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
    path: str | Path, required: Sequence[str] = (), optional: Sequence[str] = (), *, hint: str = ""
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
    if kind == ".parquet":
        rows = _read_parquet(path)
    elif kind in CSV_SUFFIXES:
        rows = _read_csv(path, "\t" if kind == ".tsv" else ",")
    else:
        rows = _read_json_lines(path)
    unseen = set(optional)
    row = None
    for row in rows:
        for column in required:
            if column not in row.values:
                header = kind in CSV_SUFFIXES  # which is what lacks it
                raise (Row(row.file, "line 1", row.values) if header else row).lacks(column, hint)
        if unseen:
            unseen -= row.values.keys()
        yield row
    if row is None:
        raise ShelfmarkError(f"{path}: it has no rows")
    if unseen:
        found = ", ".join(row.values)
        raise ShelfmarkError(
            f"{path}: no row has a column '{min(unseen)}'{nearest(min(unseen), row.values)}; columns here: {found}; "
            "where the data has none, use a --schema without it"
        )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line numbers and lines of a UTF-8 text file, plain or gzipped."""
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rb") as stream:
            for number, raw in enumerate(stream, start=1):
                if number == 1:
                    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                        raise ShelfmarkError(f"{path}: UTF-16 text; save it as UTF-8")
                    raw = raw.removeprefix(b"\xef\xbb\xbf")
                try:
                    yield number, raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise ShelfmarkError(
                        f"{path}, line {number}, byte {error.start + 1}: not UTF-8; save the file as UTF-8"
                    ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ShelfmarkError(f"{path}, after line {number}: damaged gzip data ({error}); copy it again") from None


def _read_json_lines(path: Path) -> Iterator[Row]:
    file = str(path)
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line.rstrip(" \t\r\n"))  # else the column is counted from the line's end
        except json.JSONDecodeError as error:
            raise ShelfmarkError(
                f"{file}, line {number}, column {error.colno}: not JSON ({error.msg}); write one object a line"
            ) from None
        except RecursionError:
            raise ShelfmarkError(f"{file}, line {number}: nested too deep; write one flat object a line") from None
        except ValueError as error:  # a number of more than 4,300 digits
            raise ShelfmarkError(f"{file}, line {number}: not readable ({error})") from None
        if not isinstance(value, dict):
            raise ShelfmarkError(f"{file}, line {number}: {_shown(value)} is not an object; write one object a line")
        yield Row(file, f"line {number}", value)


def _read_csv(path: Path, delimiter: str) -> Iterator[Row]:
    file = str(path)
    reader = csv.reader((line for _, line in _lines(path)), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    start, guarded = 1, False
    try:
        for cells in reader:
            number, start = start, reader.line_num + 1
            if not cells:
                continue
            if header is None:
                header = cells
                twice = {name for name in header if header.count(name) > 1}
                if twice:
                    raise ShelfmarkError(f"{file}, line 1: two columns are called '{min(twice)}'; rename one")
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
        raise ShelfmarkError(f"{file}, line {start}: not CSV ({error}); check the quotes") from None


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    file = str(path)
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=8192):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(file, f"row {number}", values)
    except (pyarrow.ArrowException, OSError) as error:
        raise ShelfmarkError(f"{file}, after row {number}: not readable as Parquet ({error})") from None
