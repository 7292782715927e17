"""What the retailer and the price are worth to `tree`: fits with and without them, on the same rows.

    python benchmarks/tree_inputs.py

On data that `classify sample` makes (20,000 training rows, 2,000 test rows), where both carry information, and on the
real sets in $SHELFMARK_DATA, which have one retailer each.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from catalog.messages import LabelPath
from catalog.products import Products, read_products
from catalog.sample import write_sample
from catalog.schema import PRESETS
from measure.accuracy import item_accuracy, paired_difference
from student import TreeClassifier

SCHEMA = PRESETS["indoml"]


def without(products: Products, retailer: bool, price: bool) -> Products:
    """Return the products without the retailer or the price."""
    if retailer:
        products = replace(products, retailers=[""] * len(products))
    return replace(products, prices=np.full(len(products), np.nan)) if price else products


def answers(train: Products, test: Products) -> list[LabelPath]:
    """Fit and predict."""
    return [paths[0] for paths in TreeClassifier.fit(train, SCHEMA).predict(test).paths]


def main() -> None:
    with TemporaryDirectory() as scratch:
        write_sample(Path(scratch) / "sample", rows=20_000, test_rows=2_000)
        places = [(Path(scratch) / "sample", "test")]
        if root := os.environ.get("SHELFMARK_DATA"):
            places += [(Path(root) / name, "dev") for name in ("coles", "receipts", "bigbasket")]
        else:
            print("SHELFMARK_DATA is not set: only made-up data")
        print("| data | text, retailer, price | without retailer | without price | text alone |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for folder, name in places:
            train = read_products(folder / "train.features", SCHEMA, labels=True)
            test = read_products(folder / f"{name}.features", SCHEMA, labels=True)
            truth, whole = test.require_labels(), answers(train, test)
            cells = [f"{item_accuracy(truth, whole):.4f}"]
            for gone in ((True, False), (False, True), (True, True)):
                less = answers(without(train, *gone), without(test, *gone))
                gain = paired_difference(truth, whole, less)
                cells.append(f"{item_accuracy(truth, less):.4f} (gain {gain.low:+.4f} to {gain.high:+.4f})")
            print(f"| {folder.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
