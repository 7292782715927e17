"""What is looked at before hours are spent: the base's chat template, the examples' lengths, memory, disk, trackers."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, check_installed, first_line, require
from catalog.files import write_json
from catalog.hub import not_loaded
from catalog.machine import memory
from finetune.architecture import Architecture, is_quantized, load_architecture
from finetune.examples import Example, Lengths, Turn, measure_lengths
from finetune.job import TrainingJob
from finetune.memory import GIGA, training_memory, weight_bytes
from finetune.plan import largest_batch
from finetune.recipe import Recipe

SMALLER = "take a smaller --base, or a smaller --batch-size with more --gradient-accumulation"
MARGIN = 8  # tokens that an answer may be longer than the longest that is learned
CHECKPOINTS = 4  # on disk at once: the best, the last two, and the one that is being written
ADAPTER_BYTES = 12  # of a trained weight in a checkpoint: itself and the optimizer's two moments


MEASURED = "measured.json"
"""What was found out of the examples before training: how many, how long, and the most tokens of an answer."""


def check_before(job: TrainingJob) -> None:
    """Look at all that can be known before anything large is loaded, and write `MEASURED` into the job's folder.

    Raises
    ------
    ShelfmarkError
        When the base cannot be had or is not made for chat, an example is too long, or memory or disk do not suffice.
    """
    recipe, learned = job.recipe, job.examples()
    if not recipe.load_in_4bit and is_quantized(recipe.base):
        raise ShelfmarkError(
            f"--no-4bit: {recipe.base} is stored in few bits; take the 16-bit original of it as --base"
        )
    tokenizer = chat_tokenizer(recipe.base)
    lengths = lengths_of(tokenizer, learned, recipe.max_seq_length)
    longest = int(lengths.counts.max())
    warning = check_memory(recipe, longest)
    check_disk(recipe, job.folder)
    value = {
        "rows": len(learned),
        "lengths": {
            "limit": lengths.limit,
            "longest": longest,
            "mean": round(float(lengths.counts.mean()), 2),
            "histogram": lengths.histogram(),
        },
        "most_answer_tokens": longest_answer(tokenizer, learned) + MARGIN,
        "warning": warning,
    }
    write_json(job.folder / MEASURED, value)


def check_tracker(name: str) -> None:
    """Refuse a tracker that is not installed; ``none`` is no tracker.

    Raises
    ------
    ShelfmarkError
        When it is not.
    """
    if name != "none":
        try:
            check_installed(name, "lora")
        except ShelfmarkError:
            raise ShelfmarkError(f"--report-to {name}: install it with pip install {name}") from None


def chat_tokenizer(base: str) -> Any:
    """Return the tokenizer of a base that is tuned for chat.

    Raises
    ------
    ShelfmarkError
        When it cannot be loaded, or has no chat template that answers can be learned by.
    """
    library = require("transformers", "lora")
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(base)
    except Exception as error:  # the library raises many kinds
        raise not_loaded("--base", base, error, SMALLER) from None
    turns = [{"role": "user", "content": "a"}]
    try:
        before = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": "b"}], tokenize=False)
    except Exception as error:  # a template is code, and may raise anything
        raise ShelfmarkError(
            f"--base {base}: its chat template cannot be used ({first_line(error)}); take a model tuned for chat "
            "(often named ...-Instruct)"
        ) from None
    if not (whole.startswith(before) and whole[len(before) :].lstrip().startswith("b")):
        raise ShelfmarkError(
            f"--base {base}: its chat template writes something else before an answer than it asks with, so that the "
            "answer alone cannot be learned; take another model tuned for chat"
        )
    return tokenizer


def lengths_of(tokenizer: Any, learned: Sequence[Example], limit: int) -> Lengths:
    """Return how long the examples are.

    Raises
    ------
    ShelfmarkError
        As `finetune.examples.measure_lengths`.
    """

    def count(turns: list[Turn]) -> int:
        return len(tokenizer.apply_chat_template(turns, return_dict=False))

    return measure_lengths(learned, count, limit)


def longest_answer(tokenizer: Any, learned: Sequence[Example]) -> int:
    """Return the tokens of the longest answer among the examples, its end included."""
    texts = {one.completion[-1]["content"] for one in learned}
    return max(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts) + 1


def check_memory(recipe: Recipe, longest: int) -> str:
    """Refuse a fine-tune that this machine's GPU is too small for even row by row; without a GPU, its memory.

    What batches need is an estimate, and libraries differ: where they might be too large, a warning is returned.

    Parameters
    ----------
    recipe : Recipe
        Of the fine-tune.
    longest : int
        Tokens of the longest example.

    Raises
    ------
    ShelfmarkError
        When it is. A base whose shape cannot be told is let through.
    """
    shape = _shape(recipe.base)
    if shape is None:
        return ""
    torch = require("torch", "lora")
    batch = f"with --batch-size {recipe.batch_size}"
    if torch.cuda.is_available():
        has, where = torch.cuda.mem_get_info()[0] / GIGA, torch.cuda.get_device_name()
        needs = training_memory(recipe, shape, longest, recipe.batch_size).total
        least = training_memory(recipe, shape, longest, 1).total
    else:
        # The processor's memory may swap and be freed by others: only what cannot be is refused.
        has, where = memory()[1] / GIGA, "this machine"
        needs = least = weight_bytes(shape, 4 if recipe.load_in_4bit else 32, 4) / GIGA
    if least > has:
        raise ShelfmarkError(
            f"--base {recipe.base}: about {least:.1f} GB of memory are needed even for one row at once, and {where} "
            f"has {has:.1f} GB free; take a smaller --base, or a larger machine"
        )
    if needs > has:
        fits = largest_batch(recipe, shape, longest, has) or 1
        return (
            f"about {needs:.1f} GB of memory may be needed {batch}, and {where} has {has:.1f} GB free; should it not "
            f"suffice: --batch-size {fits}, with --gradient-accumulation as many times larger"
        )
    return ""


def check_disk(recipe: Recipe, folder: Path) -> None:
    """Refuse a disk that cannot hold the checkpoints and the merged model.

    Raises
    ------
    ShelfmarkError
        When too little is free. A base whose shape cannot be told is let through.
    """
    shape = _shape(recipe.base)
    if shape is None:
        return
    trained = shape.adapters(recipe.rank, recipe.projections)
    merged = 4 if recipe.merged_precision == "float32" else 2
    needed = CHECKPOINTS * trained * ADAPTER_BYTES + shape.parameters * merged
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ShelfmarkError(
            f"{folder}: {free / GIGA:.1f} GB are free on its disk, and about {needed / GIGA:.1f} GB are needed for "
            "checkpoints and the merged model; free some, or choose another --out"
        )


def disk_is_full(error: BaseException) -> bool:
    """Tell whether a write failed for want of room: of the disk, of a quota, or of what a file may grow to."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    words = str(error).lower()  # the libraries wrap it in errors of their own; the last is torch's
    return any(sign in words for sign in ("no space left", "quota exceeded", "file too large", "inline_container.cc"))


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory did not suffice, of the GPU or of the machine."""
    words = f"{type(error).__name__} {error}".lower()
    return any(sign in words for sign in ("outofmemory", "out of memory", "can't allocate memory", "memoryerror"))


def _shape(base: str) -> Architecture | None:
    try:
        return load_architecture(base)
    except ShelfmarkError:
        return None
