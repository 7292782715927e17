"""How like a candidate's class a product is: the cosine with the middle of the class's rows, on a small sketch.

The encoding is folded to `SKETCH` numbers (a count sketch keeps inner products, Charikar et al., 2002), so that a
class needs one short vector (nearest centroid: Rocchio, 1971) and a candidate one short product.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from student.candidates import Candidates
from student.encoding import fold
from student.features import BLOCK_ROWS, BUCKETS, Matrix
from student.labels import Counts, Ids, LabelSpace, Targets

NAMES = ("middle of upper", "middle of last", "middle of pair")
SKETCH = 256
_KINDS = ("upper", "last", "pair")
_NOTHING_LEFT = 1e-2  # length of a sum from which a row's own vector was taken out

Sketches = NDArray[np.float32]


def sketch(encoded: Matrix) -> Sketches:
    """Return vectors of length 1 (0 where there is nothing), shape (rows, SKETCH and what sentences add)."""
    dense: Sketches = np.asarray(fold(encoded, SKETCH).toarray(), dtype=np.float32)
    lengths: Sketches = np.linalg.norm(dense, axis=1, keepdims=True)
    return np.asarray(dense / np.maximum(lengths, 1e-6), dtype=np.float32)


def add_up(encoded: Matrix, targets: Targets, space: LabelSpace, pairs: Counts) -> dict[str, Sketches]:
    """Return the sum of the rows' sketches for each upper path, last value and pair: arrays (classes, as `sketch`)."""
    sizes = {"upper": len(space.uppers), "last": len(space.lasts), "pair": len(pairs.keys)}
    width = SKETCH + encoded.shape[1] - BUCKETS
    sums = {kind: np.zeros((size, width), dtype=np.float32) for kind, size in sizes.items()}
    for start in range(0, len(targets), BLOCK_ROWS):
        part = targets.take(np.arange(start, min(start + BLOCK_ROWS, len(targets))))
        dense = sketch(encoded[start : start + BLOCK_ROWS])
        place = pairs.place(space.key(part.upper, part.last))
        for kind, classes in zip(_KINDS, (part.upper, part.last, place), strict=True):
            for slot in range(part.weight.shape[1]):
                weight = part.weight[:, slot]
                used = weight > 0
                np.add.at(sums[kind], classes[used, slot], dense[used] * weight[used, None])
    return sums


class Centroids:
    """Sums of sketches by class.

    Parameters
    ----------
    sums : dict of str to ndarray
        From `add_up`.
    space : LabelSpace
        The classes.
    pairs : Counts
        The pairs seen in training, in the order of ``sums["pair"]``.
    """

    def __init__(self, sums: dict[str, Sketches], space: LabelSpace, pairs: Counts) -> None:
        self.sums, self.space, self.pairs = sums, space, pairs

    def compare(self, encoded: Matrix, found: Candidates) -> list[Sketches]:
        """Return a cosine for each candidate, in the order of `NAMES`; 0 for what no other row has."""
        own_sketch = sketch(encoded)
        place: Ids = self.pairs.place(self.space.key(found.upper, found.last))
        columns = []
        for kind, classes, own in zip(_KINDS, (found.upper, found.last, place), found.own[:3], strict=True):
            # Each class once for each row, not once for each candidate.
            size = np.int64(len(self.sums[kind]) + 1)
            key, inverse = np.unique(found.row * size + classes + 1, return_inverse=True)
            row, number = key // size, key % size - 1
            weight = np.zeros(len(key), dtype=np.float32)
            weight[inverse] = own
            mine = own_sketch[row]
            rest = self.sums[kind][number] - weight[:, None] * mine
            length = np.sqrt(np.einsum("ij,ij->i", rest, rest))
            cosine = np.einsum("ij,ij->i", rest, mine) / np.maximum(length, np.float32(_NOTHING_LEFT))
            known = (length > _NOTHING_LEFT) & (number >= 0)
            columns.append(np.where(known, cosine, np.float32(0)).astype(np.float32)[inverse])
        return columns
