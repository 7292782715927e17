"""Rows of pandas frames, whatever is in their cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from catalog.errors import ShelfmarkError, first_line, listed, nearest
from catalog.tables import Row

if TYPE_CHECKING:
    import pandas as pd


def frame_rows(
    frame: pd.DataFrame, required: Sequence[str], optional: Sequence[str] = (), name: str = "the frame"
) -> Iterator[Row]:
    """Yield the rows of a frame, with these columns of it; missing cells (None, NaN, NaT, NA) are None.

    Parameters
    ----------
    frame : DataFrame
        Of any index.
    required, optional : sequence of str
        Columns that it must have, and those that are read where it has them.
    name : str
        What it is called in messages.

    Raises
    ------
    ShelfmarkError
        When a column is missing, stands there twice or cannot be read.
    """
    there = [column for column in frame.columns if isinstance(column, str)]
    cells: dict[str, list[Any]] = {}
    for column in (*required, *optional):
        times = there.count(column)
        if times > 1:
            raise ShelfmarkError(f"{name} has two columns '{column}'; rename one")
        if times:
            cells[column] = _cells(frame[column], f"{name}, column '{column}'")
        elif column in required:
            found = listed([str(one) for one in frame.columns[:100]])
            raise ShelfmarkError(f"{name} has no column '{column}'{nearest(column, there)}; columns: {found}")
    for number in range(len(frame)):
        yield Row(name, f"row {number}", {column: values[number] for column, values in cells.items()})


def _cells(column: pd.Series[Any], place: str) -> list[Any]:
    import pandas as pd

    try:
        values = column.tolist()
    except Exception as error:  # text of Arrow's that is not UTF-8, a date that Python cannot hold
        raise ShelfmarkError(f"{place}: not readable ({first_line(error)}); write it as text") from None

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return value
        if isinstance(value, np.number | np.bool_):
            value = value.item()
        # Of a list or an array it would say which of its values are missing.
        return None if pd.api.types.is_scalar(value) and pd.isna(value) else value

    return [plain(value) for value in values]
