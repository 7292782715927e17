"""A tiny Llama, products of fifteen shelves, and the model that it becomes when it is fine-tuned on them."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.tiny_llama import train
from catalog.products import read_products
from catalog.sample import write_sample
from catalog.schema import PRESETS
from catalog.taxonomy import Taxonomy
from finetune.examples import Selection, examples

SCHEMA = PRESETS["indoml"]
BRANDS = {
    ("food", "dairy", "milk"): ("alpine", "greenvale", "sunny"),
    ("food", "dairy", "yogurt"): ("alpine", "creamo"),
    ("food", "snacks", "crisps"): ("crunchies", "tayto"),
    ("drinks", "soft drinks", "cola"): ("fizzo", "redcap"),
    ("drinks", "soft drinks", "lemonade"): ("fizzo", "sunny"),
    ("household", "laundry", "powder"): ("whitex", "brighto"),
    ("household", "paper", "kitchen roll"): ("absorba", "whitex"),
}
RECIPE = """\
about = "a tiny Llama on a processor"
base = "{base}"
load_in_4bit = false
whole_set = true
validation = 60
evaluate_every = 30
alpha = 32
batch_size = 16
gradient_accumulation = 1
epochs = 2
learning_rate = 5e-3
gradient_checkpointing = false
merged_precision = "float32"
"""


@dataclass(frozen=True)
class Shelves:
    """`folder` holds train and test files, `base` the model to fine-tune, `recipe` the one configuration file."""

    folder: Path
    base: Path
    recipe: Path


@pytest.fixture(scope="session")
def shelves(tmp_path_factory: pytest.TempPathFactory) -> Shelves:
    """Make the products, and a base that has seen some of them for half a minute."""
    folder = tmp_path_factory.mktemp("shelves")
    paths = [(*above, brand) for above, brands in BRANDS.items() for brand in brands]
    taxonomy = Taxonomy.from_labels(paths, SCHEMA.levels)
    write_sample(folder / "data", rows=1500, test_rows=150, schema=SCHEMA, taxonomy=taxonomy, seed=0)
    some = read_products(folder / "data" / "train.features", SCHEMA, labels=True).take(range(200))
    pairs = [(one.prompt, one.completion[0]["content"]) for one in examples(some, SCHEMA, Selection())]
    train(pairs, folder / "base", steps=60, batch=8, vocabulary=500, context=512)
    recipe = folder / "tiny.toml"
    recipe.write_text(RECIPE.format(base=folder / "base"))
    return Shelves(folder / "data", folder / "base", recipe)


@pytest.fixture(scope="session")
def tuned(shelves: Shelves, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, fitted by the command without a break."""
    out = tmp_path_factory.mktemp("tuned") / "model"
    done = classify("fit", "--strategy", "lora", "--recipe", shelves.recipe, "--train", shelves.folder, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def classify(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "classify.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session", name="classify")
def _classify():
    return classify
