"""Fitted LoRA models: one of words alone, and one with a real tiny Llama, its adapters and what they merge to."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tiny_llama import train
from catalog.schema import PRESETS
from finetune.examples import Selection, examples
from finetune.recipe import load_recipe

SCHEMA = PRESETS["indoml"]
SECRET_FOLDER = "/home/somebody/secret-place"


def training_json(base: str) -> dict[str, Any]:
    history: list[dict[str, Any]] = []
    for step in range(10, 210, 10):
        entry = {"step": step, "loss": 0.3 + 2 * 0.98**step, "learning_rate": 2e-4 * (1 - step / 200)}
        if step % 20 == 0:
            entry |= {"eval_loss": 0.5 + 1.8 * 0.98**step, "item_accuracy": min(0.83, step / 200)}
        history.append(entry)
    return {
        "base": base,
        "backend": "trl",
        "rows": 6000,
        "label_paths": 321,
        "validation_rows": 40,
        "steps": 200,
        "seconds": 4321.5,
        "device": "cpu",
        "versions": {"torch": "2.13.0", "trl": "1.16.0", "python": "3.11.9"},
        "lengths": {
            "limit": 512,
            "longest": 97,
            "mean": 61.3,
            "histogram": [[30, 49, 1200], [50, 69, 4000], [70, 97, 800]],
        },
        "history": history,
        "best": {"step": 180, "item_accuracy": 0.83},
        "stopped_early": False,
        "merge": {"rows": 200, "same_answer": 199, "same_path": 200, "precision": "float32"},
        "notes": [f"the base was read from {SECRET_FOLDER}/base"],
    }


def write_model(folder: Path, base: str, validation: list[dict[str, Any]], **figures: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    options = load_recipe("lora-llama3-8b", base=base, sample=6000, **figures).model_dump()
    options |= {"policy": "path", "recipe": f"{SECRET_FOLDER}/own.toml", "backend": "trl"}
    about = {"format": 1, "strategy": "lora", "schema": SCHEMA.to_dict(), "options": options, "seed": 3407, "files": {}}
    (folder / "model.json").write_text(json.dumps(about))
    (folder / "training.json").write_text(json.dumps(training_json(base)))
    (folder / "taxonomy.csv").write_text("supergroup,group,module,brand,count\nfood,dairy,milk,own,3\n")
    (folder / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in validation))
    return folder


ROW = {
    "prompt": [{"role": "user", "content": '{"description": "a row that nobody may see"}'}],
    "completion": [{"role": "assistant", "content": '{"supergroup": "food"}'}],
    "label": ["food", "dairy", "milk", "own"],
}


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A model of words alone: no weights."""
    return write_model(tmp_path / "told", "unsloth/llama-3-8b-Instruct-bnb-4bit", [ROW])


@pytest.fixture
def retell() -> Callable[..., None]:
    """Change what a model's ``training.json`` says."""

    def change(folder: Path, **values: Any) -> None:
        file = folder / "training.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return change


@pytest.fixture(scope="session")
def real_once(shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama that learned the sample shop's examples, with adapters that change it, and merged."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    learned = examples(shop.train, SCHEMA, Selection())
    place = tmp_path_factory.mktemp("lora")
    train(
        [(one.prompt, one.completion[0]["content"]) for one in learned],
        place / "base",
        steps=60,
        vocabulary=600,
        context=512,
    )
    validation = [
        {"prompt": one.prompt, "completion": one.completion, "label": list(label)}
        for one, label in zip(examples(shop.test, SCHEMA, Selection()), shop.test.labels, strict=True)
    ]
    folder = write_model(
        place / "model",
        str(place / "base"),
        validation,
        batch_size=8,
        rank=4,
        load_in_4bit=False,
    )
    tokenizer = AutoTokenizer.from_pretrained(place / "base")
    recipe = load_recipe("lora-llama3-8b", rank=4)
    base = AutoModelForCausalLM.from_pretrained(place / "base")
    model = peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", **recipe.adapter_arguments()))
    torch.manual_seed(random.Random(0).randrange(2**31))
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=0.01)
    for name in ("adapter", "last"):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    merged = model.merge_and_unload()
    merged.save_pretrained(folder / "merged")
    tokenizer.save_pretrained(folder / "merged")
    return folder


@pytest.fixture
def real(real_once: Path, tmp_path: Path) -> Path:
    """A copy of it, to be written into."""
    return Path(shutil.copytree(real_once, tmp_path / "real"))
