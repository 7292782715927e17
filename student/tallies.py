"""Counts over the training rows: of labels, of prices and of shops with labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from student.centroids import add_up
from student.features import Matrix, cents
from student.labels import Counts, Ids, LabelSpace, Targets
from student.ridge import Scores

Arrays = dict[str, NDArray[np.generic]]
TABLES = ("pairs", "in_parent", "in_top", "price_upper", "price_last", "price", "shop_upper", "shop_last", "shop_pair")
CENTS_RANGE = np.int64(1) << 34  # above any price in hundredths


def shop_key(shop: Ids, number: Ids) -> Ids:
    """Return one number for a shop and a class (the number of a class is below 2**40)."""
    return (shop + 1) * (np.int64(1) << 40) + number


@dataclass
class PriceSums:
    """Per class: weight, sum of standardised log price, sum of its square, over rows with a price."""

    table: NDArray[np.float32]  # (classes, 3)

    @classmethod
    def of(cls, classes: Ids, weight: Scores, price: Scores, count: int) -> PriceSums:
        """Add up over rows: their classes, weights and standardised log prices (NaN where unknown)."""
        known = np.where(np.isfinite(price), weight, 0)
        value = np.nan_to_num(price)
        columns = [np.bincount(classes, known * value**power, minlength=count) for power in (0, 1, 2)]
        return cls(np.stack(columns, axis=1).astype(np.float32))

    def fit_of(self, classes: Ids, price: Scores, own: Scores) -> tuple[Scores, Scores]:
        """Return the log density of the price among the class's, and its distance from their mean; 0 if unknown."""
        sums = self.table[classes]
        value = np.nan_to_num(price)
        count = np.maximum(sums[..., 0] - own, 0)
        mean = (sums[..., 1] - own * value) / (count + 0.5)
        square = sums[..., 2] - own * value**2
        spread = np.maximum(square - 2 * mean * sums[..., 1] + 2 * mean * own * value + mean**2 * count, 0)
        variance = (spread + 0.6) / (count + 2)
        known = np.isfinite(price) & (count > 1e-6)
        fit = -((value - mean) ** 2) / (2 * variance) - 0.5 * np.log(variance)
        return np.where(known, fit, np.float32(0)), np.where(known, value - mean, np.float32(0))


def tally(prices: NDArray[np.float64], retailers: Ids, encoded: Matrix, targets: Targets, space: LabelSpace) -> Arrays:
    """Count the training rows.

    Parameters
    ----------
    prices : ndarray of float64, shape (rows,)
        NaN where unknown.
    retailers : ndarray of int64, shape (rows,)
        -1 where unknown.
    encoded : csr_matrix, shape (rows, buckets)
        The rows, encoded.
    targets : Targets
        The rows' labels.
    space : LabelSpace
        The classes.

    Returns
    -------
    dict of str to ndarray
        For each of `TABLES` the sorted ``_keys`` and their ``_values``; ``total_`` weights, ``sums_`` of prices and
        ``middle_`` sums of sketches by class; ``price_scale``: mean and standard deviation of log prices.
    """
    slots = targets.weight.shape[1]
    weight = targets.weight.reshape(-1)
    upper, last = targets.upper.reshape(-1), targets.last.reshape(-1)
    lasts = np.int64(len(space.lasts))
    price, shop = np.repeat(cents(prices), slots), np.repeat(retailers, slots)
    pair = space.key(upper, last)
    keys = {
        "pairs": pair,
        "in_parent": space.parent[upper] * lasts + last,
        "in_top": space.top[upper] * lasts + last,
        "price_upper": upper * CENTS_RANGE + price,
        "price_last": last * CENTS_RANGE + price,
        "price": price,
        "shop_upper": shop_key(shop, upper),
        "shop_last": shop_key(shop, last),
        "shop_pair": shop_key(shop, pair),
    }
    used = weight > 0
    arrays: Arrays = {}
    for name, key in keys.items():
        table = Counts.of(key[used], weight[used])
        arrays[f"{name}_keys"], arrays[f"{name}_values"] = table.keys, table.values
    seen = Counts(arrays["pairs_keys"], arrays["pairs_values"])  # type: ignore[arg-type]
    place = np.maximum(seen.place(pair), 0)
    logs = np.log(np.maximum(prices, 0.01))
    known = logs[np.isfinite(logs)]
    scale = np.array([known.mean(), known.std() + 1e-6] if len(known) else [0, 1], dtype=np.float32)
    arrays["price_scale"] = scale
    standard = np.repeat(((logs - scale[0]) / scale[1]).astype(np.float32), slots)
    shops = int(retailers.max(initial=-1)) + 1
    arrays["total_shop"] = np.bincount(retailers[retailers >= 0], minlength=max(shops, 1)).astype(np.float32)
    classes = {"upper": (upper, len(space.uppers)), "last": (last, len(space.lasts)), "pair": (place, len(seen.keys))}
    for kind, (number, count) in classes.items():
        arrays[f"total_{kind}"] = np.bincount(number, weight, count).astype(np.float32)
        arrays[f"sums_{kind}"] = PriceSums.of(number, weight, standard, count).table
    return arrays | {f"middle_{kind}": total for kind, total in add_up(encoded, targets, space, seen).items()}
