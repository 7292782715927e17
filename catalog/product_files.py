"""Products written as the datathon's pair of files: ``NAME.features`` and ``NAME.labels``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from catalog.errors import ShelfmarkError
from catalog.files import atomic_write
from catalog.products import Products
from catalog.schema import Schema

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def write_products(folder: str | Path, name: str, blocks: Iterable[Products], schema: Schema) -> int:
    """Write blocks of products as ``NAME.features`` and, where they have labels, ``NAME.labels``, in a stream.

    Parameters
    ----------
    folder : str or Path
        Where the files go; made where it is not there.
    name : str
        The first part of the files' names: ``train``.
    blocks : iterable of Products
        At least one row; all blocks with labels, or none.
    schema : Schema
        The columns to write. A missing price is written as null, a missing retailer as an empty string.

    Returns
    -------
    int
        The rows written.

    Raises
    ------
    ShelfmarkError
        When there are no rows, or some blocks have labels and some have none. Then no file is written.
    """
    folder = Path(folder)
    rows = 0
    labelled: bool | None = None
    with ExitStack() as stack:
        features = stack.enter_context(atomic_write(folder / f"{name}.features"))
        labels: IO[str] | None = None
        for block in blocks:
            if labelled is None:
                labelled = block.labels is not None
                if labelled:
                    labels = stack.enter_context(atomic_write(folder / f"{name}.labels"))
            if labelled != (block.labels is not None):
                raise ShelfmarkError(f"{folder / name}: some products have labels and some have none; write them apart")
            write_features(features, block, schema)
            if labels is not None:
                write_labels(labels, block, schema)
            rows += len(block)
        if not rows:
            raise ShelfmarkError(f"{folder / name}: no products to write")
    return rows


def write_features(stream: IO[str], products: Products, schema: Schema) -> None:
    """Write the id and the input columns of each row, one JSON object a line."""
    columns = [products.columns[name] for name in schema.text]
    for row, name in enumerate(products.ids):
        value: dict[str, Any] = {schema.id: name}
        for column, cells in zip(schema.text, columns, strict=True):
            value[column] = cells[row]
        if schema.retailer is not None:
            value[schema.retailer] = products.retailers[row]
        if schema.price is not None:
            price = float(products.prices[row])
            value[schema.price] = None if price != price else price
        stream.write(_encode(value) + "\n")


def write_labels(stream: IO[str], products: Products, schema: Schema) -> None:
    """Write the id and the levels of each row, one JSON object a line.

    Raises
    ------
    ShelfmarkError
        When the products have no labels.
    """
    for name, path in zip(products.ids, products.require_labels(), strict=True):
        stream.write(_encode({schema.id: name, **dict(zip(schema.levels, path, strict=True))}) + "\n")
