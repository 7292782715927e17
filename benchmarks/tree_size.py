"""`tree` at the datathon's size: time and memory of a fit, speed of predictions, and accuracy beside 1-NN.

    python benchmarks/tree_size.py [--rows 561838] [--test-rows 184664] [--asked 20000]

The data are those that `classify sample` makes over the datathon's taxonomy, which is read from $SHELFMARK_DATA;
without it over our own. The fit runs in a process of its own, so that the memory is its own. 1-NN is by exact cosine of
character 2-5-gram TF-IDF over all training rows, for the first thousand of the rows that are asked.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from catalog.products import read_products
from catalog.sample import write_sample
from catalog.schema import PRESETS
from catalog.taxonomy import Taxonomy
from student import TreeClassifier

SCHEMA = PRESETS["indoml"]
NEIGHBOUR_ROWS = 1000
BLOCK = 50


def fit(folder: Path) -> tuple[float, float]:
    """Read, fit and save; return seconds and the most GiB that were held."""
    started = time.perf_counter()
    train = read_products(folder / "train.features", SCHEMA, labels=True)
    TreeClassifier.fit(train, SCHEMA).save(folder / "model")
    seconds = time.perf_counter() - started
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def nearest(folder: Path) -> tuple[float, float]:
    """Return the accuracy of 1-NN on the first rows, and the seconds it took."""
    started = time.perf_counter()
    train = read_products(folder / "train.features", SCHEMA, labels=True)
    test = read_products(folder / "test.features", SCHEMA, labels=True).take(np.arange(NEIGHBOUR_ROWS))
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(2, 5), sublinear_tf=True, dtype=np.float32, min_df=2)
    base = vectorizer.fit_transform(train.texts).T.tocsr()
    labels, truth = train.require_labels(), test.require_labels()
    queries = vectorizer.transform(test.texts)
    right = 0
    for start in range(0, len(test), BLOCK):
        for row, best in enumerate(np.asarray((queries[start : start + BLOCK] @ base).argmax(axis=1)).ravel(), start):
            right += labels[best] == truth[row]
    return right / len(test), time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=561_838)
    parser.add_argument("--test-rows", type=int, default=184_664)
    parser.add_argument("--asked", type=int, default=20_000, help="How many test rows are predicted.")
    given = parser.parse_args()
    root = os.environ.get("SHELFMARK_DATA")
    known = None if root is None else Taxonomy.read(Path(root) / "indoml" / "taxonomy.csv.gz", SCHEMA)
    if known is None:
        print("SHELFMARK_DATA is not set: our own taxonomy, not the datathon's")
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_sample(folder, rows=given.rows, test_rows=given.test_rows, schema=SCHEMA, taxonomy=known)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            seconds, memory = pool.submit(fit, folder).result()
        print(f"fit on {given.rows:,} rows: {seconds / 60:.1f} minutes, {memory:.1f} GiB")
        started = time.perf_counter()
        classifier = TreeClassifier.load(folder / "model")
        print(f"load: {time.perf_counter() - started:.2f} s")
        test = read_products(folder / "test.features", SCHEMA, labels=True)
        asked = test.take(np.arange(min(given.asked, len(test))))
        started = time.perf_counter()
        found = classifier.predict(asked)
        speed = len(asked) / (time.perf_counter() - started)
        right = np.array([paths[0] == path for paths, path in zip(found.paths, asked.require_labels(), strict=True)])
        print(f"predict: {speed:,.0f} rows/s, item accuracy {right.mean():.4f} over {len(asked):,} rows")
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            accuracy, seconds = pool.submit(nearest, folder).result()
        ours = right[:NEIGHBOUR_ROWS].mean()
        print(
            f"first {NEIGHBOUR_ROWS:,}: tree {ours:.4f}, 1-NN {accuracy:.4f} ({seconds:.0f} s), {ours / accuracy:.3f}"
        )


if __name__ == "__main__":
    main()
