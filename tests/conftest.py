"""What tests of several floors share: small products with retailers, prices and brands, and files of them."""

import functools
import math
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from catalog.product_files import write_products
from catalog.products import Products
from catalog.sample import sample_products
from catalog.schema import PRESETS, Schema

# No time limits: a busy machine is not a bug. The same examples each time: a failure in CI is one on a desk.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def _read_certificates_once() -> Iterator[None]:
    """Have all clients share the certificates, which take longer to read than a small server to answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let what tests name be remembered elsewhere than in the home of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


SCHEMA = PRESETS["indoml"]
TRAIN_ROWS, TEST_ROWS = 260, 90


@dataclass(frozen=True)
class Shop:
    """Sample products, in memory and as files.

    `folder` holds ``train.features``, ``train.labels`` and ``test.features``; ``folder/known`` the same test products
    with their labels beside them.
    """

    schema: Schema
    train: Products
    test: Products
    folder: Path

    @property
    def train_file(self) -> Path:
        return self.folder / "train.features"

    @property
    def test_file(self) -> Path:
        return self.folder / "test.features"

    @property
    def known(self) -> Path:
        return self.folder / "known" / "test.features"


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    (rows,) = sample_products(TRAIN_ROWS + TEST_ROWS)
    train, test = rows.take(range(TRAIN_ROWS)), rows.take(range(TRAIN_ROWS, len(rows)))
    # What real files have, too: no retailer, no price, no text, a retailer that training never saw.
    test.retailers[:3] = ["", "", "a shop never seen"]
    test.prices[2:5] = math.nan
    test.columns[SCHEMA.text[0]][5] = ""
    folder = tmp_path_factory.mktemp("shop")
    write_products(folder, "train", [train], SCHEMA)
    write_products(folder / "known", "test", [test], SCHEMA)
    bare = Products(test.ids, test.columns, test.retailers, test.prices)
    write_products(folder, "test", [bare], SCHEMA)
    return Shop(SCHEMA, train, test, folder)


MakeProducts = Callable[[Sequence[tuple[str, str, float, str]]], Products]


@pytest.fixture(scope="session")
def make_products() -> MakeProducts:
    """Make products of (text, retailer, price, label) with labels written ``supergroup__group__module__brand``."""

    def make(rows: Sequence[tuple[str, str, float, str]]) -> Products:
        return Products(
            ids=list(range(len(rows))),
            columns={SCHEMA.text[0]: [row[0] for row in rows]},
            retailers=[row[1] for row in rows],
            prices=np.array([row[2] for row in rows], dtype=np.float64),
            labels=[tuple(row[3].split("__")) for row in rows],
        )

    return make
