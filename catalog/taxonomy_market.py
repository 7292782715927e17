"""A market made of a taxonomy alone: all that is known of a product is the words of its label path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from catalog.abbreviate import plain_words
from catalog.invented_market import house_style, market_tables
from catalog.market import Market, Shelf, Shop
from catalog.messages import LabelPath
from catalog.mixing import mix, stable_hash, uniform
from catalog.schema import SEPARATOR
from catalog.taxonomy import Taxonomy

# Where the file has no counts, a path's rows fall with its rank as rank ** -TAIL.
TAIL = 0.9


def taxonomy_market(taxonomy: Taxonomy, seed: int) -> Market:
    """Return a market with the taxonomy's label paths.

    Its shops are the taxonomy's retailers, the one with the most products first, each with its own paths, or else the
    invented ones, each with a part of the paths. A brand that begins with its shop's name is the shop's own.

    Parameters
    ----------
    taxonomy : Taxonomy
        Where it has counts above 1, they are the paths' weights; else the weights fall as a power of a random rank.
    seed : int
        Decides ranks, prices, and what is abbreviated how.
    """
    data = market_tables()
    keys = np.array([stable_hash(seed, SEPARATOR.join(path)) for path in taxonomy.paths], dtype=np.uint64)
    shelves = _shelves(taxonomy.paths, seed)
    ranks = np.empty(len(keys), dtype=np.float64)
    ranks[np.argsort(keys, kind="stable")] = np.arange(1, len(keys) + 1)
    popularity = ranks**-TAIL
    row_of = {path: row for row, path in enumerate(taxonomy.paths)}
    styles = list(data["shops"].items())
    retailers: Mapping[str, Mapping[LabelPath, int]] = {
        name: paths for name, paths in taxonomy.retailers.items() if name
    }
    names = sorted(retailers, key=lambda name: (-sum(retailers[name].values()), name)) or list(data["shops"])
    shops = []
    for rank, name in enumerate(names):
        lender, values = styles[rank % len(styles)]
        style = house_style(values)
        if name != lender:
            letters = "".join(plain_words(name)) or name
            style = replace(style, code=letters[0] + letters[len(letters) // 2] if style.code else "")
        shop_key = stable_hash(seed, name)
        sold: NDArray[np.int64]
        if name in retailers:
            counted = retailers[name]
            sold = np.sort(np.fromiter((row_of[path] for path in counted), dtype=np.int64, count=len(counted)))
            counts = np.array([counted[taxonomy.paths[row]] for row in sold], dtype=np.float64)
        else:
            sold = np.flatnonzero(uniform(mix(keys, shop_key)) < values["brands"]).astype(np.int64)
            sold = sold if len(sold) else np.arange(len(keys), dtype=np.int64)
            counts = np.array([taxonomy.counts[taxonomy.paths[row]] for row in sold], dtype=np.float64)
        # Without counts, each shop has its own best sellers among the popular paths.
        tilt = np.exp(2.0 * uniform(mix(keys[sold], shop_key, 1)))
        shops.append(
            Shop(
                name=name,
                style=style,
                price=values["price"],
                ending=values["ending"],
                shelves=sold,
                weights=counts if counts.max() > 1 else popularity[sold] * tilt,
                own=np.array([taxonomy.paths[row][-1].startswith(name) for row in sold], dtype=np.bool_),
            )
        )
    return Market(taxonomy.levels, shelves, shops, seed)


def _shelves(paths: list[LabelPath], seed: int) -> list[Shelf]:
    """Return a shelf for each path: words of the level above the brand, price of the module times the brand's."""
    data = market_tables()["from_file"]
    silent, nameless = set(data["silent"]), set(data["nameless"])
    modules: dict[LabelPath, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], float, float]] = {}
    shelves = []
    for path in paths:
        module = path[:-1] or path
        if module not in modules:
            key = stable_hash(seed, "module", *module)
            kinds = _some(data["kinds"], 8, key)
            sizes = tuple(sorted(_some(data["sizes"], 4, key + 1), key=data["sizes"].index))
            low = 0.5 * 16.0 ** ((key % 1024) / 1024)
            spread = 1.5 + 4.0 * ((key >> 10) % 1024) / 1024
            modules[module] = (_nouns(module, silent), kinds, sizes, low, low * spread)
        nouns, kinds, sizes, low, high = modules[module]
        brand = path[-1] if len(path) > 1 else ""
        words = plain_words(brand)
        factor = 0.6 * 3.0 ** (stable_hash(seed, "brand", brand) * 2.0**-64)
        silent_brand = not words or words[0] in nameless
        shelves.append(Shelf(path, "" if silent_brand else brand, nouns, kinds, sizes, low * factor, high * factor))
    return shelves


def _nouns(module: LabelPath, silent: set[str]) -> tuple[str, ...]:
    """Return what a product of the module may be called: its telling words, alone and in pairs."""
    for level in reversed(module):
        words = list(dict.fromkeys(word for word in plain_words(level) if word not in silent and not word.isdigit()))
        if words:
            pairs = [f"{first} {second}" for first, second in pairwise(words)]
            return (*words[:4], *pairs[:3])
    return (module[-1],)


def _some(values: list[str], count: int, key: int) -> tuple[str, ...]:
    """Return `count` of the values, in an order that the key decides."""
    order = np.argsort(mix(np.arange(len(values), dtype=np.uint64), key % 2**64), kind="stable")
    return tuple(values[row] for row in order[:count])
