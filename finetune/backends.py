"""What trains: Unsloth on a GPU, or transformers with peft anywhere. One recipe, two ways of loading the model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from catalog.errors import ShelfmarkError, check_installed, first_line, require
from catalog.hub import not_loaded
from finetune.checks import SMALLER
from finetune.recipe import Recipe


@dataclass
class Loaded:
    """A model that is ready to be trained.

    Attributes
    ----------
    model, tokenizer
        The base with fresh adapters (a ``peft.PeftModel``), and its tokenizer with a chat template.
    device : str
        ``cuda`` or ``cpu``.
    precision : str
        Of the arithmetic: ``bfloat16``, ``float16`` or ``float32``.
    notes : list of str
        In what the training differs from the recipe, and why.
    asking : callable
        Opens a context in which the model may be asked while it is trained.
    """

    model: Any
    tokenizer: Any
    device: str
    precision: str
    notes: list[str]
    asking: Callable[[Any], AbstractContextManager[None]] = nullcontext


def choose_backend(name: str) -> str:
    """Return the backend that is used here: ``auto`` is unsloth where it is installed and there is a GPU.

    Raises
    ------
    ShelfmarkError
        When its packages are not installed, or unsloth is wanted where there is no GPU.
    """
    check_installed("torch", "lora")
    import torch

    gpu = torch.cuda.is_available()
    if name == "unsloth":
        if not gpu:
            raise ShelfmarkError(
                "--backend unsloth: it needs a GPU, and there is none here; take --backend trl, or a machine with one"
            )
        check_installed("unsloth", "unsloth")
    if name == "auto":
        try:
            check_installed("unsloth", "unsloth")
            name = "unsloth" if gpu else "trl"
        except ShelfmarkError:
            name = "trl"
    for package in ("transformers", "trl", "peft", "datasets", "accelerate", "matplotlib"):
        check_installed(package, "lora")
    return name


def load(backend: str, recipe: Recipe) -> Loaded:
    """Load the base and give it adapters.

    Raises
    ------
    ShelfmarkError
        When the base is absent, gated or too big, or has not the layers that the recipe names.
    """
    return _load_unsloth(recipe) if backend == "unsloth" else _load_trl(recipe)


def precision_here(recipe: Recipe) -> str:
    """Return the precision of the arithmetic on this machine."""
    import torch

    if recipe.precision != "auto":
        return recipe.precision
    if not torch.cuda.is_available():
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def unsloth_arguments(recipe: Recipe) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what Unsloth's ``FastLanguageModel.from_pretrained`` and ``get_peft_model`` take."""
    loading = {
        "model_name": recipe.base,
        "max_seq_length": recipe.max_seq_length,
        "load_in_4bit": recipe.load_in_4bit,
        "use_exact_model_name": True,  # else it may take another base than the one that is merged and served
    }
    adapting = {
        **recipe.adapter_arguments(),
        "use_gradient_checkpointing": "unsloth" if recipe.gradient_checkpointing else False,
        "random_state": recipe.train_seed,
        "max_seq_length": recipe.max_seq_length,
    }
    return loading, adapting


def trl_arguments(recipe: Recipe) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what says how transformers loads the base in 4 bits (empty where it does not), and ``peft.LoraConfig``'s.

    The 4-bit format is that of the QLoRA paper (NF4, the scales quantized too), as in Unsloth's checkpoints.
    """
    quantized = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    return (quantized if recipe.load_in_4bit else {}), {**recipe.adapter_arguments(), "task_type": "CAUSAL_LM"}


def load_base(recipe: Recipe, precision: str, *, on_cpu: bool = False) -> tuple[Any, Any]:
    """Load the base as transformers has it, in 4 bits where the recipe says so; return it with its tokenizer.

    Raises
    ------
    ShelfmarkError
        When it cannot be loaded.
    """
    torch, library = require("torch", "lora"), require("transformers", "lora")
    quieten(library)
    dtype = getattr(torch, precision)
    quantized, _ = trl_arguments(recipe)
    gpu = torch.cuda.is_available() and not on_cpu
    how: dict[str, Any] = {"dtype": dtype, "device_map": {"": _card() if gpu else "cpu"}}
    if gpu and precision != "float32" and _has_flash_attention(torch):
        how["attn_implementation"] = "flash_attention_2"
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(recipe.base)
        config = library.AutoConfig.from_pretrained(recipe.base)
        stored = getattr(config, "quantization_config", None) is not None
        if stored or quantized:
            check_installed("bitsandbytes", "lora")
        if quantized and not stored:
            how["quantization_config"] = library.BitsAndBytesConfig(**quantized, bnb_4bit_compute_dtype=dtype)
        model = library.AutoModelForCausalLM.from_pretrained(recipe.base, **how)
    except ShelfmarkError:
        raise
    except Exception as error:  # the libraries raise many kinds
        raise not_loaded("--base", recipe.base, error, SMALLER) from None
    return model, tokenizer


def quieten(library: Any) -> None:
    """Have transformers speak of errors alone, and show its progress bars where somebody watches."""
    library.utils.logging.set_verbosity_error()
    if not sys.stderr.isatty():
        library.utils.logging.disable_progress_bar()


def _load_trl(recipe: Recipe) -> Loaded:
    peft = require("peft", "lora")
    torch = require("torch", "lora")
    library = require("transformers", "lora")
    precision = precision_here(recipe)
    model, tokenizer = load_base(recipe, precision)
    if recipe.load_in_4bit or getattr(model, "is_quantized", False):
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=recipe.gradient_checkpointing)
    library.set_seed(recipe.train_seed)
    _, adapting = trl_arguments(recipe)
    try:
        model = peft.get_peft_model(model, peft.LoraConfig(**adapting))
    except ValueError as error:
        raise ShelfmarkError(
            f"--base {recipe.base}: the adapters do not fit it ({first_line(error)}); name its layers in the recipe's "
            "projections"
        ) from None
    adapted = {
        name.partition(".lora_A")[0].rpartition(".")[2] for name, _ in model.named_modules() if ".lora_A" in name
    }
    missing = [name for name in recipe.projections if name not in adapted]
    if missing:  # peft leaves out in silence what is not there, as long as something is
        raise ShelfmarkError(
            f"--base {recipe.base}: it has no layers called {', '.join(missing)}; name its layers in the recipe's "
            "projections"
        )
    return Loaded(model, tokenizer, "cuda" if torch.cuda.is_available() else "cpu", precision, [])


def _load_unsloth(recipe: Recipe) -> Loaded:
    # It changes transformers and trl when it is imported, so it has to come first.
    unsloth = require("unsloth", "unsloth")
    torch = require("torch", "lora")
    precision = precision_here(recipe)
    loading, adapting = unsloth_arguments(recipe)
    try:
        model, tokenizer = unsloth.FastLanguageModel.from_pretrained(**loading, dtype=getattr(torch, precision))
    except Exception as error:  # the libraries raise many kinds
        raise not_loaded("--base", recipe.base, error, SMALLER) from None
    model = unsloth.FastLanguageModel.get_peft_model(model, **adapting)

    @contextmanager
    def asking(trained: Any) -> Iterator[None]:
        unsloth.FastLanguageModel.for_inference(trained)
        try:
            yield
        finally:
            unsloth.FastLanguageModel.for_training(trained)

    return Loaded(model, tokenizer, "cuda", precision, [], asking)


def _card() -> int:
    """Return the number of this process's GPU: with several, each process has its own."""
    from accelerate import PartialState

    return int(PartialState().local_process_index)


def _has_flash_attention(torch: Any) -> bool:
    if torch.cuda.get_device_capability()[0] < 8:
        return False
    try:
        check_installed("flash_attn", "lora")
    except ShelfmarkError:
        return False
    return True
