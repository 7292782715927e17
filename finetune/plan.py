"""What a LoRA fine-tune would take on each card: memory, hours, dollars, estimated before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from finetune.architecture import Architecture
from finetune.cards import Card
from finetune.memory import GIGA, OVERHEAD, QUANTIZED_BITS, TrainingMemory, row_memory, training_memory, weight_bytes
from finetune.recipe import Recipe
from finetune.workload import Workload

FORWARD = BACKWARD = AGAIN = 2
"""Operations for each parameter and token: forward; back through frozen weights, whose own gradients (2 more) nobody
wants; and forward again with gradient checkpointing."""

TRAINING_UTILIZATION = 0.41
"""Of a card's `tflops`, in training, with dequantizing, padding and all; faster cards tend to reach less of theirs.
From the datathon team's run: 100,000 rows of 74 tokens through the 7.50e9 parameters of Llama-3-8B that are multiplied,
6 operations for each, in 1.5 hours on a card of 149.7 TFLOP/s. Their rows' own lengths are not reported: 74 is the mean
of made-up rows of that shape by Llama 3's tokenizer and template."""

PREDICTION_UTILIZATION = 0.77
"""Of the speed that a card's `tflops` and `bandwidth` allow, in prediction. From the same: 184,664 rows of 39 tokens
read and 36 written in half an hour with vLLM; 1,389 seconds at full speed."""

CALIBRATION = (
    "hours are an estimate: calibrated on Llama-3-8B in 4 bits, 100,000 rows, batch 16 x 4, 1.5 h an epoch on an A40, "
    "and 184,664 rows predicted in 30 minutes with vLLM; another card, model or library may take half or twice as long"
)

AT_ONCE = 256
"""Requests that vLLM answers at once at most, by default."""

_USABLE = 0.97
"""Of a card's memory, as its maker states it: the driver keeps some."""

_VLLM_SHARE = 0.9


@dataclass(frozen=True)
class OnCard:
    """What it takes on one card.

    Attributes
    ----------
    card : Card
        Which.
    needed : TrainingMemory
        Of training with the recipe's batch.
    fits : bool
        Whether the card has so much.
    batch_size, gradient_accumulation : int or None
        The largest batch up to the recipe's that fits, with about as many rows a step; None where one row does not.
    training_hours, prediction_hours : float or None
        None where it does not fit or is not known; prediction also where nothing is to be predicted.
    prediction_bits : int or None
        Of the weights in prediction: those of the merged model where they fit, else 4.
    dollars : float or None
        For all these hours; None where the price or the hours of training are not known.
    note : str
        What else there is to say.
    """

    card: Card
    needed: TrainingMemory
    fits: bool
    batch_size: int | None
    gradient_accumulation: int | None
    training_hours: float | None
    prediction_hours: float | None
    prediction_bits: int | None
    dollars: float | None
    note: str


@dataclass(frozen=True)
class Plan:
    """What a fine-tune would take.

    Attributes
    ----------
    recipe : Recipe
        Of the fine-tune.
    workload : Workload
        Rows and tokens.
    steps, evaluations : int
        Of the optimizer; of the held-out rows meanwhile.
    parameters, trained : int
        All of the base's; those of the adapters.
    cards : list of OnCard
        In the order of the cards.
    """

    recipe: Recipe
    workload: Workload
    steps: int
    evaluations: int
    parameters: int
    trained: int
    cards: list[OnCard]


def make_plan(recipe: Recipe, workload: Workload, shape: Architecture, cards: Sequence[Card]) -> Plan:
    """Return what a recipe takes on each of the cards.

    Raises
    ------
    ShelfmarkError
        When the recipe puts adapters on a map that the base does not have.
    """
    steps = recipe.steps(workload.rows)
    trained = shape.adapters(recipe.rank, recipe.projections)
    found = [_on_card(card, recipe, workload, shape) for card in cards]
    evaluations = steps // recipe.evaluate_every if workload.held_out else 0
    return Plan(recipe, workload, steps, evaluations, shape.parameters, trained, found)


def largest_batch(recipe: Recipe, shape: Architecture, longest: int, memory: float) -> int | None:
    """Return the largest batch, up to the recipe's, whose training fits into `memory` gigabytes; None for none."""
    for batch in range(recipe.batch_size, 0, -1):
        if training_memory(recipe, shape, longest, batch).total <= memory:
            return batch
    return None


def training_hours(recipe: Recipe, rows: int, tokens_a_row: float, shape: Architecture, card: Card) -> float:
    """Return the hours of training: operations over the part of the card's speed that training reaches.

    What grows with the square of a row's length is left out: below 1% for rows of a hundred tokens.

    References
    ----------
    J. Kaplan et al., "Scaling Laws for Neural Language Models", arXiv:2001.08361 (2020), section 2.1: two operations
    a parameter and token forward, twice that back. T. Chen et al., "Training Deep Nets with Sublinear Memory Cost",
    arXiv:1604.06174 (2016): one more pass forward for checkpointing.
    """
    each = FORWARD + BACKWARD + (AGAIN if recipe.gradient_checkpointing else 0)
    operations = each * shape.multiplied * tokens_a_row * rows * recipe.epochs
    return operations / (card.tflops * 1e12 * TRAINING_UTILIZATION) / 3600


def prediction_hours(workload: Workload, shape: Architecture, card: Card) -> tuple[float, int] | None:
    """Return the hours of prediction with vLLM and the bits of the weights, or None where not even 4 bits fit.

    What is read takes operations. Of what is written each token of `AT_ONCE` rows at a time takes, besides, one
    reading of all weights: whichever of the two takes longer counts.

    References
    ----------
    R. Pope et al., "Efficiently Scaling Transformer Inference", MLSys (2023).
    """
    speed = card.tflops * 1e12
    of_a_row = row_memory(shape, workload.prompt_tokens + workload.answer_tokens)
    for bits in (16.0, QUANTIZED_BITS):
        weights = weight_bytes(shape, bits)
        at_once = min(AT_ONCE, int((_VLLM_SHARE * card.memory - weights / GIGA - OVERHEAD) / of_a_row))
        if at_once < 1:
            continue
        read = workload.prompt_tokens * FORWARD * shape.multiplied / speed
        step = max(weights / (card.bandwidth * GIGA), FORWARD * shape.multiplied * at_once / speed)
        seconds = workload.test_rows * (read + workload.answer_tokens * step / at_once)
        return seconds / PREDICTION_UTILIZATION / 3600, int(bits)
    return None


def _on_card(card: Card, recipe: Recipe, workload: Workload, shape: Architecture) -> OnCard:
    needed = training_memory(recipe, shape, workload.longest, recipe.batch_size)
    batch = largest_batch(recipe, shape, workload.longest, _USABLE * card.memory)
    a_step = recipe.batch_size * recipe.gradient_accumulation
    notes, hours = [] if card.bfloat16 or recipe.precision == "float32" else ["in float16"], None
    if batch is None:
        one = training_memory(recipe, shape, workload.longest, 1).total
        notes.append(f"too small: one row at once needs {one:.1f} GB")
    elif batch < recipe.batch_size:
        notes.append(f"too small: needs {needed.total:.1f} GB; with batch {batch} x {_batches(a_step, batch)} it fits")
    if recipe.precision == "bfloat16" and not card.bfloat16:
        batch, notes = None, ["has no bfloat16, which the recipe asks for; take precision auto"]
    elif recipe.precision == "float32":
        notes.append("its speed in float32 is not known")
    elif batch is not None:
        hours = training_hours(recipe, workload.rows, workload.tokens_a_row, shape, card)
    predicted = prediction_hours(workload, shape, card) if workload.test_rows else None
    known = hours is not None and card.dollars is not None and (predicted is not None or not workload.test_rows)
    return OnCard(
        card=card,
        needed=needed,
        fits=batch == recipe.batch_size,
        batch_size=batch,
        gradient_accumulation=None if batch is None else _batches(a_step, batch),
        training_hours=hours,
        prediction_hours=None if predicted is None else predicted[0],
        prediction_bits=None if predicted is None else predicted[1],
        dollars=((hours or 0) + (predicted[0] if predicted else 0)) * (card.dollars or 0) if known else None,
        note="; ".join(notes),
    )


def _batches(a_step: int, batch: int) -> int:
    """Return how many batches make about so many rows a step."""
    return max(round(a_step / batch), 1)
