"""The index of labelled products: their vectors, dense ones in FAISS's format, and their metadata in Parquet."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from catalog.errors import ShelfmarkError
from catalog.messages import LabelPath
from catalog.products import Products
from catalog.schema import Schema
from catalog.taxonomy import Taxonomy
from rag.encoders import Encoder, Progress, Vectors, load_encoder, save_encoder
from rag.postings import Slice, Vocabulary
from rag.stored_index import DENSE, read_rows, read_vectors


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

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts to be searched for.

        Raises
        ------
        ShelfmarkError
            When the encoder is another than the one that the index was made with.
        """
        made, mine = self.encoder.encode(texts), self.vectors
        if _widths(made) != _widths(mine):
            raise ShelfmarkError(f"the encoder {self.encoder.name} is not the one of this index; fit the model again")
        return made

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
        vectors = read_vectors(folder)
        return cls(encoder, vectors, read_rows(folder, schema, len(vectors)), schema)


def _widths(vectors: Vectors) -> tuple[int, int | None]:
    return vectors.dense.shape[1], None if vectors.sparse is None else vectors.sparse.shape[1]


def _write_dense(dense: NDArray[np.float32], file: Path) -> None:
    import faiss

    flat = faiss.IndexFlatIP(dense.shape[1])
    flat.add(dense)
    try:
        faiss.write_index(flat, str(file))
    except RuntimeError:
        raise OSError(errno.EIO, "cannot be written; is the disk full?", str(file)) from None


def log_prices(prices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the natural logarithm of prices, of 0.01 where they are less; NaN stays NaN."""
    return np.log(np.maximum(prices, 0.01))
