"""What a model gains that is shown the true brand: made-up products, and made-up snippets for most of them.

    python benchmarks/context.py [ROWS] [STEPS]

trains a Llama of two layers from nothing on the rows of `classify sample` over a small taxonomy, written as ``lora``
writes them: once without snippets, once with. A snippet names the brand and the module; three descriptions of ten have
none. So it tells whether what a cache holds reaches a model and is learned from, not what a real search is worth.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import tiny_llama

from catalog.context import Context
from catalog.messages import Request, request_id
from catalog.products import Products
from catalog.sample import sample_products
from catalog.schema import PRESETS
from catalog.taxonomy import Taxonomy
from classify.engines.transformers import TransformersEngine
from finetune.examples import Selection, examples, prompts

SCHEMA = PRESETS["indoml"]
BRANDS = ("alpine", "greenvale", "sunny", "creamo", "crunchies", "tayto", "fizzo", "redcap", "whitex", "brighto")
MODULES = {
    ("food", "dairy"): ("milk", "yogurt"),
    ("food", "snacks"): ("crisps",),
    ("drinks", "soft drinks"): ("cola", "lemonade"),
    ("household", "laundry"): ("powder",),
}
TEST_ROWS = 200
TOKENS = 60


def snippet(products: Products, row: int) -> str:
    """Return what a search may have found of a product."""
    label = products.require_labels()[row]
    return f"{label[3]} {label[2]}: buy {label[3]} online, delivered to your door"


def accuracy(train: Products, test: Products, selection: Selection, steps: int) -> float:
    """Train, answer, and return the share of rows whose whole label path is right."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = [(one.prompt, one.completion[0]["content"]) for one in examples(train, SCHEMA, selection)]
        tiny_llama.train(pairs, Path(folder), steps=steps, batch=8, vocabulary=500, context=512, threads=1)
        engine = TransformersEngine(TransformersEngine.options_class(llm=folder, constrain="off", device="cpu"))
        asked = prompts(test, SCHEMA, selection)
        requests = [
            Request(request_id(row, turns), turns, max_tokens=64) for row, turns in zip(test.ids, asked, strict=True)
        ]
        said = {completion.id: completion.text for completion in engine.complete(requests)}
    labels = test.require_labels()
    return sum(_path(said[one.id]) == label for one, label in zip(requests, labels, strict=True)) / len(test)


def _path(text: str) -> tuple[Any, ...]:
    try:
        return tuple(json.loads(text).values())
    except (ValueError, AttributeError):
        return ()


def main(rows: int, steps: int) -> None:
    paths = [(*above, name, brand) for above, names in MODULES.items() for name in names for brand in BRANDS]
    taxonomy = Taxonomy.from_labels(paths, SCHEMA.levels)
    (products,) = sample_products(rows + TEST_ROWS, taxonomy=taxonomy)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "context.jsonl"
        lines = (
            {"query": products.texts[row], "snippets": [{"text": snippet(products, row)}]}
            for row in range(len(products))
            if row % 10 >= 3
        )
        cache.write_text("".join(json.dumps(line) + "\n" for line in lines))
        products = Context.read(cache).join(products)
    train, test = products.take(range(rows)), products.take(range(rows, rows + TEST_ROWS))
    shown = sum(map(bool, test.contexts or ())) / TEST_ROWS
    print(f"{rows:,} rows, {TEST_ROWS} to predict, {shown:.2f} of them with a snippet; {steps} steps")
    for name, selection in (("without", Selection()), ("with", Selection(context_tokens=TOKENS))):
        started = time.perf_counter()
        right = accuracy(train, test, selection, steps)
        print(f"{name}: item accuracy {right:.3f} ({time.perf_counter() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*(given + [1500, 300][len(given) :]))
