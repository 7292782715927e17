"""What takes the place of a GPU and of a provider where a notebook runs without them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import tiny_llama
from catalog.sample import sample_products
from catalog.schema import PRESETS
from finetune.examples import Selection, examples
from tests.openai_server import KEY, running

OFFLINE = {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "passive"}
RECIPE = """\
base = "{base}"
load_in_4bit = false
sample = 2000
validation = 20
evaluate_every = 10
batch_size = 16
gradient_accumulation = 1
epochs = 0.2
learning_rate = 5e-3
gradient_checkpointing = false
"""


STANDING_IN: dict[str, dict[str, Any]] = {
    "quickstart": {},
    "rag_vllm": {"LLM": "", "ENGINE": "transformers", "DTYPE": "float32"},
    "lora_unsloth": {"RECIPE": "", "BACKEND": "trl", "ENGINE": "transformers"},
    "openai_batch": {"BASE_URL": "", "POLL": 0.2},
}
"""Parameters of each notebook that a processor can do with; what is empty is known when it runs."""


@contextmanager
def stand_ins(name: str) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Give the parameters and the environment with which the notebook of this name runs without a GPU or a provider."""
    given = dict(STANDING_IN[name])
    with tempfile.TemporaryDirectory(prefix="stand-in-") as folder:
        if name == "rag_vllm":
            yield {**given, "LLM": str(_llama(Path(folder)))}, OFFLINE
        elif name == "lora_unsloth":
            recipe = Path(folder) / "tiny.toml"
            recipe.write_text(RECIPE.format(base=_llama(Path(folder))), encoding="utf-8")
            yield {**given, "RECIPE": str(recipe)}, OFFLINE
        elif name == "openai_batch":
            with running() as server:
                yield {**given, "BASE_URL": server.url}, {"OPENAI_API_KEY": KEY}
        else:
            yield given, {}


def _llama(folder: Path) -> Path:
    """Train a tiny Llama for some seconds on products as `lora` shows them."""
    (products,) = sample_products(300)
    pairs = [(one.prompt, one.completion[0]["content"]) for one in examples(products, PRESETS["indoml"], Selection())]
    threads = int(os.environ.get("OMP_NUM_THREADS", 2))
    tiny_llama.train(pairs, folder / "llama", steps=40, vocabulary=600, context=8192, threads=threads)
    return folder / "llama"
