"""The learning curve of a small model that answers a product as JSON with its label as JSON, beside `tree`.

A Llama of a few layers is trained from nothing on the chat examples that `lora` makes of the training rows, and asked
about development rows on the way: item accuracy of the answers as they are, and snapped onto valid paths, against the
rows it has seen. `tree`, fitted on the same training rows, is asked about the same development rows.

    pip install -e '.[lora]', then
    SHELFMARK_DATA=... python benchmarks/lora.py [--data receipts] [--epochs 12] [--layers 3] [--width 192]
    ... --ignore-price, --clean-text: what the price and the numbers in the text are worth

Without SHELFMARK_DATA, made-up data. A model this small, that has read nothing but these rows, tells how such a model
learns, not what one that has read the world would know. About half an hour on two cores.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tiny_llama import train as train_llama

from catalog.messages import LabelPath
from catalog.products import Products, join_products, read_products
from catalog.sample import sample_products
from catalog.schema import PRESETS
from catalog.taxonomy import Taxonomy
from classify import fit
from classify.finetuning import path_reader
from finetune.examples import Selection, answer, examples, prompts
from finetune.generate import answers
from measure.accuracy import item_accuracy, paired_difference

SCHEMA = PRESETS["indoml"]
MOST_TOKENS = 96
POINTS = 8
BATCH = 32


def data(name: str, rows: int) -> tuple[Products, Products, str]:
    """Return training rows, and at most so many development rows, and what they are called."""
    place = os.environ.get("SHELFMARK_DATA")
    if place is None:
        whole = join_products(list(sample_products(13_000)))
        return whole.take(range(12_000)), whole.take(range(12_000, 12_000 + rows)), "made up (no SHELFMARK_DATA)"
    train = read_products(Path(place) / name / "train.features", SCHEMA, labels=True)
    dev = read_products(Path(place) / name / "dev.features", SCHEMA, labels=True)
    return train, dev.take(range(min(rows, len(dev)))), name


def main() -> None:
    """Train, ask on the way, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="receipts")
    parser.add_argument("--dev-rows", type=int, default=500)
    parser.add_argument("--epochs", type=float, default=12)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--ignore-price", action="store_true")
    parser.add_argument("--clean-text", action="store_true")
    given = parser.parse_args()

    train, dev, name = data(given.data, given.dev_rows)
    selection = Selection(clean_text=given.clean_text, ignore_price=given.ignore_price)
    learned = examples(train, SCHEMA, selection)
    pairs = [(one.prompt, one.completion[0]["content"]) for one in learned]
    asked, labels = prompts(dev, SCHEMA, selection), dev.require_labels()
    right = [answer(label, SCHEMA) for label in labels]
    read = path_reader(Taxonomy.from_labels(train.require_labels(), SCHEMA.levels), "path")
    steps = max(int(given.epochs * len(pairs) / BATCH), POINTS)
    # Twice as many rows from point to point: the first epochs teach most.
    points = sorted({max(steps >> doubling, 1) for doubling in range(POINTS)})
    console = Console(width=100)
    table = Table(title=f"{name}: {len(train):,} training rows, {len(dev):,} development rows", title_justify="left")
    for title in ("rows seen", "epochs", "minutes", "answers as they are", "snapped"):
        table.add_column(title, justify="right")
    started, asking = time.perf_counter(), 0.0
    snapped: list[LabelPath] = []

    def watch(step: int, model: object, tokenizer: object) -> None:
        nonlocal asking, snapped
        if step not in points:
            return
        begun = time.perf_counter()
        said = answers(model, tokenizer, asked, most_tokens=MOST_TOKENS, batch_size=BATCH)
        exact = sum(mine == wanted for mine, wanted in zip(said, right, strict=True)) / len(right)
        snapped = [path or ("",) * len(SCHEMA.levels) for path in read(said)]
        minutes = (begun - started - asking) / 60
        asking += time.perf_counter() - begun
        share = item_accuracy(labels, snapped)
        seen = step * BATCH
        table.add_row(f"{seen:,}", f"{seen / len(pairs):.2f}", f"{minutes:.1f}", f"{exact:.4f}", f"{share:.4f}")
        console.print(f"{seen:,} rows seen: {exact:.4f}, snapped {share:.4f}")

    with tempfile.TemporaryDirectory() as folder:
        shape = {"layers": given.layers, "width": given.width, "vocabulary": 2048, "context": 512}
        train_llama(pairs, Path(folder) / "llama", steps=steps, batch=BATCH, learning_rate=1e-3, watch=watch, **shape)
    begun = time.perf_counter()
    model = fit(train, strategy="tree", schema=SCHEMA, policy="path")
    fitted = (time.perf_counter() - begun) / 60
    told = model.predict(dev)
    tree = [tuple(row) for row in told[list(SCHEMA.levels)].values.tolist()]
    table.add_section()
    table.add_row(f"tree: {len(train):,}", "1", f"{fitted:.1f}", "", f"{item_accuracy(labels, tree):.4f}")
    console.print(table)
    gain = paired_difference(labels, snapped, tree)
    told = f"{gain.difference:+.4f} (95%, paired: {gain.low:+.4f} to {gain.high:+.4f})"
    console.print(f"the model, snapped, less tree: {told}")


if __name__ == "__main__":
    main()
