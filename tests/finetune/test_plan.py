from dataclasses import replace

import numpy as np
import pytest

from catalog.schema import PRESETS
from finetune.architecture import load_architecture
from finetune.cards import load_cards
from finetune.examples import Lengths
from finetune.memory import training_memory
from finetune.plan import largest_batch, make_plan
from finetune.recipe import load_recipe
from finetune.workload import Workload, counter, measure

LLAMA = load_architecture("llama-3-8b")
BEST = load_recipe("lora-llama3-8b")


@pytest.fixture(scope="module")
def work(shop) -> Workload:
    """The reported run: 100,000 rows to learn from, of the shape of the made-up ones, and 184,664 to predict."""
    recipe = load_recipe("lora-llama3-8b")
    counted = measure(shop.train, 184_664, PRESETS["indoml"], recipe, counter("no/tokenizer"))
    return replace(counted, rows=100_000)


def on(name: str, recipe=BEST, work=None, shape=LLAMA, cards=None):
    plan = make_plan(recipe, work, shape, cards or load_cards())
    return next(found for found in plan.cards if found.card.name == name)


def test_the_reported_run(work: Workload) -> None:
    found = on("A40", work=work)
    assert found.training_hours / 3 == pytest.approx(1.5, rel=0.25)
    assert found.prediction_hours == pytest.approx(0.5, rel=0.25)
    assert found.dollars == pytest.approx(0.5 * (found.training_hours + found.prediction_hours))
    assert found.dollars == pytest.approx(2.5, rel=0.25)
    assert found.fits
    assert (found.batch_size, found.gradient_accumulation, found.prediction_bits) == (16, 4, 16)


def test_16_gb_do_with_batch_11(work: Workload) -> None:
    found = on("T4", load_recipe("lora-small"), work)
    assert found.fits
    assert (found.batch_size, found.gradient_accumulation) == (11, 6)
    assert found.prediction_bits == 4  # the merged model's 16 GB do not fit
    assert found.note == "in float16"


def test_counts(work: Workload) -> None:
    plan = make_plan(BEST, work, LLAMA, load_cards())
    assert plan.steps == BEST.steps(100_000) == 4689
    assert plan.evaluations == 23
    assert (plan.parameters, plan.trained) == (8_030_261_248, 41_943_040)
    assert [found.card for found in plan.cards] == load_cards()
    assert make_plan(BEST, replace(work, held_out=0), LLAMA, []).evaluations == 0


def test_the_largest_batch_that_fits(work: Workload) -> None:
    long = replace(work, longest=500)
    found = on("T4", work=long)
    assert not found.fits
    assert 1 <= found.batch_size < 16
    room = 0.97 * 16
    assert training_memory(BEST, LLAMA, 500, found.batch_size).total <= room
    assert training_memory(BEST, LLAMA, 500, found.batch_size + 1).total > room
    assert 48 <= found.batch_size * found.gradient_accumulation <= 80
    assert found.note.startswith(
        f"in float16; too small: needs {found.needed.total:.1f} GB; with batch {found.batch_size} x "
    )
    assert found.training_hours is not None
    assert largest_batch(BEST, LLAMA, 500, 1000) == 16


def test_a_card_that_not_even_one_row_fits_on(work: Workload) -> None:
    found = on("T4", load_recipe("lora-llama3-8b", load_in_4bit=False), work)
    assert (found.fits, found.batch_size, found.gradient_accumulation) == (False, None, None)
    assert (found.training_hours, found.dollars) == (None, None)
    assert found.note.startswith("in float16; too small: one row at once needs 1")


def test_an_unknown_price_is_unknown(work: Workload) -> None:
    found = on("T4", work=work)
    assert found.card.dollars is None
    assert found.training_hours is not None
    assert found.dollars is None
    free = [card.model_copy(update={"dollars": 0.0}) for card in load_cards()]
    assert on("T4", work=work, cards=free).dollars == 0


def test_hours(work: Workload) -> None:
    hours = on("A40", work=work).training_hours
    kept = load_recipe("lora-llama3-8b", gradient_checkpointing=False)
    assert on("A40", kept, work).training_hours == pytest.approx(hours * 4 / 6)  # not forward again
    assert on("A40", load_recipe("lora-llama3-8b", epochs=1), work).training_hours == pytest.approx(hours / 3)
    assert on("A40", work=replace(work, rows=50_000)).training_hours == pytest.approx(hours / 2)
    assert on("A100-80", work=work).training_hours == pytest.approx(hours * 149.7 / 312)


def test_prediction(work: Workload) -> None:
    hours = on("A40", work=work).prediction_hours
    assert on("A40", work=replace(work, test_rows=184_664 // 2)).prediction_hours == pytest.approx(hours / 2)
    longer = replace(work, answer_tokens=2 * work.answer_tokens)
    assert hours < on("A40", work=longer).prediction_hours < 2 * hours
    none = on("A40", work=replace(work, test_rows=0))
    assert (none.prediction_hours, none.prediction_bits) == (None, None)
    assert none.dollars == pytest.approx(0.5 * none.training_hours)
    # Where weights come slowly out of the memory, they set the pace of what is written.
    slow = [card.model_copy(update={"bandwidth": 100.0}) for card in load_cards()]
    assert on("A40", work=work, cards=slow).prediction_hours > 2 * hours


def test_a_card_too_small_to_predict_on(work: Workload) -> None:
    tiny = [load_cards()[0].model_copy(update={"memory": 6.0})]
    found = on("T4", work=work, cards=tiny)
    assert (found.prediction_hours, found.prediction_bits, found.dollars) == (None, None, None)


def test_precisions(work: Workload) -> None:
    found = on("T4", load_recipe("lora-llama3-8b", precision="bfloat16"), work)
    assert (found.fits, found.training_hours) == (False, None)
    assert "no bfloat16" in found.note
    wide = on("A40", load_recipe("lora-llama3-8b", precision="float32"), work)
    assert (wide.fits, wide.training_hours, wide.dollars) == (True, None, None)
    assert "not known" in wide.note


def test_the_histogram_s_lengths_are_those_counted(work: Workload) -> None:
    assert isinstance(work.lengths, Lengths)
    assert work.longest == np.max(work.lengths.counts)
