"""Sample data in the datathon's shape: receipt-like products, from an invented market or from a taxonomy's paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catalog.abbreviate import mistype
from catalog.errors import ShelfmarkError
from catalog.files import atomic_write
from catalog.invented_market import invented_market
from catalog.market import Market
from catalog.messages import RowId
from catalog.mixing import mix, stable_hash, uniform
from catalog.product_files import write_features, write_labels
from catalog.products import Products
from catalog.schema import PRESETS, Schema
from catalog.taxonomy import Taxonomy
from catalog.taxonomy_market import taxonomy_market

FILES = ("train.features", "train.labels", "test.features", "test.labels", "taxonomy.csv")
BLOCK_ROWS = 4096
NO_RETAILER = 0.005
NO_PRICE = 0.01
MISTYPED = 0.08
PROMOTED = 0.08
# A shelf's nouns, kinds and sizes are drawn as n * u ** SKEW: the first of them often, the last seldom. A brand has
# few pack sizes in a module, so that its price says something.
SKEW = (2.2, 2.2, 4.0)


def write_sample(
    out: str | Path,
    *,
    rows: int,
    test_rows: int,
    schema: Schema = PRESETS["indoml"],
    taxonomy: Taxonomy | None = None,
    seed: int = 0,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write sample data into a folder: train and test, both with labels, and the taxonomy.

    The folder gets ``train.features``, ``train.labels``, ``test.features``, ``test.labels`` (the datathon keeps these
    back; here they are written so that accuracy can be measured) and ``taxonomy.csv`` (every path that can occur, by
    retailer). Other files are left alone; all five appear at the end, or none. The same arguments give the same bytes.
    Memory does not grow with the rows.

    Parameters
    ----------
    out : str or Path
        The folder; made where it is not there.
    rows, test_rows : int
        Rows of train and test, at least 1 each. Ids run from 0 through train, then on through test. Both come from one
        distribution, so some test paths never occur in train. More rows begin with the same rows.
    schema : Schema
        The columns to write. It has one text column and, without a taxonomy, four levels.
    taxonomy : Taxonomy, optional
        Real paths instead of the invented ones: texts are made of the words of the path.
    seed : int
        0 or more.
    force : bool
        Replace files of these names, which may be somebody's own data.
    progress : callable, optional
        Told after each block how many more rows are written.

    Raises
    ------
    ShelfmarkError
        When the arguments cannot give sample data, `out` is not a folder, or a file of these names is there.
    """
    out = Path(out)
    _check(rows=rows, test_rows=test_rows)
    market = _market(schema, taxonomy, seed)
    if out.exists() and not out.is_dir():
        raise ShelfmarkError(f"{out}: not a folder; name one that the sample may be written to")
    there = [name for name in FILES if (out / name).exists()]
    if there and not force:
        raise ShelfmarkError(f"{out / there[0]}: it is there; name another folder, or replace it with --force")
    with ExitStack() as stack:
        if not out.exists():
            stack.callback(_remove_if_empty, out)
        for name, start, stop in (("train", 0, rows), ("test", rows, rows + test_rows)):
            features = stack.enter_context(atomic_write(out / f"{name}.features"))
            labels = stack.enter_context(atomic_write(out / f"{name}.labels"))
            for block in _rows(market, schema, start, stop):
                write_features(features, block, schema)
                write_labels(labels, block, schema)
                if progress is not None:
                    progress(len(block))
        (taxonomy or market.taxonomy()).write(out / "taxonomy.csv")


def sample_products(
    rows: int,
    *,
    start: int = 0,
    schema: Schema = PRESETS["indoml"],
    taxonomy: Taxonomy | None = None,
    seed: int = 0,
) -> Iterator[Products]:
    """Yield sample products with labels, in blocks of up to 4,096 rows: what `write_sample` writes.

    Parameters
    ----------
    rows : int
        How many, at least 1.
    start : int
        The first row, which is also its id: a sample of N rows goes on with `start` = N.
    schema, taxonomy, seed
        As in `write_sample`.

    Raises
    ------
    ShelfmarkError
        When the arguments cannot give sample data.
    """
    _check(rows=rows)
    return _rows(_market(schema, taxonomy, seed), schema, start, start + rows)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _check(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ShelfmarkError(f"--{name.replace('_', '-')} {count}: a sample has at least 1 row; ask for more")


def _market(schema: Schema, taxonomy: Taxonomy | None, seed: int) -> Market:
    if seed < 0:
        raise ShelfmarkError(f"--seed {seed}: the seed must be 0 or more")
    if len(schema.text) != 1:
        raise ShelfmarkError(
            f"schema '{schema.name}': sample products have one text, this schema has {len(schema.text)} text columns"
        )
    if taxonomy is not None:
        if taxonomy.levels != schema.levels:
            raise ShelfmarkError(
                f"schema '{schema.name}': its levels are {', '.join(schema.levels)}, "
                f"those of the taxonomy {', '.join(taxonomy.levels)}; read the taxonomy with the same schema"
            )
        return taxonomy_market(taxonomy, seed)
    if len(schema.levels) != 4:
        raise ShelfmarkError(
            f"schema '{schema.name}': the invented products have 4 levels, like {PRESETS['indoml'].joined}, "
            f"this schema has {len(schema.levels)}; give a --taxonomy with its levels"
        )
    return invented_market(schema.levels, seed)


def _rows(market: Market, schema: Schema, start: int, stop: int) -> Iterator[Products]:
    # Each block has its own stream of random numbers, so a row depends on its number and the seed alone.
    for number in range(start // BLOCK_ROWS, (stop - 1) // BLOCK_ROWS + 1):
        first = number * BLOCK_ROWS
        block = _block(market, schema, number)
        if first < start or first + BLOCK_ROWS > stop:
            block = block.take(range(max(start - first, 0), min(stop - first, BLOCK_ROWS)))
        yield block


def _block(market: Market, schema: Schema, number: int) -> Products:
    """Draw a whole block. Only uniform numbers are drawn, whose stream is the same in every release of numpy."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([market.seed, number])))
    draws = generator.random((10, BLOCK_ROWS))
    shop = np.searchsorted(np.cumsum(market.shares)[:-1], draws[0], side="right")
    shelf = np.empty(BLOCK_ROWS, dtype=np.int64)
    own = np.empty(BLOCK_ROWS, dtype=np.bool_)
    for row, seller in enumerate(market.shops):
        here = np.flatnonzero(shop == row)
        place = np.searchsorted(market.reach[row][:-1], draws[1, here], side="right")
        shelf[here], own[here] = seller.shelves[place], seller.own[place]
    counts = market.choices[shelf]
    shelf_key = mix(shelf.astype(np.uint64), stable_hash(market.seed, "shelf"))
    chosen = np.empty_like(counts)
    for part in range(3):
        # Each shelf has another first noun: brands of one module do not all sell the same thing.
        turn = (mix(shelf_key, part) % counts[:, part].astype(np.uint64)).astype(np.int64)
        chosen[:, part] = (turn + (counts[:, part] * draws[2 + part] ** SKEW[part]).astype(np.int64)) % counts[:, part]
    product = mix(shelf_key, chosen[:, 0].astype(np.uint64), chosen[:, 1].astype(np.uint64))
    line = mix(product, chosen[:, 2].astype(np.uint64), shop.astype(np.uint64))
    prices = _prices(market, shop, shelf, chosen[:, 2], counts[:, 2], product, line, draws[5])
    prices[draws[6] < NO_PRICE] = np.nan
    texts = []
    for row, (seller_row, shelf_row, is_own, (noun, kind, size), choice) in enumerate(
        zip(shop.tolist(), shelf.tolist(), own.tolist(), chosen.tolist(), line.tolist(), strict=True)
    ):
        goods = market.shelves[shelf_row]
        text = market.tills[seller_row].write(
            goods.brand, is_own, goods.kinds[kind], goods.nouns[noun], goods.sizes[size], choice
        )
        texts.append(mistype(text, draws[8, row]) if draws[7, row] < MISTYPED else text)
    nowhere = draws[9] < NO_RETAILER
    ids: list[RowId] = list(range(number * BLOCK_ROWS, (number + 1) * BLOCK_ROWS))
    return Products(
        ids=ids,
        columns={schema.text[0]: texts},
        retailers=[
            "" if lost else market.shops[row].name for row, lost in zip(shop.tolist(), nowhere.tolist(), strict=True)
        ],
        prices=prices,
        labels=[market.shelves[row].path for row in shelf.tolist()],
    )


def _prices(
    market: Market,
    shop: NDArray[np.int64],
    shelf: NDArray[np.int64],
    size: NDArray[np.int64],
    sizes: NDArray[np.int64],
    product: NDArray[np.uint64],
    line: NDArray[np.uint64],
    draw: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the price of each row: one for a product in a shop, but for promotions."""
    low, high = market.log_prices[shelf].T
    step = np.where(sizes > 1, size / np.maximum(sizes - 1, 1), 0.5)
    log_price = low + (high - low) * step + 0.3 * (uniform(product) - 0.5) + 0.15 * (uniform(line) - 0.5)
    level = np.array([seller.price for seller in market.shops])[shop]
    ending = np.array([seller.ending for seller in market.shops])[shop]
    price = np.exp(log_price) * level * np.where(draw < PROMOTED, 0.75, 1.0)
    tenths = np.maximum(np.round(price * 10), 1)
    # An ending of 9 is a cent below the full ten, any other stands above it.
    cents = np.where(ending == 9, tenths * 10 - 1, tenths * 10 + ending)
    result: NDArray[np.float64] = np.round(cents / 100, 2)
    return result
