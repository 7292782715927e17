"""Rows of Parquet files as plain Python values, whatever is in columns that nobody asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.errors import ShelfmarkError, first_line

if TYPE_CHECKING:
    import pyarrow.parquet

BATCH_ROWS = 8192
_BATCH_BYTES = 1 << 26


class Unreadable:
    """Stands for a cell that has no Python value, such as text that is not UTF-8 or a date in the year 58000."""

    __slots__ = ("reason",)

    def __init__(self, error: Exception) -> None:
        self.reason = first_line(error)

    def __repr__(self) -> str:
        """Say why."""
        return f"a damaged cell ({self.reason[:40]})"


def parquet_columns(path: Path) -> list[str]:
    """Return the names of a file's columns.

    Raises
    ------
    ShelfmarkError
        When it cannot be read as Parquet, or two columns have one name.
    """
    with _opened(path) as table:
        names: list[str] = table.schema_arrow.names
        if len(set(names)) < len(names):
            (twice, _), *_ = Counter(names).most_common(1)
            raise ShelfmarkError(f"{path}: two columns are called '{twice[:60]}'; rename one")
        return names


def parquet_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, in a stream, with these columns of it; None is all.

    A cell without a Python value is an `Unreadable`.

    Raises
    ------
    ShelfmarkError
        When it cannot be read as Parquet: encrypted, cut off, of a kind that pyarrow does not know.
    """
    names = [name for name in parquet_columns(path) if columns is None or name in columns]
    number = 0
    with _opened(path, lambda: f", after row {number}") as table:
        about = table.metadata
        size = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
        rows = max(1, min(BATCH_ROWS, _BATCH_BYTES * max(about.num_rows, 1) // max(size, 1)))
        for batch in table.iter_batches(batch_size=rows, columns=names):
            held = [name for name in names if name in batch.schema.names]
            cells = [_cells(batch.column(name)) for name in held]
            for values in zip(*cells, strict=True) if cells else ((),) * batch.num_rows:
                number += 1
                yield dict(zip(held, values, strict=True))


@contextmanager
def _opened(path: Path, where: Callable[[], str] = str) -> Iterator[pyarrow.parquet.ParquetFile]:
    import pyarrow
    import pyarrow.parquet

    try:
        # Opened here: pyarrow takes no names that are not UTF-8.
        with open(path, "rb") as stream, pyarrow.parquet.ParquetFile(stream) as table:
            yield table
    # Beside pyarrow's own: names that are not UTF-8, time zones that do not exist.
    except (pyarrow.ArrowException, OSError, ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise ShelfmarkError(f"{path}{where()}: not readable as Parquet ({first_line(error)})") from None


def _cells(column: Any) -> list[Any]:
    """Return the values of a column; one by one where some have none."""
    try:
        values: list[Any] = column.to_pylist()
        return values
    except MemoryError:
        raise
    except Exception:  # whatever the converters of dates, decimals, time zones and text raise
        return [_cell(cell) for cell in column]


def _cell(cell: Any) -> Any:
    try:
        return cell.as_py()
    except MemoryError:
        raise
    except Exception as error:
        return Unreadable(error)
