import pytest

from finetune.architecture import load_architecture
from finetune.memory import row_memory, training_memory, weight_bytes
from finetune.recipe import load_recipe

LLAMA = load_architecture("llama-3-8b")
RECIPE = load_recipe("lora-llama3-8b")


def test_weights() -> None:
    # The published 4-bit checkpoint has 5.70 GB, that in 16 bits 16.06 GB.
    assert training_memory(RECIPE, LLAMA, 100, 1).weights == pytest.approx(5.70, abs=0.02)
    assert weight_bytes(LLAMA, 16) / 1e9 == pytest.approx(16.06, abs=0.01)
    full = load_recipe("lora-llama3-8b", load_in_4bit=False, precision="float32")
    assert training_memory(full, LLAMA, 100, 1).weights == pytest.approx(32.12, abs=0.02)


def test_adapters_gradients_and_optimizer() -> None:
    trained = 41_943_040
    assert training_memory(RECIPE, LLAMA, 100, 1).adapters == pytest.approx(trained * (4 + 4 + 2) / 1e9)
    plain = load_recipe("lora-llama3-8b", optimizer="adamw_torch")
    assert training_memory(plain, LLAMA, 100, 1).adapters == pytest.approx(trained * (4 + 4 + 8) / 1e9)


def test_what_grows_with_the_batch() -> None:
    one, four = training_memory(RECIPE, LLAMA, 100, 1), training_memory(RECIPE, LLAMA, 100, 4)
    assert four.logits == pytest.approx(4 * one.logits)
    assert one.logits == pytest.approx(4 * 4 * 100 * 128_256 / 1e9)
    # And one map's weights, written out, whatever the batch.
    assert four.activations - one.activations == pytest.approx(3 * (one.activations - 2 * 4096 * 14_336 / 1e9))
    assert (four.weights, four.adapters) == (one.weights, one.adapters)
    assert training_memory(RECIPE, LLAMA, 400, 1) == four  # a batch is so many tokens
    assert four.total == pytest.approx(sum(vars(four).values()))


def test_checkpointing_saves_most_of_the_activations() -> None:
    kept = load_recipe("lora-llama3-8b", gradient_checkpointing=False)
    with_it, without = (training_memory(recipe, LLAMA, 100, 16).activations for recipe in (RECIPE, kept))
    assert without > 6 * with_it


def test_keys_and_values() -> None:
    assert row_memory(LLAMA, 1) * 1e9 == 2 * 2 * 32 * 1024
