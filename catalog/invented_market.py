"""The market that shelfmark invents: modules, brands and shops of `sample_taxonomy.toml`."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from catalog.abbreviate import HouseStyle
from catalog.market import Market, Shelf, Shop
from catalog.messages import LabelPath
from catalog.mixing import mix, stable_hash, uniform

# A brand's rows fall with its rank in the module as rank ** -FAME.
FAME = 1.3
# A module's rows grow with its share as share ** STEEPNESS: real shelves have a longer tail than a hand writes down.
STEEPNESS = 1.4
# The part of the modules in which a shop's own brands are found: its first one, and any further one.
OWN_BREADTH = (0.85, 0.4)
# How much a shop's assortment differs from the market's: the standard deviation of the logarithm of a weight.
TILT = 0.7


@dataclass(frozen=True)
class Brand:
    """A brand of a module: its name, its factor on the module's price, and its weight among the module's brands."""

    name: str
    price: float
    weight: float


@cache
def market_tables() -> dict[str, Any]:
    """Return the tables of `sample_taxonomy.toml`."""
    return tomllib.loads(files("catalog").joinpath("sample_taxonomy.toml").read_text(encoding="utf-8"))


def house_style(shop: dict[str, Any]) -> HouseStyle:
    """Return the house style that a shop of the file has."""
    return HouseStyle(**{field.name: shop[field.name] for field in fields(HouseStyle)})


def invented_market(levels: tuple[str, ...], seed: int) -> Market:
    """Return the invented market: four levels, some 4,700 label paths, 24 shops.

    Parameters
    ----------
    levels : tuple of str
        The names of the four levels.
    seed : int
        Decides which shop stocks which brand, and what is abbreviated how.
    """
    data = market_tables()
    nameless = set(data["from_file"]["nameless"])
    modules: dict[LabelPath, dict[str, Any]] = {
        (supergroup, group, module): values
        for supergroup, groups in data["modules"].items()
        for group, members in groups.items()
        for module, values in members.items()
    }
    brands = _brands_by_module(data["brands"], list(modules))
    shelves: list[Shelf] = []

    def add(module: LabelPath, brand: str, price: float) -> int:
        values = modules[module]
        low, high = values["price"]
        shelves.append(
            Shelf(
                path=(*module, brand),
                brand="" if brand in nameless else brand,
                nouns=tuple(values["nouns"]),
                kinds=tuple(values["kinds"]),
                sizes=tuple(values["sizes"]),
                low=low * price,
                high=high * price,
            )
        )
        return len(shelves) - 1

    national = {module: [add(module, brand.name, brand.price) for brand in brands[module]] for module in modules}
    shops = []
    for name, shop in data["shops"].items():
        sold: list[tuple[int, float, bool]] = []
        kind = data["kinds"][shop["kind"]]
        for module, values in modules.items():
            weight = values["share"] ** STEEPNESS * kind.get(module[0], kind["other"])
            if weight == 0:
                continue
            stocked = [
                (shelf, brand.weight)
                for shelf, brand in zip(national[module], brands[module], strict=True)
                if _chance(seed, name, "stocks", brand.name) < shop["brands"]
            ]
            own = [
                (add(module, line, price), rank**-2.0)
                for rank, (line, price) in enumerate(shop["own"].items(), start=1)
                if _chance(seed, name, "makes", line, *module) < OWN_BREADTH[rank > 1]
            ]
            own_share = shop["own_share"] if stocked else 1.0
            for part, lines, is_own in ((own_share, own, True), (1.0 - own_share if own else 1.0, stocked, False)):
                total = sum(line_weight for _, line_weight in lines)
                sold += [(shelf, weight * part * line_weight / total, is_own) for shelf, line_weight in lines]
        shelf_rows = np.array([row[0] for row in sold], dtype=np.int64)
        bits = mix(shelf_rows.astype(np.uint64), stable_hash(seed, name, "tilt"))
        # The sum of four uniform numbers is near enough to a normal one, and the same on every machine.
        normal = sum((uniform(mix(bits, draw)) for draw in range(4)), start=-2.0) * 3.0**0.5
        shops.append(
            Shop(
                name=name,
                style=house_style(shop),
                price=shop["price"],
                ending=shop["ending"],
                shelves=shelf_rows,
                weights=np.array([row[1] for row in sold]) * np.exp(TILT * normal),
                own=np.array([row[2] for row in sold], dtype=np.bool_),
            )
        )
    return Market(levels, shelves, shops, seed)


def _brands_by_module(brands: dict[str, Any], modules: list[LabelPath]) -> dict[LabelPath, list[Brand]]:
    """Return the brands of each module: a brand sells the modules that it names, and those of the groups it names."""
    named: dict[str, list[LabelPath]] = defaultdict(list)
    for module in modules:
        for name in {module[1], module[2]}:
            named[name].append(module)
    result: dict[LabelPath, list[Brand]] = defaultdict(list)
    for brand, values in brands.items():
        # A brand is at its strongest in what it names first.
        strength: dict[LabelPath, float] = {}
        for rank, name in enumerate(values["sells"], start=1):
            for module in named[name]:
                strength.setdefault(module, 1.0 / rank)
        for module, factor in strength.items():
            fame = (len(result[module]) + 1.0) ** -FAME
            result[module].append(Brand(brand, values["price"], fame * factor))
    return result


def _chance(*key: object) -> float:
    return stable_hash(*key) * 2.0**-64
