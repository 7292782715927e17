"""Adapters: what a LoRA fine-tune learned, kept apart from the model that it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, first_line, require
from catalog.files import read_json

CONFIG = "adapter_config.json"


def adapter_config(adapter: str) -> dict[str, Any]:
    """Return what a peft adapter's folder says of itself.

    Raises
    ------
    ShelfmarkError
        When there is no such folder, or it holds no LoRA adapter.
    """
    folder = Path(adapter)
    if not folder.is_dir():
        raise ShelfmarkError(f"--adapter {adapter}: no such folder")
    if not (folder / CONFIG).is_file():
        raise ShelfmarkError(f"--adapter {adapter}: not an adapter (it has no {CONFIG}); a whole model goes to --llm")
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict) or config.get("peft_type") != "LORA" or not isinstance(config.get("r"), int):
        raise ShelfmarkError(f"--adapter {adapter}: not a LoRA adapter, the one kind that can be used here")
    own = config.get("rank_pattern") or {}
    if not isinstance(own, dict) or not all(isinstance(one, int) for one in own.values()):
        raise ShelfmarkError(f"{folder / CONFIG}: damaged (rank_pattern); copy the adapter again")
    # Weights of another kind are pickles, which run what they say.
    if any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors")):
        raise ShelfmarkError(f"--adapter {adapter}: it has no adapter_model.safetensors; save it in that format")
    return config


def rank(config: dict[str, Any]) -> int:
    """Return the highest rank of an adapter's matrices: some layers may have their own."""
    own: dict[str, int] = config.get("rank_pattern") or {}
    return max(int(config["r"]), *own.values(), 1)


def put_on(model: Any, adapter: str, llm: str) -> Any:
    """Return a transformers model with an adapter on it.

    Raises
    ------
    ShelfmarkError
        When the folder holds no LoRA adapter, it does not fit the model, or peft is not installed.
    """
    adapter_config(adapter)
    library = require("peft", "lora")
    try:
        return library.PeftModel.from_pretrained(model, adapter)
    except Exception as error:  # of torch, peft or safetensors: shapes that differ, layers that are not there
        raise not_fitting(adapter, llm, error) from None


def not_fitting(adapter: str, llm: str, error: BaseException) -> ShelfmarkError:
    """Return the one line for an adapter that the model cannot take."""
    known = adapter_config(adapter).get("base_model_name_or_path")
    of = f"; it was trained on {known}" if known else ""
    return ShelfmarkError(f"--adapter {adapter}: does not fit --llm {llm}{of} ({first_line(error)})")
