"""An index's files, read: the vectors stay on disk until they are used, and no file is believed."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse

from catalog.arrays import FIT_AGAIN, damaged, load_array, require_numbers, require_rising
from catalog.errors import ShelfmarkError
from catalog.messages import LabelPath, RowId
from catalog.products import Products
from catalog.schema import SEPARATOR, Schema
from catalog.tables import MOST_TEXT
from rag.encoders import Vectors

DENSE = "index.faiss"
_NUMBERS = ("<i4", "<i8")
_FLAT = struct.Struct("<4siqqq?iQ")
"""FAISS's header of a flat index: kind, dimensions, rows, two unused, whether trained, metric, numbers that follow."""


def read_vectors(folder: Path) -> Vectors:
    """Read the vectors of an index: ``index.faiss``, ``sparse_*.npy`` or both.

    Raises
    ------
    ShelfmarkError
        When a file is missing, damaged, or does not go with the others.
    """
    if (folder / "exact_shape.npy").exists():
        raise ShelfmarkError(
            f"{folder}: damaged or of another version (its n-grams are sketched, as they once were); {FIT_AGAIN}"
        )
    if not any(folder.glob("sparse_*.npy")):
        return Vectors(_dense(folder / DENSE), None)
    file = folder / "sparse_shape.npy"
    shape = load_array(file, "<i8", (2,))
    features, columns = (int(value) for value in shape)
    if not 0 < features < 2**31 or columns < 0:
        raise damaged(file, f"{features:,} n-grams and {columns:,} dimensions")
    found = _sparse(folder, features)
    if not columns:
        return Vectors(np.zeros((found.shape[0], 0), dtype=np.float32), found)
    dense = _dense(folder / DENSE)
    if dense.shape != (found.shape[0], columns):
        raise damaged(folder / DENSE, f"vectors of {len(dense):,} rows, and n-grams of {found.shape[0]:,}")
    return Vectors(dense, found)


def _sparse(folder: Path, features: int) -> sparse.csr_array:
    files = [folder / f"sparse_{name}.npy" for name in ("data", "indices", "indptr")]
    ends = load_array(files[2], _NUMBERS, (None,))
    count = int(ends[-1]) if len(ends) else -1
    if len(ends) < 2 or ends[0] != 0 or count < 0:
        raise damaged(files[2], "no rows, or they do not begin at 0")
    require_rising(files[2], ends, low=0, high=count)
    data = load_array(files[0], "<f4", (count,))
    columns = load_array(files[1], ends.dtype.str, (count,))
    require_numbers(files[0], data, least=-2, most=2)  # of vectors of length 1
    if count and (columns.min() < 0 or columns.max() >= features):
        raise damaged(files[1], f"an n-gram outside of 0 to {features - 1:,}")
    return sparse.csr_array((data, columns, ends), shape=(len(ends) - 1, features))


def _dense(file: Path) -> NDArray[np.float32]:
    """Map the numbers of a flat index: FAISS itself would believe what the header says of them."""
    try:
        with open(file, "rb") as stream:
            header = stream.read(_FLAT.size)
            size = os.fstat(stream.fileno()).st_size
    except FileNotFoundError:
        raise damaged(file, "missing") from None
    if len(header) < _FLAT.size:
        raise damaged(file, "cut short")
    kind, width, rows, _, _, _, metric, count = _FLAT.unpack(header)
    if (kind, metric) != (b"IxFI", 0) or width < 1 or rows < 1 or count != rows * width:
        raise damaged(file, "no flat index of inner products")
    if size != _FLAT.size + 4 * count:
        raise damaged(file, f"{size:,} bytes where its header says otherwise")
    mapped = np.asarray(np.memmap(file, dtype="<f4", mode="r", offset=_FLAT.size, shape=(rows, width)))
    require_numbers(file, mapped)
    return mapped


def read_rows(folder: Path, schema: Schema, rows: int) -> Products:
    """Read the labelled products of an index.

    Parameters
    ----------
    folder : Path
        Holds ``rows.parquet``.
    schema : Schema
        Its columns and levels.
    rows : int
        How many vectors there are.

    Raises
    ------
    ShelfmarkError
        When the file is missing, damaged, or not of these vectors.
    """
    file = folder / "rows.parquet"
    texts = ["id", *(f"text.{name}" for name in schema.text)]
    coded = [*texts, "retailer", *(f"level.{level}" for level in schema.levels)]
    try:
        # By Python: pyarrow opens no file whose name is not UTF-8.
        # Texts are read as dictionaries too: a text that a million rows share is in memory once.
        with open(file, "rb") as stream, pq.ParquetFile(stream, read_dictionary=texts) as stored:
            # Before anything is unpacked: a small file may say that it holds any number of rows.
            if stored.metadata.num_rows != rows:
                raise damaged(file, f"{stored.metadata.num_rows:,} rows, {rows:,} vectors")
            kinds = {field.name: field.type for field in stored.schema_arrow}
            for name in (*coded, "price"):
                if kinds.get(name) not in (_CODED if name in coded else (pa.float64(),)):
                    raise damaged(file, f"no column '{name}' as it was written")
            _require_own_packing(file, stored.metadata)
            table = stored.read([*coded, "price"])
        if len(table) != rows or any(table[name].null_count for name in coded):
            raise damaged(file, "a value is missing")
        levels = [_label_values(file, table[f"level.{level}"]) for level in schema.levels]
        retailers, prices = _cells(table["retailer"]), table["price"].to_numpy(zero_copy_only=False)
        columns = {name: _cells(table[f"text.{name}"]) for name in schema.text}
        ids: list[RowId] = [*_cells(table["id"])]
    except FileNotFoundError:
        raise damaged(file, "missing") from None
    except (OSError, ValueError, IndexError, pa.ArrowException) as error:
        raise damaged(file, (str(error).strip().splitlines() or [type(error).__name__])[-1][:160]) from None
    if np.isinf(prices).any():
        raise damaged(file, "a price is infinite")
    if retailers != sorted(retailers):
        raise damaged(file, "its rows are not sorted by retailer")
    same: dict[LabelPath, LabelPath] = {}
    return Products(
        ids=ids,
        columns=columns,
        retailers=retailers,
        prices=prices.astype(np.float64),
        labels=[same.setdefault(path, path) for path in zip(*levels, strict=True)],
    )


_CODED = tuple(pa.dictionary(size, pa.string()) for size in (pa.int8(), pa.int16(), pa.int32(), pa.int64()))


_PACKINGS = ("SNAPPY", "UNCOMPRESSED")
"""How an index's columns are compressed. Snappy packs no more than 21 bytes into one, and others any number."""


def _require_own_packing(file: Path, about: pq.FileMetaData) -> None:
    for group in range(about.num_row_groups):
        for column in range(about.num_columns):
            packing = about.row_group(group).column(column).compression
            if packing not in _PACKINGS:
                raise damaged(file, f"compressed as {packing}, as no index is")


def _label_values(file: Path, column: pa.ChunkedArray) -> list[str]:
    values = _cells(column)
    for value in set(values):
        if not value or SEPARATOR in value:
            raise damaged(file, "a label without a value, or with '__' in one")
    return values


def _cells(column: pa.ChunkedArray) -> list[str]:
    """Return the values of a dictionary-encoded column; rows share the different ones of each chunk."""
    column.validate(full=True)
    cells: list[str] = []
    for chunk in column.chunks:
        if chunk.dictionary.null_count:
            raise ValueError("a value is missing")
        longest = pc.max(pc.utf8_length(chunk.dictionary)).as_py() or 0
        if longest > MOST_TEXT:
            raise ValueError(f"a text of {longest:,} characters, where there may be {MOST_TEXT:,} at most")
        values = chunk.dictionary.to_numpy(zero_copy_only=False)
        cells.extend(values[chunk.indices.to_numpy(zero_copy_only=False)])
    return cells
