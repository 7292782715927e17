"""The label space as numbers: upper paths (all levels but the last), last values (brands) and the pairs seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.errors import ShelfmarkError
from catalog.messages import LabelPath

SoftLabels = Sequence[Sequence[tuple[LabelPath, float]]]
Ids = NDArray[np.int64]


@dataclass
class Targets:
    """Labels as numbers; a soft label fills several slots.

    Attributes
    ----------
    upper, last : ndarray of int64, shape (rows, slots)
        The number of the upper path and of the last value.
    weight : ndarray of float32, shape (rows, slots)
        Adds up to 1 over a row's slots; 0 in unused slots.
    """

    upper: Ids
    last: Ids
    weight: NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.upper)

    def take(self, rows: Ids) -> Targets:
        """Return the given rows."""
        return Targets(self.upper[rows], self.last[rows], self.weight[rows])


class LabelSpace:
    """All upper paths and all last values, sorted, and numbers for the prefixes of the upper paths.

    Parameters
    ----------
    uppers : list of label paths
        All levels but the last; one empty path where there is a single level.
    lasts : list of str
        Values of the last level.

    Attributes
    ----------
    prefixes : ndarray of int64, shape (depth, uppers)
        Row d numbers the first d + 1 levels of each upper path; depth is at least 1.
    """

    def __init__(self, uppers: list[LabelPath], lasts: list[str]) -> None:
        self.uppers = uppers
        self.lasts = lasts
        depth = max(len(uppers[0]), 1)
        self.prefixes = np.zeros((depth, len(uppers)), dtype=np.int64)
        for d in range(depth):
            numbers = {prefix: n for n, prefix in enumerate(sorted({upper[: d + 1] for upper in uppers}))}
            self.prefixes[d] = [numbers[upper[: d + 1]] for upper in uppers]

    @property
    def top(self) -> Ids:
        """The number of each upper path's first level."""
        return np.asarray(self.prefixes[0])

    @property
    def parent(self) -> Ids:
        """The number of each upper path's parent (itself where it has none)."""
        return np.asarray(self.prefixes[max(len(self.prefixes) - 2, 0)])

    def key(self, upper: Ids, last: Ids) -> Ids:
        """Return one number for each pair."""
        return upper * np.int64(len(self.lasts)) + last

    def path(self, key: int) -> LabelPath:
        """Return the path of a pair's number."""
        upper, last = divmod(int(key), len(self.lasts))
        return (*self.uppers[upper], self.lasts[last])

    @classmethod
    def from_labels(cls, labels: Sequence[LabelPath], soft: SoftLabels | None) -> tuple[LabelSpace, Targets]:
        """Number the labels of the training rows.

        Parameters
        ----------
        labels : sequence of label paths
            One for each row; ignored where `soft` is given.
        soft : sequence of sequences of (path, weight), optional
            For each row, paths and weights that add up to 1.

        Raises
        ------
        ShelfmarkError
            When a soft label is empty, has a negative weight or does not add up to 1.
        """
        choices: SoftLabels = [[(path, 1.0)] for path in labels] if soft is None else soft
        for number, choice in enumerate(choices):
            if min((w for _, w in choice), default=-1.0) < 0 or abs(sum(w for _, w in choice) - 1) > 1e-3:
                raise ShelfmarkError(f"soft label {number}: its weights must be at least 0 and add up to 1")
        uppers = sorted({path[:-1] for choice in choices for path, _ in choice})
        lasts = sorted({path[-1] for choice in choices for path, _ in choice})
        space = cls(uppers, lasts)
        upper_number = {upper: n for n, upper in enumerate(uppers)}
        last_number = {last: n for n, last in enumerate(lasts)}
        slots = max(len(choice) for choice in choices)
        upper = np.zeros((len(choices), slots), dtype=np.int64)
        last = np.zeros_like(upper)
        weight = np.zeros(upper.shape, dtype=np.float32)
        for row, choice in enumerate(choices):
            for slot, (path, share) in enumerate(choice):
                upper[row, slot], last[row, slot] = upper_number[path[:-1]], last_number[path[-1]]
                weight[row, slot] = share
        return space, Targets(upper, last, weight)


@dataclass
class Counts:
    """A table from numbers to weights, for keys too sparse for an array.

    Attributes
    ----------
    keys : ndarray of int64, shape (entries,)
        Sorted, each once.
    values : ndarray of float32, shape (entries,)
        The weight of each key.
    """

    keys: Ids
    values: NDArray[np.float32]

    @classmethod
    def of(cls, keys: Ids, weights: NDArray[np.float32]) -> Counts:
        """Add up the weights of equal keys."""
        unique, inverse = np.unique(keys.reshape(-1), return_inverse=True)
        return cls(unique, np.bincount(inverse.reshape(-1), weights.reshape(-1), len(unique)).astype(np.float32))

    def look_up(self, keys: Ids) -> NDArray[np.float32]:
        """Return the weight of each key, 0 where it is not in the table."""
        place = self.place(keys)
        return np.where(place < 0, np.float32(0), self.values[place])

    def place(self, keys: Ids) -> Ids:
        """Return where each key stands in the table, -1 where it does not."""
        place = np.searchsorted(self.keys, keys).clip(0, len(self.keys) - 1)
        return np.where(self.keys[place] == keys, place, -1)
