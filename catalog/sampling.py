"""Fewer rows that still show every class: stratified samples, splits, and near-duplicates of a retailer collapsed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from catalog.errors import ShelfmarkError
from catalog.messages import LabelPath
from catalog.products import Products

Rows = NDArray[np.intp]

# Texts that are compared with each other at once; what is larger is compared within overlapping stretches.
STRETCH = 256
_NOT_LETTERS = re.compile(r"[\W\d_]+")


def stratified_sample(labels: Sequence[LabelPath], size: int, *, seed: int = 0) -> Rows:
    """Choose rows so that each class has its proportional part of them, and at least one row.

    A class is a whole label path. One whose proportional part is below one row gets one; the others share what is left
    in proportion to their rows, fractions going to the largest remainders (Hamilton's method). Rows of a class are
    chosen at random.

    Parameters
    ----------
    labels : sequence of label paths
        One for each row.
    size : int
        How many rows to choose: at least the number of classes, at most the number of rows.
    seed : int
        Decides which rows.

    Returns
    -------
    ndarray of intp, shape (size,)
        Row numbers, ascending.

    Raises
    ------
    ShelfmarkError
        When `size` is below the number of classes or above the number of rows.
    """
    return Strata(labels, seed=seed).sample(size)


class Strata:
    """Rows by class, shuffled within: several stratified samples at the cost of one.

    Parameters
    ----------
    labels, seed
        As in `stratified_sample`.

    Attributes
    ----------
    classes : int
        How many there are: the least size of a sample.
    """

    def __init__(self, labels: Sequence[LabelPath], *, seed: int = 0) -> None:
        codes, self._counts = _classes(labels)
        self.classes = len(self._counts)
        self._order, self._place = _shuffled_by_class(codes, self._counts, seed)
        self._codes = codes[self._order]

    def sample(self, size: int) -> Rows:
        """Return what `stratified_sample` does.

        Raises
        ------
        ShelfmarkError
            As `stratified_sample`.
        """
        if size > len(self._order):
            raise ShelfmarkError(f"a sample of {size} rows: there are only {len(self._order)}; ask for fewer")
        if size < self.classes:
            raise ShelfmarkError(
                f"a sample of {size} rows cannot hold a row of each of the {self.classes} label paths; "
                f"ask for at least {self.classes}"
            )
        wanted = _allocation(self._counts, size)
        return np.sort(self._order[self._place < wanted[self._codes]])


def split(labels: Sequence[LabelPath], held_out: float | int, seed: int = 0) -> tuple[Rows, Rows]:
    """Part the rows into some to train on and some held out, so that training loses no class.

    One random row of each class stays in train. The held-out rows are drawn from the others, evenly over the classes
    (systematic sampling of the rows in the order of their labels). Only where more rows are to be held out than that
    leaves do classes lose their last row.

    Parameters
    ----------
    labels : sequence of label paths
        One for each row; at least two.
    held_out : float or int
        The part of the rows to hold out, above 0 and below 1, or their number, at least 1 and below all of them.
    seed : int
        Decides which rows.

    Returns
    -------
    train, held_out : ndarrays of intp
        Row numbers, ascending; together every row once.

    Raises
    ------
    ShelfmarkError
        When `held_out` would leave one side empty.
    """
    rows = len(labels)
    inside = 0 < held_out < 1 if isinstance(held_out, float) else 1 <= held_out < rows
    if not inside or rows < 2:
        raise ShelfmarkError(
            f"{held_out} of {rows} rows held out: hold out a part above 0 and below 1, or at least 1 row but not all"
        )
    size = min(max(round(rows * held_out), 1), rows - 1) if isinstance(held_out, float) else held_out
    codes, counts = _classes(labels)
    order, place = _shuffled_by_class(codes, counts, seed)
    spare, last = order[place > 0], order[place == 0]
    chosen = np.concatenate(
        [_systematic(spare, min(size, len(spare)), seed), _systematic(last, size - len(spare), seed)]
    )
    train = np.ones(rows, dtype=np.bool_)
    train[chosen] = False
    return np.flatnonzero(train), np.sort(chosen)


def reduce_by_retailer(products: Products, *, threshold: float = 0.9) -> Rows:
    """Choose one row of each set of near-duplicates: same retailer, same label, nearly the same text.

    Texts are compared in lower case and without digits, spaces and signs, by the normalised indel similarity
    (rapidfuzz's ``ratio``). The first of a set stays; a later row goes when it is similar to one that stays. Sets of
    many different texts are compared within overlapping stretches of their alphabetical order, forwards and backwards
    (the multi-pass sorted neighbourhood of Hernandez and Stolfo, 'The merge/purge problem for large databases', 1995),
    so the time grows with rows times the logarithm of rows; there, a few near-duplicates may stay.

    Parameters
    ----------
    products : Products
        With labels. Rows without a retailer count as those of one retailer.
    threshold : float
        The least similarity at which two texts are the same, above 0; at 1 only equal texts are.

    Returns
    -------
    ndarray of intp
        Numbers of the rows that stay, ascending.

    Raises
    ------
    ShelfmarkError
        When the products have no labels or `threshold` is not in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ShelfmarkError(f"threshold {threshold}: a similarity is above 0 and at most 1")
    # The first row of each distinct text, by retailer and label: equal texts need no comparing.
    groups: dict[Hashable, dict[str, int]] = defaultdict(dict)
    for row, (retailer, path, text) in enumerate(
        zip(products.retailers, products.require_labels(), products.texts, strict=True)
    ):
        lower = text.casefold()
        groups[retailer, path].setdefault(_NOT_LETTERS.sub("", lower) or lower, row)
    kept: list[int] = []
    for texts in groups.values():
        kept += _leaders(list(texts), list(texts.values()), threshold) if len(texts) > 1 else texts.values()
    return np.sort(np.array(kept, dtype=np.intp))


def _classes(labels: Sequence[LabelPath]) -> tuple[Rows, NDArray[np.int64]]:
    """Return the class of each row, numbered in the order of the paths, and the rows of each class."""
    if not len(labels):
        raise ShelfmarkError("there are no labels to sample from")
    numbers = {path: number for number, path in enumerate(sorted(set(labels)))}
    codes = np.fromiter((numbers[path] for path in labels), dtype=np.intp, count=len(labels))
    return codes, np.bincount(codes).astype(np.int64)


def _shuffled_by_class(codes: Rows, counts: NDArray[np.int64], seed: int) -> tuple[Rows, Rows]:
    """Return the rows in the order of their classes, shuffled within, and each one's place in its class, from 0."""
    order = np.lexsort((np.random.default_rng(seed).random(len(codes)), codes))
    starts = np.cumsum(counts) - counts
    return order, np.arange(len(codes)) - starts[codes[order]]


def _allocation(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return how many of `size` rows each class gets: at least 1, at most all, in proportion as far as that allows."""
    single = np.zeros(len(counts), dtype=np.bool_)
    # A class raised to one row leaves less for the others, which may bring the next below one.
    while True:
        left = size - int(single.sum())
        quota = np.where(single, 1.0, left * (counts / max(int(counts[~single].sum()), 1)))
        below = ~single & (quota < 1.0)
        if not below.any():
            break
        single |= below
    wanted = np.floor(quota).astype(np.int64)
    by_remainder = np.lexsort((np.arange(len(counts)), -counts, wanted - quota))
    wanted[by_remainder[: size - int(wanted.sum())]] += 1
    return wanted


def _systematic(rows: Rows, size: int, seed: int) -> Rows:
    """Return `size` of the rows, evenly spaced from a random start."""
    if size <= 0:
        return rows[:0]
    start = int(np.random.default_rng([seed, 1]).random() * len(rows))
    return rows[(np.arange(size) * len(rows) + start) // size]


def _leaders(texts: list[str], rows: list[int], threshold: float) -> Iterator[int]:
    """Yield the rows whose text is not similar to that of an earlier row that stays."""
    similar: list[set[int]] = [set() for _ in texts]
    numbers = list(range(len(texts)))
    orders = [numbers]
    if len(texts) > STRETCH:
        orders = [
            sorted(numbers, key=texts.__getitem__),
            sorted(numbers, key=[text[::-1] for text in texts].__getitem__),
        ]
    for order in orders:
        for start in range(0, max(len(order) - STRETCH // 2, 1), STRETCH // 2):
            stretch = order[start : start + STRETCH]
            compared = [texts[number] for number in stretch]
            scores: NDArray[Any] = process.cdist(compared, compared, scorer=fuzz.ratio, score_cutoff=100 * threshold)
            for first, second in np.argwhere(np.triu(scores, 1) > 0).tolist():
                early, late = sorted((stretch[first], stretch[second]))
                similar[late].add(early)
    stays = [True] * len(texts)
    for number, row in enumerate(rows):
        stays[number] = not any(stays[earlier] for earlier in similar[number])
        if stays[number]:
            yield row
