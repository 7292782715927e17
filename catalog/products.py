"""Products: the input rows of a job, read from files or pandas frames, with or without labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catalog.errors import ShelfmarkError
from catalog.frames import frame_rows
from catalog.messages import LabelPath, RowId
from catalog.places import features_file, is_features, labels_beside, labels_name
from catalog.schema import Schema
from catalog.tables import OTHER_NAMES, Row, read_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Products:
    """A block of input rows.

    Attributes
    ----------
    ids : list of int or str
        One for each row, unique.
    columns : dict of str to list of str
        The text columns of the schema, each with one value a row; missing text is an empty string.
    retailers : list of str
        One for each row; an empty string where it is missing or the schema has none.
    prices : ndarray of float64, shape (rows,)
        In the currency of the data; NaN where it is missing or the schema has none.
    labels : list of label paths or None
        One for each row, or None for products without labels.
    contexts : list of tuple of str, or None
        What a web search found of each row, a line for each snippet (`catalog.context`); None where nobody searched.
    """

    ids: list[RowId]
    columns: dict[str, list[str]]
    retailers: list[str]
    prices: NDArray[np.float64]
    labels: list[LabelPath] | None = None
    contexts: list[tuple[str, ...]] | None = None
    _texts: list[str] | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)

    @property
    def texts(self) -> list[str]:
        """The text of each row: its text columns, joined with a space."""
        if self._texts is None:
            columns = list(self.columns.values())
            self._texts = columns[0] if len(columns) == 1 else [" ".join(cells) for cells in zip(*columns, strict=True)]
        return self._texts

    def require_labels(self) -> list[LabelPath]:
        """Return the labels.

        Raises
        ------
        ShelfmarkError
            When the products have none.
        """
        if self.labels is None:
            raise ShelfmarkError("these products have no labels; training needs them")
        return self.labels

    def take(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> Products:
        """Return the given rows, in the given order."""
        picked = [int(row) for row in rows]
        return Products(
            ids=[self.ids[row] for row in picked],
            columns={name: [cells[row] for row in picked] for name, cells in self.columns.items()},
            retailers=[self.retailers[row] for row in picked],
            prices=self.prices[picked],
            labels=None if self.labels is None else [self.labels[row] for row in picked],
            contexts=None if self.contexts is None else [self.contexts[row] for row in picked],
        )


def join_products(parts: Sequence[Products]) -> Products:
    """Put labelled products from several places together. Ids may occur in more than one of them.

    Raises
    ------
    ShelfmarkError
        When a part has no labels.
    """
    return Products(
        ids=[name for part in parts for name in part.ids],
        columns={name: [cell for part in parts for cell in part.columns[name]] for name in parts[0].columns},
        retailers=[retailer for part in parts for retailer in part.retailers],
        prices=np.concatenate([part.prices for part in parts]),
        labels=[label for part in parts for label in part.require_labels()],
    )


class _Block:
    """Collects rows until they are made into Products."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.ids: list[RowId] = []
        self.columns: dict[str, list[str]] = {name: [] for name in schema.text}
        self.retailers: list[str] = []
        self.prices: list[float] = []

    def add(self, row: Row) -> None:
        schema = self.schema
        self.ids.append(row.id(schema.id))
        for name, cells in self.columns.items():
            cells.append(row.text(name))
        self.retailers.append(row.text(schema.retailer, default="") if schema.retailer else "")
        self.prices.append(row.price(schema.price) if schema.price else math.nan)

    def products(self, labels: list[LabelPath] | None = None) -> Products:
        return Products(self.ids, self.columns, self.retailers, np.array(self.prices, dtype=np.float64), labels)


def stream_products(
    path: str | Path, schema: Schema, *, chunk_rows: int = 4096, limit: int | None = None
) -> Iterator[Products]:
    """Yield the products of a file in blocks of `chunk_rows` (the last may be shorter), without labels.

    Parameters
    ----------
    path : str or Path
        A ``.features``, CSV, JSON-lines or Parquet file, or a folder that holds ``test.features``.
    schema : Schema
        Which columns to read; others are passed over.
    chunk_rows : int
        Rows a block.
    limit : int, optional
        Stop after so many rows.

    Raises
    ------
    ShelfmarkError
        When a row or the file is wrong, or an id occurs twice.
    """
    block = _Block(schema)
    for row in islice(_unique_rows(features_file(Path(path), "test"), schema), limit):
        block.add(row)
        if len(block.ids) == chunk_rows:
            yield block.products()
            block = _Block(schema)
    if block.ids:
        yield block.products()


def _unique_rows(path: Path, schema: Schema, required: tuple[str, ...] = ()) -> Iterator[Row]:
    seen: set[RowId] = set()
    optional = [column for column in (schema.retailer, schema.price) if column]
    for row in read_table(
        path, required=(schema.id, *schema.text, *required), optional=optional, hint=OTHER_NAMES, others=False
    ):
        name = row.id(schema.id)
        if name in seen:
            first = next(
                other.place for other in read_table(path, (schema.id,), others=False) if other.id(schema.id) == name
            )
            raise row.fault(f"the id {name!r} occurs twice, first in {first}; each row needs its own", schema.id)
        seen.add(name)
        yield row


def read_products(path: str | Path, schema: Schema, *, labels: bool = False, limit: int | None = None) -> Products:
    """Read products, whole.

    Parameters
    ----------
    path : str or Path
        With `labels`: a ``.features`` file with its ``.labels`` beside it, a folder that holds ``train.features`` and
        ``train.labels``, or one CSV, JSON-lines or Parquet file with inputs and levels. Without: as `stream_products`.
    schema : Schema
        Which columns to read.
    labels : bool
        Read the labels, too, and require one for each row.
    limit : int, optional
        Read so many rows at most.

    Raises
    ------
    ShelfmarkError
        When a row or the file is wrong, an id occurs twice, or features and labels do not match.
    """
    path = Path(path)
    features = features_file(path, "train" if labels else "test")
    block = _Block(schema)
    paths: list[LabelPath] = []
    beside = labels_beside(features) if labels else None
    inline = labels and beside is None
    if inline and is_features(features):
        raise ShelfmarkError(f"{features}: no labels beside it; put {labels_name(features)} into the same folder")
    rows = _unique_rows(features, schema, required=schema.levels if inline else ())
    for row in islice(rows, limit):
        block.add(row)
        if inline:
            paths.append(row.label(schema.levels))
    if beside is not None:
        by_id = read_labels(beside, schema)
        paths = _match(block.ids, by_id, features, beside, partial=limit is not None)
    return block.products(paths if labels else None)


def read_labels(path: str | Path, schema: Schema) -> dict[RowId, LabelPath]:
    """Read the label paths of a ``.labels``, ``.predict``, CSV, JSON-lines or Parquet file by id, in file order.

    Raises
    ------
    ShelfmarkError
        When a row or the file is wrong, or an id occurs twice.
    """
    labels: dict[RowId, LabelPath] = {}
    same: dict[LabelPath, LabelPath] = {}  # many rows have one path: it is in memory once
    for row in read_table(path, required=(schema.id, *schema.levels), hint=OTHER_NAMES, others=False):
        name = row.id(schema.id)
        if name in labels:
            raise row.fault(f"the id {name!r} occurs twice; each row needs its own", schema.id)
        label = row.label(schema.levels)
        labels[name] = same.setdefault(label, label)
    return labels


def _match(
    ids: list[RowId], labels: dict[RowId, LabelPath], features: Path, beside: Path, *, partial: bool
) -> list[LabelPath]:
    for name in ids:
        if name not in labels:
            raise ShelfmarkError(
                f"{beside}: no label for the id {name!r} of {features.name} ({len(ids)} products, {len(labels)} labels)"
            )
    if len(labels) > len(ids) and not partial:
        known = set(ids)
        extra = next(name for name in labels if name not in known)
        raise ShelfmarkError(
            f"{beside}: the id {extra!r} is not in {features.name} ({len(ids)} products, {len(labels)} labels)"
        )
    return [labels[name] for name in ids]


def products_from_frame(frame: pd.DataFrame, schema: Schema, *, labels: bool = False) -> Products:
    """Make products of a pandas frame with the schema's columns. Missing cells (None, NaN) are missing values.

    A frame without the id column gets its row numbers, from 0, as ids.

    Raises
    ------
    ShelfmarkError
        When a column is missing or a value is wrong.
    """
    wanted = [*schema.inputs, *(schema.levels if labels else ())]
    block = _Block(schema)
    paths: list[LabelPath] = []
    seen: set[RowId] = set()
    for number, row in enumerate(frame_rows(frame, wanted, [schema.id])):
        row.values.setdefault(schema.id, number)
        block.add(row)
        if block.ids[-1] in seen:
            raise row.fault(f"the id {block.ids[-1]!r} occurs twice; each row needs its own", schema.id)
        seen.add(block.ids[-1])
        if labels:
            paths.append(row.label(schema.levels))
    if not block.ids:
        raise ShelfmarkError("the frame has no rows")
    return block.products(paths if labels else None)
