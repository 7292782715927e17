"""How far a product's text uses the words of a shelf's own name: "peanut oil" belongs on the shelf called "oil"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from student.encoding import ProductEncoder
from student.features import STEM, Matrix, normalise
from student.labels import Ids, LabelSpace

NAMES = ("like top", "like parent", "like shelf", "words of top", "words of parent", "words of shelf")
_SMALL = {"and", "the", "of", "with", "for"}


def _stems(line: str) -> set[str]:
    return {word[:STEM].rstrip("s") for word in line.split() if len(word) > 1 and word not in _SMALL}


class Wording:
    """The names of the upper levels, prepared for comparison.

    Parameters
    ----------
    space : LabelSpace
        The classes.
    encoder : ProductEncoder
        The one that encodes the products.
    """

    def __init__(self, space: LabelSpace, encoder: ProductEncoder) -> None:
        depth = len(space.uppers[0])
        names: list[str] = sorted({value for upper in space.uppers for value in upper})
        number = {name: place for place, name in enumerate(names)}
        places = [0, max(depth - 2, 0), depth - 1] if depth else []
        self.named = np.array([[number[upper[d]] for upper in space.uppers] for d in places], dtype=np.int64)
        lines = normalise(names) if names else []
        self.encoded: Matrix | None = encoder.encode_names(names).T.tocsr() if names else None
        stems = [_stems(line) for line in lines]
        self.columns = {stem: place for place, stem in enumerate(sorted(set().union(*stems)))}
        counted = [
            (self.columns[stem], row, 1 / len(words)) for row, words in enumerate(stems) for stem in sorted(words)
        ]
        column, row, share = zip(*counted, strict=True) if counted else ((), (), ())
        self.stems = sp.csr_matrix(
            (np.array(share, dtype=np.float32), (np.array(column, dtype=np.int64), np.array(row, dtype=np.int64))),
            shape=(max(len(self.columns), 1), len(names)),
        )

    def compare(self, lines: Sequence[str], encoded: Matrix, row: Ids, upper: Ids) -> list[NDArray[np.float32]]:
        """Compare each row's text with the names in its candidates' upper paths.

        Parameters
        ----------
        lines : sequence of str
            Normalised text, one a row.
        encoded : csr_matrix, shape (rows, BUCKETS)
            The same, encoded.
        row, upper : ndarray of int64, shape (candidates,)
            The row and the number of the upper path of each candidate.

        Returns
        -------
        list of ndarray of float32, shape (candidates,)
            In the order of `NAMES`: likeness (a cosine, about), then the share of the name's words that occur.
        """
        if self.encoded is None:
            return [np.zeros(len(row), dtype=np.float32) for _ in NAMES]
        likeness = (encoded @ self.encoded).toarray()
        found = [[self.columns[stem] for stem in sorted(_stems(line)) if stem in self.columns] for line in lines]
        indices = np.array([column for columns in found for column in columns], dtype=np.int64)
        pointers = np.concatenate([[0], np.cumsum([len(columns) for columns in found])])
        present = sp.csr_matrix(
            (np.ones(len(indices), dtype=np.float32), indices, pointers), shape=(len(lines), self.stems.shape[0])
        )
        shared = (present @ self.stems).toarray()
        return [table[row, names[upper]].astype(np.float32) for table in (likeness, shared) for names in self.named]
