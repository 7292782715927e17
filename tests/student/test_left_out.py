"""What a left-out training row meets is what a new row meets."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from catalog.products import Products
from catalog.schema import PRESETS
from student import TreeClassifier

pytestmark = pytest.mark.filterwarnings("error")

ONE_LEVEL = replace(PRESETS["indoml"], levels=("shelf",))
KINDS = [f"{first}{second}" for first in ("bel", "kor", "min", "tas", "ver") for second in ("ato", "ick", "une", "ysa")]
ADDED = [f"{first}{second}" for first in ("ab", "ec", "id", "ol", "um") for second in ("ner", "pad", "sti", "wog")]


def listings(products: int, *, twice: float, seed: int) -> tuple[Products, np.ndarray]:
    """Return products of five shops, and the number of each; of one shop a share is listed twice, by other labels."""
    chance = random.Random(seed)
    rows = []
    for number in range(products):
        kind = chance.choice(KINDS)
        text = f"{kind} {chance.choice(ADDED)} {chance.choice(ADDED)} {chance.randrange(10_000)}g"
        label = kind if chance.random() < 0.8 else chance.choice(KINDS)
        shop, price = f"shop{number % 5}", 1.0 + number % 7
        rows.append((number, text, shop, price, label))
        if shop == "shop0" and chance.random() < twice:
            other = chance.choice([one for one in KINDS if one != label])
            rows.append((number, text, shop, price, other))
    numbers, texts, shops, prices, labels = (list(column) for column in zip(*rows, strict=True))
    made = Products(
        list(range(len(rows))), {"description": texts}, shops, np.array(prices), [(label,) for label in labels]
    )
    return made, np.array(numbers)


def halves(products: Products, chosen: np.ndarray) -> tuple[Products, Products]:
    return products.take(np.flatnonzero(~chosen)), products.take(np.flatnonzero(chosen))


def told(fitted: TreeClassifier, products: Products) -> tuple[np.ndarray, np.ndarray]:
    found = fitted.predict(products)
    right = [paths[0] == label for paths, label in zip(found.paths, products.require_labels(), strict=True)]
    return found.probabilities[:, 0], np.array(right)


def test_a_shop_that_lists_products_twice_is_promised_what_is_kept() -> None:
    products, _ = listings(2000, twice=0.6, seed=2)
    train, new = halves(products, np.random.default_rng(3).random(len(products)) < 0.3)
    fitted = TreeClassifier.fit(train, ONE_LEVEL)
    confidence, right = told(fitted, new)
    assert abs(confidence.mean() - right.mean()) < 0.06
    seen = np.array([Counter(train.texts)[text] > 0 for text in new.texts])
    assert seen.sum() > 50
    assert abs(confidence[seen].mean() - right[seen].mean()) < 0.12
    mine = np.array(new.retailers) == "shop0"
    assert abs(confidence[mine].mean() - right[mine].mean()) < 0.1
