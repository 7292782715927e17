"""Products as blocks of numbers: text, price and shop and, where a sentence encoder is wanted, meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from catalog.products import Products
from rag.encoders import make_encoder
from student.features import BUCKETS, Encoder, Matrix, normalise
from student.labels import Ids

NO_SENTENCES = "ngram"  # as rag calls it: substrings alone
SENTENCE_WEIGHT = 0.8  # of a sentence's unit vector, beside text of length 1


@dataclass
class Block:
    """Some products, encoded.

    Attributes
    ----------
    raw : list of str
        Text as it came.
    lines : list of str
        The same, normalised.
    encoded : csr_matrix, shape (rows, BUCKETS + dimensions of the sentence encoder)
        Text, price, shop and meaning.
    prices : ndarray of float64, shape (rows,)
        NaN where unknown.
    retailers : ndarray of int64, shape (rows,)
        -1 where unknown.
    training : bool
        Whether the rows are training rows, whose own contribution is left out of what they are told.
    """

    raw: list[str]
    lines: list[str]
    encoded: Matrix
    prices: NDArray[np.float64]
    retailers: Ids
    training: bool = False


class ProductEncoder:
    """Encodes products.

    Parameters
    ----------
    text : Encoder
        Of text, price and shop.
    shops : list of str
        Known retailers, sorted.
    sentences : str
        The name of a sentence encoder (`rag.encoders.make_encoder`), or ``ngram`` for none.
    """

    def __init__(self, text: Encoder, shops: list[str], sentences: str = NO_SENTENCES) -> None:
        self.text, self.shops, self.sentences = text, shops, sentences
        self._number = {shop: number for number, shop in enumerate(shops)}
        self._sentences = None if sentences == NO_SENTENCES else make_encoder(sentences.removeprefix("hybrid:"))

    @classmethod
    def fit(cls, products: Products, sentences: str = NO_SENTENCES) -> ProductEncoder:
        """Count substrings and list retailers."""
        return cls(Encoder.fit(products.texts), sorted(set(products.retailers) - {""}), sentences)

    def encode(self, products: Products) -> Block:
        """Encode products; all at once, so give it blocks."""
        retailers = np.array([self._number.get(shop, -1) for shop in products.retailers], dtype=np.int64)
        texts = products.texts
        lines = normalise(texts)
        encoded = self._with_meaning(self.text.encode(lines, products.prices, retailers), texts)
        return Block(texts, lines, encoded, products.prices, retailers)

    def encode_names(self, names: Sequence[str]) -> Matrix:
        """Encode texts that have no price and no shop."""
        unknown = np.full(len(names), np.nan), np.full(len(names), -1)
        return self._with_meaning(self.text.encode(normalise(names), *unknown), names)

    def _with_meaning(self, encoded: Matrix, texts: Sequence[str]) -> Matrix:
        if self._sentences is None:
            return encoded
        meaning = self._sentences.encode(texts).dense * np.float32(SENTENCE_WEIGHT)
        return sp.hstack([encoded, sp.csr_matrix(meaning)], format="csr")


def fold(matrix: Matrix, size: int) -> Matrix:
    """Return `matrix` with its buckets folded onto `size` of them (a power of two), and the rest behind those."""
    columns = np.where(matrix.indices < BUCKETS, matrix.indices & (size - 1), matrix.indices - (BUCKETS - size))
    width = size + matrix.shape[1] - BUCKETS
    return sp.csr_matrix((matrix.data, columns, matrix.indptr), shape=(matrix.shape[0], width))
