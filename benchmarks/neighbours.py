"""Item accuracy of `rag` without an LLM, beside nearest-neighbour peers, on the same rows in one run.

    python benchmarks/neighbours.py [FOLDER ...]

Each FOLDER holds train.features, train.labels and dev.* (or test.*) files. Without one: the product sets in
$SHELFMARK_DATA, and data that `classify sample` would write.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer

import rag.ngram
from catalog.products import Products, read_products
from catalog.schema import PRESETS
from catalog.taxonomy import Taxonomy
from classify.model import fit
from classify.scoring import score

SCHEMA = PRESETS["indoml"]
BATCH = 500


def peer(train: Products, test: Products, k: int, power: float) -> list[tuple[str, ...]]:
    """Vote of the k nearest by the cosine of character 2-5-gram TF-IDF, each weighing its similarity to `power`."""
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(2, 5), sublinear_tf=True, dtype=np.float32)
    base, queries = vectorizer.fit_transform(train.texts), vectorizer.transform(test.texts)
    labels = train.require_labels()
    answers = []
    for start in range(0, queries.shape[0], BATCH):
        block = (queries[start : start + BATCH] @ base.T).toarray()
        near = np.argpartition(-block, k, axis=1)[:, :k]
        for similarity, rows in zip(block, near, strict=True):
            votes: dict[tuple[str, ...], float] = defaultdict(float)
            for row in rows:
                votes[labels[row]] += float(similarity[row]) ** power
            answers.append(max(votes, key=lambda path: votes[path]))
    return answers


def ours(train: Products, test: Products, **options: Any) -> tuple[list[tuple[str, ...]], np.ndarray]:
    frame = fit(train, **options).predict(test)
    return list(frame[list(SCHEMA.levels)].itertuples(index=False, name=None)), frame["confidence"].to_numpy()


def without_leading_word(train: Products, test: Products) -> tuple[list[tuple[str, ...]], np.ndarray]:
    with patch.object(rag.ngram, "LEADING_WEIGHT", 0.0):
        return ours(train, test)


def without_price(train: Products, test: Products) -> tuple[list[tuple[str, ...]], np.ndarray]:
    with patch("rag.vote.PRICE_WEIGHTS", (0.0,)):
        return ours(train, test)


METHODS = {
    "1-NN, char 2-5-gram TF-IDF (peer)": lambda train, test: (peer(train, test, 1, 1.0), None),
    "5-NN, similarity^4 (peer)": lambda train, test: (peer(train, test, 5, 4.0), None),
    "rag, defaults": ours,
    "rag --policy brand-free": lambda train, test: ours(train, test, policy="brand-free"),
    "rag --filter retailer": lambda train, test: ours(train, test, filter="retailer"),
    "rag --filter none": lambda train, test: ours(train, test, filter="none"),
    "rag --price-band 2": lambda train, test: ours(train, test, price_band=2.0),
    "rag, no price weight": without_price,
    "rag, no leading-word field": without_leading_word,
}


def folders() -> list[Path]:
    if sys.argv[1:]:
        return [Path(name) for name in sys.argv[1:]]
    root = os.environ.get("SHELFMARK_DATA")
    if root is None:
        print("SHELFMARK_DATA is not set: only made-up data")
        return []
    return [Path(root) / name for name in ("coles", "receipts", "bigbasket")]


def read(folder: Path) -> tuple[Products, Products]:
    name = "dev" if (folder / "dev.features").exists() else "test"
    train = read_products(folder / "train.features", SCHEMA, labels=True)
    return train, read_products(folder / f"{name}.features", SCHEMA, labels=True)


def main() -> None:
    from catalog.sample import write_sample

    with tempfile.TemporaryDirectory() as scratch:
        places = folders()
        if not sys.argv[1:]:
            write_sample(Path(scratch) / "sample", rows=20_000, test_rows=2_000)
            places.append(Path(scratch) / "sample")
        for folder in places:
            train, test = read(folder)
            taxonomy = Taxonomy.from_labels(train.require_labels(), SCHEMA.levels)
            title = f"{folder.name}: {len(train):,} training rows, {len(test):,} rows"
            table = Table("method", "item accuracy", "ratio to the best peer", "ECE", "seconds", title=title)
            best = 0.0
            for name, method in METHODS.items():
                started = time.perf_counter()
                answers, confidence = method(train, test)
                seconds = time.perf_counter() - started
                result = score(test.require_labels(), answers, confidence, SCHEMA, taxonomy)
                if "peer" in name:
                    best = max(best, result.item_accuracy)
                ratio = f"{result.item_accuracy / best:.3f}"
                ece = "" if result.ece is None else f"{result.ece:.3f}"
                table.add_row(name, f"{result.item_accuracy:.4f}", ratio, ece, f"{seconds:.1f}")
            Console(width=110).print(table)


main()
