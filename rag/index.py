"""The index of labelled products: their vectors, dense ones in FAISS's format, and their metadata in Parquet."""

from __future__ import annotations

import errno
import itertools
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse

from catalog.errors import ShelfmarkError
from catalog.messages import LabelPath
from catalog.products import Products
from catalog.schema import Schema
from catalog.taxonomy import Taxonomy
from rag.encoders import Encoder, Progress, Vectors, load_encoder, save_encoder
from rag.postings import Slice, Vocabulary

DENSE = "index.faiss"


class Index:
    """Labelled products that can be searched, sorted by retailer: a retailer's rows are one contiguous slice.

    Parameters
    ----------
    encoder : Encoder
        Fitted on the products' texts.
    vectors : Vectors
        One for each row.
    products : Products
        With labels, in the same order, sorted by retailer.
    schema : Schema
        The products' schema.

    Attributes
    ----------
    slices : dict of str to (int, int)
        The first row of each retailer and the one after its last; products without a retailer are in none.
    log_prices : ndarray of float64, shape (rows,)
        Natural logarithm of the price (of 0.01 where it is less); NaN where it is missing.
    """

    def __init__(self, encoder: Encoder, vectors: Vectors, products: Products, schema: Schema) -> None:
        self.encoder, self.vectors, self.products, self.schema = encoder, vectors, products, schema
        self.labels: list[LabelPath] = products.require_labels()
        self.taxonomy = Taxonomy.from_labels(self.labels, schema.levels, products.retailers)
        self.log_prices = log_prices(products.prices)
        self._searched: dict[tuple[int, int], Slice] = {}
        names = np.array(products.retailers, dtype=object)
        bounds = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)]
        self.slices = {
            products.retailers[start]: (start, end)
            for start, end in itertools.pairwise(bounds)
            if products.retailers[start]
        }

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """The n-grams of the sparse vectors, where there are any."""
        return None if self.vectors.sparse is None else Vocabulary(self.vectors.sparse)

    @cached_property
    def text_numbers(self) -> NDArray[np.int64]:
        """A number for each row, the same for the same text; shape (rows,)."""
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(text, len(numbers)) for text in self.products.texts], dtype=np.int64)

    def slice(self, start: int, end: int) -> Slice:
        """Return the rows from `start` to `end`, prepared for searching; it is kept."""
        if (start, end) not in self._searched:
            numbers = self.text_numbers[start:end]
            self._searched[start, end] = Slice(start, numbers, self.vectors, self.vocabulary)
        return self._searched[start, end]

    @classmethod
    def build(cls, train: Products, schema: Schema, encoder: Encoder, progress: Progress | None = None) -> Index:
        """Fit `encoder` on the products and index them.

        Raises
        ------
        ShelfmarkError
            When the products have no labels, or the encoder cannot be loaded.
        """
        train.require_labels()
        order = np.array(sorted(range(len(train)), key=lambda row: train.retailers[row]), dtype=np.intp)
        products = train.take(order)
        encoder.fit(products.texts)
        return cls(encoder, encoder.encode(products.texts, progress), products, schema)

    def save(self, folder: Path) -> None:
        """Write ``rows.parquet``, the encoder, and the vectors: ``index.faiss``, ``sparse_*.npy`` or both."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.vectors.dense.shape[1]:
            _write_dense(self.vectors.dense, folder / DENSE)
        products = self.products
        columns: dict[str, pa.Array] = {
            "id": pa.array([str(name) for name in products.ids]),
            **{f"text.{name}": pa.array(cells) for name, cells in products.columns.items()},
            "retailer": pa.array(products.retailers).dictionary_encode(),
            "price": pa.array(products.prices, mask=np.isnan(products.prices)),
        }
        for level, cells in zip(self.schema.levels, zip(*self.labels, strict=True), strict=True):
            columns[f"level.{level}"] = pa.array(list(cells)).dictionary_encode()
        with open(folder / "rows.parquet", "wb") as rows:  # pyarrow takes no names that are not UTF-8
            pq.write_table(pa.table(columns), rows)
        if self.vectors.sparse is not None:
            for name in ("data", "indices", "indptr"):
                np.save(folder / f"sparse_{name}.npy", getattr(self.vectors.sparse, name))
            np.save(folder / "sparse_shape.npy", np.array([self.vectors.sparse.shape[1], self.vectors.dense.shape[1]]))
        save_encoder(self.encoder, folder)

    @classmethod
    def load(cls, folder: Path, schema: Schema) -> Index:
        """Read what `save` wrote; vectors stay on disk until they are used.

        Raises
        ------
        ShelfmarkError
            When a file is missing or damaged.
        """
        encoder = load_encoder(folder)
        try:
            with open(folder / "rows.parquet", "rb") as rows:
                table = pq.read_table(rows)
            levels = [_cells(table[f"level.{level}"]) for level in schema.levels]
            same: dict[LabelPath, LabelPath] = {}
            products = Products(
                ids=table["id"].to_pylist(),
                columns={name: table[f"text.{name}"].to_pylist() for name in schema.text},
                retailers=_cells(table["retailer"]),
                prices=table["price"].to_numpy(zero_copy_only=False).astype(np.float64),
                labels=[same.setdefault(path, path) for path in zip(*levels, strict=True)],
            )
            vectors, flat = _read_vectors(folder, len(products))
        except (OSError, RuntimeError, ValueError, KeyError, EOFError, pa.ArrowException) as error:
            reason = str(error).strip().splitlines()[-1][:160] if str(error).strip() else type(error).__name__
            raise ShelfmarkError(f"{folder}: damaged or of another version ({reason}); fit the model again") from None
        index = cls(encoder, vectors, products, schema)
        index._flat = flat  # the dense vectors are a view into it
        return index

    _flat: Any = None


def _write_dense(dense: NDArray[np.float32], file: Path) -> None:
    import faiss

    flat = faiss.IndexFlatIP(dense.shape[1])
    flat.add(dense)
    try:
        faiss.write_index(flat, str(file))
    except RuntimeError:
        raise OSError(errno.EIO, "cannot be written; is the disk full?", str(file)) from None


def _read_vectors(folder: Path, rows: int) -> tuple[Vectors, Any]:
    """Return the vectors, and what must be kept as long as they are used."""
    if (folder / "exact_shape.npy").exists():
        raise ValueError("its n-grams are sketched, as they once were")
    dense, found = np.zeros((rows, 0), dtype=np.float32), None
    flat: Any = None
    features = columns = 0
    if any(folder.glob("sparse_*.npy")):
        parts = [np.load(folder / f"sparse_{name}.npy", mmap_mode="r") for name in ("data", "indices", "indptr")]
        features, columns = (int(value) for value in np.load(folder / "sparse_shape.npy"))
        found = sparse.csr_array(tuple(parts), shape=(len(parts[-1]) - 1, features))
    if found is None or columns:
        import faiss

        flat = faiss.read_index(str(folder / DENSE), faiss.IO_FLAG_MMAP_IFC)
        dense = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d)
    for count in (len(dense), rows if found is None else found.shape[0]):
        if count != rows:
            raise ValueError(f"{rows} rows, {count} vectors")
    return Vectors(dense, found), flat


def _cells(column: pa.ChunkedArray) -> list[str]:
    """Return the values of a dictionary-encoded column, each different one once in memory."""
    whole = column.unify_dictionaries().combine_chunks()
    values = np.array([*whole.dictionary.to_pylist(), None], dtype=object)
    return list(values[whole.indices.to_numpy(zero_copy_only=False)])


def log_prices(prices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the natural logarithm of prices, of 0.01 where they are less; NaN stays NaN."""
    return np.log(np.maximum(prices, 0.01))
