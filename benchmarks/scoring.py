"""How fast predictions are scored, beside scikit-learn and HiClass: python benchmarks/scoring.py [--rows 184664]

    pip install -e '.[peers]'

All that `classify evaluate` counts, on random paths in the datathon's numbers, in CPU seconds of one process. The peers
count what they have of it (item accuracy and macro F1; hierarchical F1); that they find the same is checked.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from measure.evaluation import evaluate

LEVELS = ("supergroup", "group", "module", "brand")


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call returns, and the CPU seconds of the quickest of three."""
    took = []
    for _ in range(3):
        start = time.process_time()
        found = call()
        took.append(time.process_time() - start)
    return found, min(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=184_664)
    rows = parser.parse_args().rows
    from hiclass.metrics import f1
    from sklearn.metrics import accuracy_score, f1_score

    random = np.random.default_rng(0)
    paths = [(f"s{n % 32}", f"g{n % 228}", f"m{n % 449}", f"b{n % 5679}") for n in range(12_885)]
    truth = [paths[n] for n in random.integers(0, len(paths), rows)]
    predicted = [
        paths[n] if n % 2 else right for n, right in zip(random.integers(0, len(paths), rows), truth, strict=True)
    ]
    confidence, valid = random.random(rows), [True] * rows
    joined = ["__".join(path) for path in truth], ["__".join(path) for path in predicted]
    # HiClass compares values, not the paths that lead to them: a level is named by its whole path.
    ways = [["__".join(path[: depth + 1]) for depth in range(len(LEVELS))] for path in truth + predicted]
    columns = np.array(ways[:rows]), np.array(ways[rows:])

    ours, took = timed(lambda: evaluate(truth, predicted, confidence, LEVELS, valid))
    flat, flat_took = timed(lambda: (accuracy_score(*joined), f1_score(*joined, average="macro")))
    tree, tree_took = timed(lambda: f1(*columns))
    assert np.allclose((ours.item_accuracy, ours.macro_f1), flat), (ours, flat)
    assert np.isclose(ours.hierarchical_f1, tree), (ours, tree)
    print(f"{rows:,} rows{'CPU s':>30}{'times ours':>12}")
    print(f"{'shelfmark, all 24 figures':<34}{took:>9.2f}{1:>12.1f}")
    print(f"{'scikit-learn, 2 of them':<34}{flat_took:>9.2f}{flat_took / took:>12.1f}")
    print(f"{'HiClass, 1 of them':<34}{tree_took:>9.2f}{tree_took / took:>12.1f}")


if __name__ == "__main__":
    main()
