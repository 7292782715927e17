"""How much of a card's memory a fine-tune needs, and prediction after it. Gigabytes are 10^9 bytes."""

from __future__ import annotations

from dataclasses import dataclass

from finetune.architecture import Architecture
from finetune.recipe import Recipe

QUANTIZED_BITS = 4.127
"""Of a weight in NF4 with double quantization: 4, and 0.127 for the constants (Dettmers et al. 2023, section 3)."""

LOGITS_COPIES = 4
"""Of the logits in float32 at once: the model's own in 16 bits, in float32, as log-probabilities, and the gradient.
Libraries that never write them out (Unsloth, Liger) need less."""

OVERHEAD = 1.5
"""Gigabytes of CUDA's context, of the libraries' work space, and lost between blocks."""

GIGA = 1e9


@dataclass(frozen=True)
class TrainingMemory:
    """Gigabytes that training needs, by what for.

    Attributes
    ----------
    weights : float
        The frozen base.
    adapters : float
        The adapters in float32, their gradients, and what the optimizer keeps of each.
    activations : float
        Inner values that are kept for the way back, and those of the layer at work.
    logits : float
        A number for each token of the batch and of the vocabulary, `LOGITS_COPIES` times.
    overhead : float
        All else.
    """

    weights: float
    adapters: float
    activations: float
    logits: float
    overhead: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.adapters + self.activations + self.logits + self.overhead


def value_bytes(recipe: Recipe) -> int:
    """Return the bytes of a number that the recipe computes with."""
    return 4 if recipe.precision == "float32" else 2


def weight_bytes(shape: Architecture, bits: float, each: int = 2) -> float:
    """Return the bytes of all weights: `bits` for each of the linear maps, `each` bytes for what is never quantized."""
    return shape.linear * bits / 8 + (shape.parameters - shape.linear) * each


def training_memory(recipe: Recipe, shape: Architecture, longest: int, batch: int) -> TrainingMemory:
    """Return what training needs with `batch` rows at once, all as long as the longest: one such batch may come.

    Parameters
    ----------
    recipe : Recipe
        Of the fine-tune.
    shape : Architecture
        Of the base.
    longest : int
        Tokens of the longest row.
    batch : int
        Rows at once.

    References
    ----------
    The inner values are counted as in V. Korthikanti et al., "Reducing Activation Recomputation in Large Transformer
    Models", MLSys (2023), section 4, for a gated network and attention that writes no table of all pairs (Dao et al.
    2022).
    """
    value = value_bytes(recipe)
    tokens = longest * batch
    trained = shape.adapters(recipe.rank, recipe.projections)
    moments = 2 if "8bit" in recipe.optimizer else 8

    # Of a layer and token: its input and that of the network, each also normed, and in float32 within the norms;
    # queries and keys before and after rotation, values, what attention gives; and four steps of the gated network.
    hidden, queries, keys = shape.hidden, shape.queries, shape.keys
    inner = value * (4 * hidden + 3 * queries + 3 * keys + 4 * shape.intermediate) + 8 * hidden
    if recipe.gradient_checkpointing:  # each layer's input, and one layer's inner values with their gradients
        kept = shape.layers * value * hidden + 2 * inner
    else:
        kept = (shape.layers + 1) * inner
    # 4-bit weights are written out one map at a time; the network's are the largest.
    written_out = value * shape.hidden * shape.intermediate if recipe.load_in_4bit else 0
    return TrainingMemory(
        weights=weight_bytes(shape, QUANTIZED_BITS if recipe.load_in_4bit else 8 * value, value) / GIGA,
        adapters=trained * (4 + 4 + moments) / GIGA,
        activations=(tokens * kept + written_out) / GIGA,
        logits=4 * LOGITS_COPIES * tokens * shape.vocabulary / GIGA,
        overhead=OVERHEAD,
    )


def row_memory(shape: Architecture, tokens: float) -> float:
    """Return the gigabytes of a row's keys and values in prediction, in 16 bits."""
    return 2 * 2 * shape.layers * shape.keys * tokens / GIGA
