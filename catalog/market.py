"""A market: shops, what each of them sells, and how often. What sample products are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.abbreviate import HouseStyle, Till
from catalog.messages import LabelPath
from catalog.mixing import stable_hash
from catalog.taxonomy import Taxonomy

LARGEST_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Shelf:
    """A label path, with what may be written on its products and what they cost.

    Parameters
    ----------
    path : label path
        The label of every product on the shelf.
    brand : str
        The brand as it may be printed; an empty string for never.
    nouns, kinds, sizes : tuple of str
        What a product is called, its varieties, and its pack sizes, smallest first; each has at least one value.
    low, high : float
        The price of the smallest and of the largest pack, in the currency of the market.
    """

    path: LabelPath
    brand: str
    nouns: tuple[str, ...]
    kinds: tuple[str, ...]
    sizes: tuple[str, ...]
    low: float
    high: float


@dataclass(frozen=True)
class Shop:
    """A shop and its assortment.

    Parameters
    ----------
    name : str
        As it stands in the retailer column.
    style : HouseStyle
        How its till writes.
    price : float
        The level of its prices; 1 is the market's.
    ending : int
        The last digit of most of its prices.
    shelves : ndarray of int64, shape (shelves sold,)
        Which of the market's shelves it sells.
    weights : ndarray of float64, shape (shelves sold,)
        How often, relative to each other; all above 0.
    own : ndarray of bool, shape (shelves sold,)
        Which of them are its own brands.
    """

    name: str
    style: HouseStyle
    price: float
    ending: int
    shelves: NDArray[np.int64]
    weights: NDArray[np.float64]
    own: NDArray[np.bool_]


class Market:
    """Shops and shelves, ready to be drawn from.

    Parameters
    ----------
    levels : tuple of str
        The names of the levels.
    shelves : sequence of Shelf
        Every label path once.
    shops : sequence of Shop
        The largest first.
    seed : int
        Decides which words each till shortens, and every price.
    """

    def __init__(self, levels: tuple[str, ...], shelves: Sequence[Shelf], shops: Sequence[Shop], seed: int) -> None:
        self.levels, self.shelves, self.shops, self.seed = levels, shelves, shops, seed
        self.tills = [Till(shop.style, stable_hash(seed, "till", shop.name)) for shop in shops]
        self.shares = shares(len(shops))
        self.reach = [np.cumsum(shop.weights) / shop.weights.sum() for shop in shops]
        self.choices = np.array([[len(s.nouns), len(s.kinds), len(s.sizes)] for s in shelves], dtype=np.int64)
        self.log_prices = np.log(np.array([[shelf.low, shelf.high] for shelf in shelves], dtype=np.float64))

    def taxonomy(self) -> Taxonomy:
        """Return the label paths that the shops sell, each counted once for each shop that sells it."""
        retailers: dict[str, Mapping[LabelPath, int]] = {}
        counts: dict[LabelPath, int] = {}
        for shop in self.shops:
            paths = [self.shelves[shelf].path for shelf in shop.shelves]
            retailers[shop.name] = dict.fromkeys(paths, 1)
            for path in paths:
                counts[path] = counts.get(path, 0) + 1
        return Taxonomy(self.levels, counts, retailers)


def shares(shops: int) -> NDArray[np.float64]:
    """Return the shops' shares of the rows, which sum to 1: 1 / (rank + 2), the largest at most 15%.

    With fewer than 7 shops, which cannot all stay below 15%, they are equal.
    """
    raw = 1.0 / np.arange(3, shops + 3, dtype=np.float64)
    result: NDArray[np.float64] = raw / raw.sum()
    if shops * LARGEST_SHARE <= 1.0:
        return np.full(shops, 1.0 / shops)
    # What the cap takes from the largest goes to the others, some of which may then reach it, too.
    for _ in range(shops):
        over = result >= LARGEST_SHARE
        result[over] = LARGEST_SHARE
        result[~over] *= (1.0 - LARGEST_SHARE * over.sum()) / result[~over].sum()
        if result.max() <= LARGEST_SHARE:
            break
    return result
