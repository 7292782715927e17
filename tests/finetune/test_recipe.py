import tomllib

import pytest

from catalog.errors import ShelfmarkError
from finetune.examples import Selection
from finetune.recipe import RECIPES, load_recipe


def test_the_datathon_s_best_run() -> None:
    recipe = load_recipe("lora-llama3-8b")
    assert recipe.adapter_arguments() == {
        "r": 16,
        "lora_alpha": 16,
        "lora_dropout": 0.0,
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        "bias": "none",
    }
    figures = recipe.trainer_arguments()
    assert (figures["per_device_train_batch_size"], figures["gradient_accumulation_steps"]) == (16, 4)
    assert (figures["warmup_steps"], figures["num_train_epochs"], figures["learning_rate"]) == (5, 3, 2e-4)
    assert (figures["optim"], figures["lr_scheduler_type"], figures["weight_decay"]) == ("adamw_8bit", "linear", 0.01)
    assert (figures["max_length"], figures["seed"], figures["completion_only_loss"]) == (512, 3407, True)
    assert (recipe.load_in_4bit, recipe.selection) == (True, Selection(sample=100_000))
    assert "max_steps" not in figures  # theirs stopped after 60 by mistake


@pytest.mark.parametrize("name", tomllib.loads(RECIPES.read_text()))
def test_every_recipe_can_be_read_and_says_what_it_is(name: str) -> None:
    assert load_recipe(name).about


def test_the_other_tries() -> None:
    assert load_recipe("lora-small").batch_size == 11
    assert load_recipe("lora-phi3").selection.sample is None
    assert load_recipe("lora-llama3-8b-grouped").selection.grouped
    earlier = load_recipe("lora-llama3-8b-94k")
    assert (earlier.selection, earlier.epochs) == (Selection(94_000), 2)
    bare = load_recipe("lora-llama3-8b-no-numbers")
    assert (bare.selection, bare.epochs) == (Selection(150_000, clean_text=True, ignore_price=True), 2)


def test_steps() -> None:
    assert load_recipe("lora-llama3-8b").steps(100_000) == 3 * 1563
    assert load_recipe("lora-llama3-8b", epochs=0.001).steps(10) == 1


def test_a_file_of_one_s_own_and_changes(tmp_path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('base = "tiny"\nrank = 4\n')
    recipe = load_recipe(str(file), epochs=1)
    assert (recipe.base, recipe.rank, recipe.epochs, recipe.alpha) == ("tiny", 4, 1, 16)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rnak = 4", "a recipe has no 'rnak' \\(did you mean 'rank'\\?\\)"),
        ("rank = 0", "rank is 0: "),
        ("epochs = inf", "epochs is inf: "),
        ("rank =", "not TOML"),
    ],
)
def test_wrong_files(tmp_path, text: str, message: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(text)
    with pytest.raises(ShelfmarkError, match=message):
        load_recipe(str(file))


def test_wrong_names(tmp_path) -> None:
    with pytest.raises(ShelfmarkError, match="did you mean 'lora-small'"):
        load_recipe("lora-smal")
    with pytest.raises(ShelfmarkError, match="cannot be read"):
        load_recipe(str(tmp_path / "none.toml"))
