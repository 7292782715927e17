"""Whether confidences hold, shop by shop, where one shop lists products several times: python benchmarks/calibration.py

    python benchmarks/calibration.py [--limit PRODUCTS] [--only NAME,...] [--methods NAME,...] [--tune]

Data: the product sets in $SHELFMARK_DATA. Of `coles`, the products are dealt out to five shops by a hash of their text,
and a part of shop0's products is listed a second time, under another label of the same group: with the same text
(exact), or with other case, word order or size (near). Rows are then split in two ways: at random (rows: a new row's
text may be in training) and by product (products: it is not). Train and dev are put together for this; with --tune,
train alone. Controls: the same without second listings, and the sets as they are, learned on train and asked on dev.

For each method: item accuracy of new rows, their mean confidence, calibration error (15 bins of as many rows each) with
its 95% bootstrap interval, in shop0, in the other shops and in all; then what the method itself claims of rows held out
in training, for shop0 and for all. Peers: logistic regression on the flat path over TF-IDF of 2 to 5 letters, its
temperature fitted on a fifth of training, drawn at random or by groups of near-duplicates.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.messages import LabelPath
from catalog.products import Products, join_products, read_products
from catalog.schema import PRESETS, Schema, load_schema
from measure.calibration import calibration_error_interval, expected_calibration_error

SCHEMA = PRESETS["indoml"]
SHOP = "shop0"
HELD_OUT_SHARE = 0.125  # of all rows, as dev is of train and dev
SIZE = re.compile(r"\d+")

Claims = dict[str, float]
"""What a method says of its own calibration error: of all rows, of `SHOP`."""
Answers = tuple[NDArray[np.float64], NDArray[np.bool_], Claims]
"""Of each new row its confidence and whether it is right, and the claims."""


@dataclass(frozen=True)
class Case:
    """One data set: how much of shop0 is listed twice (None: a set as it is), in which way, at which levels."""

    source: str
    twice: float | None = None
    near: bool = False
    depths: tuple[int, int] = (0, 4)
    split: str = "rows"

    @property
    def levels(self) -> slice:
        """Which levels."""
        return slice(*self.depths)


CASES = {
    "one level, exact, rows": Case("coles", 0.2, depths=(2, 3)),
    "one level, exact, products": Case("coles", 0.2, depths=(2, 3), split="products"),
    "one level, near, rows": Case("coles", 0.2, near=True, depths=(2, 3)),
    "one level, all twice, rows": Case("coles", 1.0, depths=(2, 3)),
    "one level, all twice, products": Case("coles", 1.0, depths=(2, 3), split="products"),
    "two levels, exact, rows": Case("coles", 0.2, depths=(1, 3)),
    "four levels, exact, rows": Case("coles", 0.2),
    "four levels, near, products": Case("coles", 0.2, near=True, split="products"),
    "one level, none twice": Case("coles", 0.0, depths=(2, 3)),
    "coles": Case("coles"),
    "receipts": Case("receipts"),
    "bigbasket": Case("bigbasket"),
    "mwpd": Case("mwpd"),
}


def number_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def again(text: str, chance: random.Random) -> str:
    """Return the text as a second listing may have it: in capitals, in another order, in another size."""
    way = chance.randrange(3)
    if way == 0:
        return text.upper()
    words = text.split()
    if way == 1:
        chance.shuffle(words)
        return " ".join(words)
    if SIZE.search(text):
        return SIZE.sub(lambda found: str(int(found.group()[:6]) + chance.randint(1, 9)), text)
    return f"{text} {chance.randint(2, 9)}pk"


def listings(products: Products, case: Case) -> tuple[Products, NDArray[np.int64]]:
    """Deal the products out to five shops and list some of the first one's twice; also return each row's product."""
    labels = products.require_labels()
    groups: dict[LabelPath, set[LabelPath]] = defaultdict(set)
    for label in labels:
        groups[label[:2]].add(label)
        groups[label[:1]].add(label)
    rows: list[tuple[str, str, float, LabelPath, int]] = []
    for number, (text, price, label) in enumerate(zip(products.texts, products.prices.tolist(), labels, strict=True)):
        chance = random.Random(f"{text} {number}")
        shop = f"shop{number_of(text) % 5}"
        rows.append((text, shop, price, label[case.levels], number))
        if shop == SHOP and chance.random() < (case.twice or 0):
            near = [groups[label[:depth]] for depth in (2, 1)]
            others = [sorted(one for one in some if one[case.levels] != label[case.levels]) for some in near]
            kept = (*chance.choice(others[0] or others[1] or sorted(set(labels)))[:3], label[3])
            rows.append((again(text, chance) if case.near else text, shop, price, kept[case.levels], number))
    texts, shops, prices, paths, numbers = (list(column) for column in zip(*rows, strict=True))
    made = Products(list(range(len(rows))), {"description": texts}, shops, np.array(prices), paths)
    return made, np.array(numbers)


def data_of(case: Case, folder: Path, limit: int | None, *, tune: bool) -> tuple[Products, Products, Schema]:
    """Return the rows to learn from, the new rows, and their schema."""
    if case.source == "mwpd":
        schema = load_schema(str(folder / "mwpd" / "schema.toml"))
        parts = [read_products(folder / "mwpd" / f"{name}.jsonl.gz", schema, labels=True) for name in ("train", "val")]
    else:
        schema = SCHEMA
        parts = [
            read_products(folder / case.source / f"{name}.features", schema, labels=True) for name in ("train", "dev")
        ]
    parts = parts[:1] if tune else parts
    if limit:
        parts = [part.take(np.sort(np.random.default_rng(0).permutation(len(part))[:limit])) for part in parts]
    if case.twice is None and not tune:
        return parts[0], parts[1], schema
    rows, numbers = (
        (join_products(parts), np.arange(sum(map(len, parts))))
        if case.twice is None
        else listings(join_products(parts), case)
    )
    drawn = np.random.default_rng(1).random(int(numbers.max()) + 1 if case.split == "products" else len(rows))
    new = (drawn[numbers] if case.split == "products" else drawn) < HELD_OUT_SHARE
    levels = schema.levels if case.twice is None else schema.levels[case.levels]
    return rows.take(np.flatnonzero(~new)), rows.take(np.flatnonzero(new)), replace(schema, levels=levels)


def tree(train: Products, new: Products, schema: Schema) -> Answers:
    from student import TreeClassifier

    fitted = TreeClassifier.fit(train, schema)
    found = fitted.predict(new)
    right = [paths[0] == label for paths, label in zip(found.paths, new.require_labels(), strict=True)]
    report: dict[str, Any] = fitted.report["brand-free"]
    claims = {"all": report["ece_after"], "new texts": report.get("new_texts", {}).get("ece", np.nan)}
    claims[SHOP] = report.get("by_retailer", {}).get(SHOP, {}).get("ece", np.nan)
    return found.probabilities[:, 0], np.array(right), claims


def rag(train: Products, new: Products, schema: Schema) -> Answers:
    from classify.model import fit

    fitted = fit(train, strategy="rag", schema=schema)
    found = fitted.predict(new)
    paths = found[list(schema.levels)].itertuples(index=False, name=None)
    right = [path == label for path, label in zip(paths, new.require_labels(), strict=True)]
    return found["confidence"].to_numpy(), np.array(right), {}


def regression(grouped: bool) -> Callable[[Products, Products, Schema], Answers]:
    def method(train: Products, new: Products, schema: Schema) -> Answers:
        from scipy.optimize import minimize_scalar
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import SGDClassifier
        from sklearn.model_selection import GroupShuffleSplit

        from student.features import normalise
        from student.texts import text_keys

        del schema
        paths = sorted(set(train.require_labels()))
        place = {path: number for number, path in enumerate(paths)}
        target = np.array([place[path] for path in train.require_labels()])
        letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, dtype=np.float32)
        shown = [f"{text} at{shop}" for text, shop in zip(train.texts, train.retailers, strict=True)]
        features = letters.fit_transform(shown)
        groups = text_keys(normalise(train.texts)) if grouped else np.arange(len(train))
        fitted_on, held = next(GroupShuffleSplit(1, test_size=0.2, random_state=0).split(features, target, groups))
        model = SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=20, tol=None, random_state=0, n_jobs=2)
        model.fit(features[fitted_on], target[fitted_on])

        def told(rows: Any, heat: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
            odds = model.decision_function(rows) / heat
            raised = np.exp(odds - odds.max(axis=1, keepdims=True))
            return (raised.max(axis=1) / raised.sum(axis=1)).clip(1e-6, 1 - 1e-6), model.classes_[odds.argmax(axis=1)]

        def loss(log_heat: float) -> float:
            chance, best = told(features[held], float(np.exp(log_heat)))
            return float(-np.log(np.where(best == target[held], chance, 1 - chance)).mean())

        heat = float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x))
        chance, best = told(features[held], heat)
        right, mine = best == target[held], np.array(train.retailers)[held] == SHOP
        claims = {"all": expected_calibration_error(chance, right)}
        if mine.any():
            claims[SHOP] = expected_calibration_error(chance[mine], right[mine])
        asked = letters.transform([f"{text} at{shop}" for text, shop in zip(new.texts, new.retailers, strict=True)])
        chance, best = told(asked, heat)
        return chance, np.array([paths[at] for at in best]) == np.array(new.require_labels()), claims

    def flat(train: Products, new: Products, schema: Schema) -> Answers:
        chance, right, claims = method(train, new, schema)
        return chance, right.reshape(len(right), -1).all(axis=1), claims

    return flat


METHODS: dict[str, Callable[[Products, Products, Schema], Answers]] = {
    "tree": tree,
    "rag": rag,
    "regression, random": regression(grouped=False),
    "regression, grouped": regression(grouped=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, help="products of each part of a set")
    parser.add_argument("--only", default="", help=f"cases, separated by ';': {'; '.join(CASES)}")
    parser.add_argument("--methods", default="", help=f"separated by ';': {'; '.join(METHODS)}")
    parser.add_argument("--tune", action="store_true", help="train alone: what settings may be chosen by")
    chosen = parser.parse_args()
    folder = Path(os.environ["SHELFMARK_DATA"])
    print("| case | method | rows | n | accuracy | confidence | calibration error | claimed |")
    print("|---|---|---|---|---|---|---|---|")
    for name in chosen.only.split(";") if chosen.only else CASES:
        train, new, schema = data_of(CASES[name], folder, chosen.limit, tune=chosen.tune)
        shops = np.array(new.retailers)
        parts = {"all": np.ones(len(new), dtype=np.bool_)}
        if CASES[name].twice is not None:
            parts = {SHOP: shops == SHOP, "other shops": shops != SHOP, **parts}
        for method in chosen.methods.split(";") if chosen.methods else METHODS:
            chance, right, claims = METHODS[method](train, new, schema)
            for part, mine in parts.items():
                low, high = calibration_error_interval(chance[mine], right[mine])
                error = expected_calibration_error(chance[mine], right[mine])
                claimed = f"{claims[part]:.3f}" if np.isfinite(claims.get(part, np.nan)) else ""
                if part == "all" and np.isfinite(claims.get("new texts", np.nan)):
                    claimed += f", new texts {claims['new texts']:.3f}"
                print(
                    f"| {name} | {method} | {part} | {int(mine.sum()):,} | {right[mine].mean():.3f} "
                    f"| {chance[mine].mean():.3f} | {error:.3f} ({low:.3f} to {high:.3f}) | {claimed} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
