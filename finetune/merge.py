"""Merging: adapters into the weights of their base, and whether the merged model still says the same."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, first_line, require
from catalog.hub import not_loaded
from finetune.backends import load_base, precision_here
from finetune.checks import disk_is_full, is_out_of_memory
from finetune.examples import Turn
from finetune.generate import answers
from finetune.recipe import Recipe

SMALLER = "give the same command with --serve adapter, which does without merging: what is trained is kept"


def merge(recipe: Recipe, adapter: Path, out: Path) -> None:
    """Write the base with the adapter merged into its weights, in 16 bits or as the recipe says.

    A base that was trained on in 4 bits is merged as it was: its 4-bit weights, unpacked. The adapters have learned to
    make up for what 4 bits lose, so merged into the base's own 16-bit weights they would say something else.

    Raises
    ------
    ShelfmarkError
        When memory does not suffice, or the adapter does not fit.
    """
    torch, peft = require("torch", "lora"), require("peft", "lora")
    dtype = getattr(torch, merged_precision(recipe))
    model, _ = load_base(recipe, precision_here(recipe), on_cpu=not _fits_gpu(recipe))
    tokenizer = require("transformers", "lora").AutoTokenizer.from_pretrained(adapter)
    try:
        if getattr(model, "is_quantized", False):
            model = model.dequantize()
        model = peft.PeftModel.from_pretrained(model.to(dtype), str(adapter)).merge_and_unload(safe_merge=True)
        if not model.generation_config.do_sample:  # makers' settings that contradict it are not written, but refused
            model.generation_config.update(temperature=None, top_p=None, top_k=None)
        model.to(dtype).save_pretrained(out)
        tokenizer.save_pretrained(out)
    except Exception as error:  # the libraries raise many kinds
        if is_out_of_memory(error):
            raise not_loaded("--base", recipe.base, error, SMALLER) from None
        if disk_is_full(error):
            raise ShelfmarkError(
                f"{out.parent}: the disk is full; free some space, then give the same command again: what is trained "
                "is kept"
            ) from None
        raise ShelfmarkError(
            f"{adapter}: cannot be merged ({first_line(error)}); give the same command with --serve adapter, which "
            "does without: what is trained is kept"
        ) from error
    finally:
        del model
        free_memory()


def compare(
    recipe: Recipe,
    adapter: Path,
    merged: Path,
    prompts: Sequence[list[Turn]],
    most_tokens: int,
    read: Callable[[Sequence[str]], Sequence[Any]],
) -> dict[str, Any] | None:
    """Ask the adapter on its base, as it was trained, and the merged model the same; count where they agree.

    Parameters
    ----------
    recipe, adapter, merged
        What was merged into what.
    prompts : sequence of chat turns
        What is asked.
    most_tokens : int
        Tokens of an answer at most.
    read : callable
        The label path that each answer stands for, in the order of the prompts.

    Returns
    -------
    dict or None
        ``rows``, ``same_answer`` (to the letter), ``same_path``, and ``precision`` of the merged weights; None where
        memory does not suffice to tell.
    """
    try:
        return _compare(recipe, adapter, merged, prompts, most_tokens, read)
    except Exception as error:  # the libraries raise many kinds
        if is_out_of_memory(error) or isinstance(error, ShelfmarkError):
            return None
        raise
    finally:
        free_memory()


def merged_precision(recipe: Recipe) -> str:
    """Return the precision of the merged weights: by default that of the training, or bfloat16 for one in 32 bits."""
    if recipe.merged_precision != "auto":
        return recipe.merged_precision
    return "float16" if precision_here(recipe) == "float16" else "bfloat16"


def _compare(
    recipe: Recipe,
    adapter: Path,
    merged: Path,
    prompts: Sequence[list[Turn]],
    most_tokens: int,
    read: Callable[[Sequence[str]], Sequence[Any]],
) -> dict[str, Any]:
    peft, library = require("peft", "lora"), require("transformers", "lora")
    how: dict[str, Any] = {"most_tokens": most_tokens, "batch_size": recipe.batch_size}
    model, _ = load_base(recipe, precision_here(recipe))
    tokenizer = library.AutoTokenizer.from_pretrained(adapter)
    trained = answers(peft.PeftModel.from_pretrained(model, str(adapter)), tokenizer, prompts, **how)
    del model
    free_memory()
    model = library.AutoModelForCausalLM.from_pretrained(merged, dtype="auto", device_map=_where(_fits_gpu(recipe)))
    same = answers(model, tokenizer, prompts, **how)
    del model
    free_memory()
    return {
        "rows": len(prompts),
        "same_answer": sum(mine == other for mine, other in zip(trained, same, strict=True)),
        "same_path": sum(mine == other for mine, other in zip(read(trained), read(same), strict=True)),
        "precision": merged_precision(recipe),
    }


def free_memory() -> None:
    """Give a model's memory back to the GPU: the next one needs it."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _where(on_gpu: bool) -> dict[str, Any]:
    return {"": 0 if on_gpu else "cpu"}


def _fits_gpu(recipe: Recipe) -> bool:
    """Tell whether the unpacked weights fit the GPU: two bytes each, and the packed ones beside them."""
    import torch

    if not torch.cuda.is_available():
        return False
    library = require("transformers", "lora")
    try:
        config = library.AutoConfig.from_pretrained(recipe.base)
        with torch.device("meta"):
            count = library.AutoModelForCausalLM.from_config(config).num_parameters()
    except Exception:  # then the processor's memory, which is mostly larger
        return False
    return bool(torch.cuda.mem_get_info()[0] > 2.6 * count)
