"""Which rows to label next: those that the model is unsure of, and that differ from each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catalog.errors import ShelfmarkError
from catalog.files import atomic_write
from catalog.products import read_products
from catalog.sheets import SheetWriter
from classify.recorded_lines import read_predictions
from classify.run import Run
from rag.ngram import NgramEncoder

MOST_ROWS = 10_000
"""Rows that may be asked for: choosing them takes their number squared."""
POOL = 20  # of the most doubtful rows, so many times as many as asked for are looked at


def choose(texts: Sequence[str], confidence: NDArray[np.float64], rows: int) -> NDArray[np.intp]:
    """Choose rows that are uncertain and unlike each other.

    Of the most uncertain rows, one after the other is taken: that with the greatest product of its uncertainty and
    its distance from the nearest row taken before (farthest-first traversal, weighted by uncertainty; compare the
    core sets of Sener and Savarese, 'Active learning for convolutional neural networks', 2018).

    Parameters
    ----------
    texts : sequence of str, length n
        The products' texts.
    confidence : ndarray of float64, shape (n,)
        The probability that the prediction is right, in [0, 1].
    rows : int
        How many to choose.

    Returns
    -------
    ndarray of intp, shape (min(rows, n),)
        The chosen rows, the most telling first.
    """
    pool = np.argsort(confidence, kind="stable")[: rows * POOL]
    encoder = NgramEncoder()
    chosen_texts = [texts[row] for row in pool]
    encoder.fit(chosen_texts)
    vectors = encoder.encode(chosen_texts).sparse
    assert vectors is not None
    doubt = 1 - confidence[pool] + 1e-9
    distance = np.ones(len(pool))
    taken: list[int] = []
    for _ in range(min(rows, len(pool))):
        at = int(np.argmax(doubt * distance))
        taken.append(at)
        distance = np.minimum(distance, np.maximum(1 - (vectors @ vectors[[at]].T).toarray()[:, 0], 1e-6))
        doubt[at] = -1.0
    return pool[taken]


def ask(run: Run, rows: int, out: Path) -> int:
    """Write the rows of a run whose labels would teach most as a CSV with empty level columns, to be filled in.

    The columns are those of the schema, then ``predicted``, the model's own label, and ``confidence``. Filled in, the
    file is training data: ``--train TRAIN --train FILE``. It is a sheet (`catalog.sheets`): no cell is a formula.

    Returns
    -------
    int
        How many rows were written.

    Raises
    ------
    ShelfmarkError
        When the run has no predictions, or `out` exists: it may hold somebody's work.
    """
    if rows > MOST_ROWS:
        raise ShelfmarkError(f"--rows {rows:,}: {MOST_ROWS:,} at most can be chosen")
    if not run.predictions.is_file():
        raise ShelfmarkError(f"{run.folder}: no predictions yet; finish it with classify resume {run.folder}")
    if out.exists():
        raise ShelfmarkError(f"{out}: exists, and may hold somebody's work; choose another --out")
    schema = run.schema
    products = read_products(run.test, schema, limit=run.manifest["limit"])
    lines = list(read_predictions(run.predictions, schema))
    if [line.id for line in lines] != products.ids:
        raise ShelfmarkError(f"{run.predictions}: not the rows of {run.test.name}; classify resume {run.folder}")
    confidence = np.array([line.confidence for line in lines], dtype=np.float64)
    picked = choose(products.texts, confidence, rows)
    with atomic_write(out) as stream:
        sheet = SheetWriter(stream)
        sheet.write([schema.id, *schema.inputs, *schema.levels, "predicted", "confidence"])
        for row in picked.tolist():
            cells = [products.columns[name][row] for name in schema.text]
            if schema.retailer is not None:
                cells.append(products.retailers[row])
            if schema.price is not None:
                price = float(products.prices[row])
                cells.append("" if np.isnan(price) else f"{price:g}")
            guess = " > ".join(lines[row].path)
            blanks = [""] * len(schema.levels)
            sheet.write([products.ids[row], *cells, *blanks, guess, f"{confidence[row]:.3f}"])
    return len(picked)
