"""The recipe of a LoRA fine-tune: one set of figures, and what they are called by each library that trains."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from catalog.errors import ShelfmarkError, nearest
from catalog.toml_reader import read_toml
from finetune.examples import Selection
from rag.quoting import MOST_TOKENS

RECIPES = Path(__file__).with_name("recipes.toml")
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Recipe(BaseModel):
    """What a fine-tune needs to know. The defaults are those of the datathon team's best run.

    Attributes
    ----------
    base : str
        The model: a folder or a name on the Hugging Face hub.
    sample : int
        Rows to learn from, stratified on the label path; not looked at with `whole_set`.
    whole_set : bool
        Learn from every row.
    grouped : bool
        Leave out near-duplicates of the same retailer and label first.
    clean_text : bool
        Leave numbers and words of one letter out of the texts.
    ignore_price : bool
        Do not show the price.
    context_tokens : int
        Tokens, at most, of what a web search found of a product; 0 for a model that is shown nothing of it.
    validation : int
        Rows held out at random, on which item accuracy is measured while training; a tenth of all rows at most.
    evaluate_every : int
        Steps from one evaluation, and one checkpoint, to the next.
    patience : int
        Stop after so many evaluations without a better item accuracy; 0 trains to the end.
    load_in_4bit : bool
        Hold the base's weights in 4 bits (QLoRA).
    precision : {'auto', 'bfloat16', 'float16', 'float32'}
        Of the arithmetic; ``auto`` is bfloat16 where the card has it, float16 on older cards, float32 without one.
    merged_precision : {'auto', 'bfloat16', 'float16', 'float32'}
        Of the merged weights; ``auto`` is that of the training, or bfloat16 for one in 32 bits.
    max_seq_length : int
        Tokens of an example at most.
    rank, alpha : int
        Of the adapters; their updates are scaled by alpha / rank.
    dropout : float
        Of the adapters.
    projections : list of str
        The layers that get adapters.
    batch_size, gradient_accumulation : int
        Examples at once on a card, and how many such batches make a step.
    gradient_checkpointing : bool
        Compute the inner values again on the way back, in place of keeping them: slower, in much less memory.
    warmup_steps : int
        Steps over which the learning rate rises.
    epochs : float
        Passes over the rows.
    learning_rate, weight_decay : float
        Of the optimizer.
    optimizer, schedule : str
        As transformers calls them.
    train_seed : int
        Of the order of the rows and of the adapters' first weights; which rows are learned from is the model's seed.

    References
    ----------
    E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR (2022).
    T. Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs", NeurIPS (2023).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str = ""
    base: str = "unsloth/llama-3-8b-Instruct-bnb-4bit"
    sample: int = Field(default=100_000, ge=1)
    whole_set: bool = False
    grouped: bool = False
    clean_text: bool = False
    ignore_price: bool = False
    context_tokens: int = Field(default=0, ge=0, le=MOST_TOKENS)
    validation: int = Field(default=500, ge=0)
    evaluate_every: int = Field(default=200, ge=1)
    patience: int = Field(default=0, ge=0)
    load_in_4bit: bool = True
    precision: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    merged_precision: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    max_seq_length: int = Field(default=512, ge=16)
    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=16, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    projections: list[str] = Field(default=PROJECTIONS, min_length=1)
    batch_size: int = Field(default=16, ge=1)
    gradient_accumulation: int = Field(default=4, ge=1)
    gradient_checkpointing: bool = True
    warmup_steps: int = Field(default=5, ge=0)
    epochs: float = Field(default=3, gt=0, allow_inf_nan=False)
    learning_rate: float = Field(default=2e-4, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    optimizer: str = "adamw_8bit"
    schedule: str = "linear"
    train_seed: int = Field(default=3407, ge=0)

    @property
    def selection(self) -> Selection:
        """Which rows are learned from, and what of them is shown."""
        rows = None if self.whole_set else self.sample
        return Selection(rows, self.grouped, self.clean_text, self.ignore_price, self.context_tokens)

    def steps(self, rows: int) -> int:
        """Return how many steps so many rows take: an epoch's last batch may be smaller."""
        a_step = self.batch_size * self.gradient_accumulation
        return max(round(self.epochs * -(-rows // a_step)), 1)

    def adapter_arguments(self) -> dict[str, Any]:
        """Return what both ``peft.LoraConfig`` and Unsloth's ``get_peft_model`` take for the adapters."""
        return {
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "target_modules": list(self.projections),
            "bias": "none",
        }

    def trainer_arguments(self) -> dict[str, Any]:
        """Return what ``trl.SFTConfig`` takes, whichever library prepares the model."""
        return {
            "per_device_train_batch_size": self.batch_size,
            "gradient_accumulation_steps": self.gradient_accumulation,
            "warmup_steps": self.warmup_steps,
            "num_train_epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "optim": self.optimizer,
            "lr_scheduler_type": self.schedule,
            "max_length": self.max_seq_length,
            "completion_only_loss": True,
            "packing": False,
            "seed": self.train_seed,
        }


def load_recipe(name: str, **changes: Any) -> Recipe:
    """Return a recipe by name or from a TOML file, with some figures changed.

    Parameters
    ----------
    name : str
        A name of ``recipes.toml`` beside this module, or the path of a TOML file of figures.
    **changes
        Figures that go before the recipe's; a `sample` that is asked for also goes before its `whole_set`.

    Raises
    ------
    ShelfmarkError
        When there is no such recipe, a figure is unknown or wrong, or both a sample and the whole set are asked for.
    """
    known = tomllib.loads(RECIPES.read_text(encoding="utf-8"))
    if name in known:
        values = known[name]
    elif Path(name).suffix == ".toml":
        values = read_toml(name, "--recipe")
    else:
        raise ShelfmarkError(f"--recipe {name}: unknown{nearest(name, known)}; there are: {', '.join(known)}")
    if "sample" in changes:
        if changes.get("whole_set"):
            raise ShelfmarkError("give one of --sample and --whole-set")
        changes["whole_set"] = False
    try:
        return Recipe(**{**values, **changes})
    except ValidationError as error:
        first = error.errors()[0]
        figure = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            raise ShelfmarkError(f"{name}: a recipe has no '{figure}'{nearest(figure, Recipe.model_fields)}") from None
        raise ShelfmarkError(f"{name}: {figure} is {first['input']!r}: {first['msg']}") from None
