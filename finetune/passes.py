"""The passes that a profile measures: training on examples, and the writing of answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, first_line
from finetune.fitted import Fitted

ANSWER_TOKENS = 128
IGNORED = -100
DTYPES = ("bfloat16", "float16", "float32")

Batch = list[tuple[list[int], list[int]]]
"""Examples as tokens: of the prompt, and of the answer with its end."""
Pass = Callable[[int | None], None]
"""Does its work on the first so many batches, or on all of them."""


def loaded(kind: Any, folder: Path, **settings: Any) -> Any:
    """Load one of transformers' kinds (a model, a tokenizer) from a folder.

    Raises
    ------
    ShelfmarkError
        When it cannot be loaded.
    """
    import torch

    try:
        return kind.from_pretrained(str(folder), trust_remote_code=False, **settings)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the library raises many kinds
        raise ShelfmarkError(f"{folder}: cannot be loaded ({first_line(error)}); fit the model again") from None


def to_batches(tokenizer: Any, examples: Sequence[dict[str, Any]], size: int, limit: int) -> list[Batch]:
    """Return the examples in tokens, as they are trained on: cut where they are longer than the limit."""
    pairs = []
    for one in examples:
        prompt = tokenizer.apply_chat_template(one["prompt"], add_generation_prompt=True, return_dict=False)
        whole = tokenizer.apply_chat_template([*one["prompt"], *one["completion"]], return_dict=False)[:limit]
        pairs.append((list(prompt), list(whole[len(prompt) :])))
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]


def with_adapters(fitted: Fitted, adapter: Path, place: str, notes: list[str]) -> Any:
    """Load the base with its adapters on the device `place`, ready to be trained.

    Where the base cannot be loaded, the merged model takes its place; `notes` then gets a line that says so.

    Raises
    ------
    ShelfmarkError
        When neither can be loaded, or the adapters cannot.
    """
    import peft
    import torch
    import transformers

    options, cuda = fitted.options, place.startswith("cuda")
    settings: dict[str, Any] = {"dtype": getattr(torch, _precision(options.get("precision"), cuda))}
    if cuda:
        settings["device_map"] = {"": place}
    # A base that is 4-bit on disk says so itself.
    if options.get("load_in_4bit") and cuda and "bnb-4bit" not in fitted.base:
        settings["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=settings["dtype"],
        )
    elif options.get("load_in_4bit") and not cuda:
        notes.append("the recipe holds the base's weights in 4 bits, which needs a GPU: measured in whole weights")
    try:
        base = transformers.AutoModelForCausalLM.from_pretrained(fitted.base, trust_remote_code=False, **settings)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # not here, gated, offline, in a format that needs a GPU: the library raises many kinds
        notes.append(
            f"the base {fitted.shown_base} could not be loaded ({type(error).__name__}): training was measured with "
            "the adapters on the merged model: layers of the same sizes, in whole weights"
        )
        settings.pop("quantization_config", None)
        base = loaded(transformers.AutoModelForCausalLM, fitted.merged, **settings)
    base = base.to(place) if not getattr(base, "is_quantized", False) else base
    base.config.use_cache = False
    if options.get("gradient_checkpointing"):
        # Not re-entrant: a re-entrant checkpoint needs an input that asks for gradients, which tokens cannot.
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    try:
        return peft.PeftModel.from_pretrained(base, str(adapter), is_trainable=True).train()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the library raises many kinds
        raise ShelfmarkError(f"{adapter}: cannot be loaded ({first_line(error)}); fit the model again") from None


def _precision(wanted: Any, cuda: bool) -> str:
    import torch

    if wanted in DTYPES:
        return str(wanted)
    if not cuda:
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


def training_pass(model: Any, tokenizer: Any, batches: list[Batch], place: str) -> Pass:
    """Return what does a forward and a backward pass over each batch; the loss is on the answers alone."""
    import torch

    pad = _pad(tokenizer)
    tensors = []
    for batch in batches:
        longest = max(len(prompt) + len(answer) for prompt, answer in batch)
        ids, mask, learned = [], [], []
        for prompt, answer in batch:
            blank = longest - len(prompt) - len(answer)
            ids.append(prompt + answer + [pad] * blank)
            mask.append([1] * (longest - blank) + [0] * blank)
            learned.append([IGNORED] * len(prompt) + answer + [IGNORED] * blank)
        names = ("input_ids", "attention_mask", "labels")
        tensors.append(
            {name: torch.tensor(rows, device=place) for name, rows in zip(names, (ids, mask, learned), strict=True)}
        )

    def work(most: int | None = None) -> None:
        for one in tensors[:most]:
            model(**one).loss.backward()
            model.zero_grad(set_to_none=True)

    return work


class Writing:
    """Writes the answers to prompts, the likeliest token each time; `written` counts the tokens of the last time."""

    def __init__(self, model: Any, tokenizer: Any, batches: list[Batch], place: str) -> None:
        import torch

        self._model, self._pad = model, _pad(tokenizer)
        ends = model.generation_config.eos_token_id
        self._ends = {ends} if isinstance(ends, int) else set(ends or [])
        self._ends |= {tokenizer.eos_token_id} - {None}
        self._inputs = []
        for batch in batches:
            width = max(len(prompt) for prompt, _ in batch)
            # On the left: answers are written at the right end.
            ids = [[self._pad] * (width - len(prompt)) + prompt for prompt, _ in batch]
            mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt, _ in batch]
            self._inputs.append((torch.tensor(ids, device=place), torch.tensor(mask, device=place)))
        self.written = 0

    def __call__(self, most: int | None = None) -> None:
        """Write those to the first `most` batches, or to all."""
        import torch

        self.written = 0
        for ids, mask in self._inputs[:most]:
            with torch.inference_mode():
                found = self._model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    max_new_tokens=ANSWER_TOKENS,
                    do_sample=False,
                    eos_token_id=sorted(self._ends) or None,
                    pad_token_id=self._pad,
                    # What the base's makers recommend for chats is not how answers are written here.
                    temperature=None,
                    top_p=None,
                    top_k=None,
                )
            for row in found[:, ids.shape[1] :].tolist():
                end = next((at + 1 for at, token in enumerate(row) if token in self._ends), len(row))
                self.written += end


def _pad(tokenizer: Any) -> int:
    known = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return int(next(token for token in known if token is not None))
