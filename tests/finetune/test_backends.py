import ast
import importlib.metadata
from pathlib import Path

import pytest

from catalog.errors import ShelfmarkError
from finetune.backends import choose_backend, trl_arguments, unsloth_arguments
from finetune.recipe import load_recipe

OWN = 'base = "own/model"\nrank = 8\nalpha = 24\ndropout = 0.1\nprojections = ["q_proj", "v_proj"]\ntrain_seed = 11\n'
OWN += "max_seq_length = 256\nload_in_4bit = false\nbatch_size = 3\nlearning_rate = 1e-3\n"


def test_one_file_gives_both_backends_the_same(tmp_path) -> None:
    (tmp_path / "own.toml").write_text(OWN)
    recipe = load_recipe(str(tmp_path / "own.toml"))
    loading, unsloth = unsloth_arguments(recipe)
    quantized, peft = trl_arguments(recipe)
    shared = {"r", "lora_alpha", "lora_dropout", "target_modules", "bias"}
    assert {name: unsloth[name] for name in shared} == {name: peft[name] for name in shared}
    assert (unsloth["r"], unsloth["lora_alpha"], unsloth["target_modules"]) == (8, 24, ["q_proj", "v_proj"])
    assert loading == {
        "model_name": "own/model",
        "max_seq_length": 256,
        "load_in_4bit": False,
        "use_exact_model_name": True,
    }
    assert quantized == {}
    # What trains is TRL's trainer with both, so these reach it alike.
    figures = recipe.trainer_arguments()
    assert (figures["max_length"], figures["seed"]) == (loading["max_seq_length"], unsloth["random_state"])
    assert (figures["per_device_train_batch_size"], figures["learning_rate"]) == (3, 1e-3)


def test_four_bits() -> None:
    recipe = load_recipe("lora-llama3-8b")
    assert unsloth_arguments(recipe)[0]["load_in_4bit"] is True
    assert trl_arguments(recipe)[0] == {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
    }
    assert unsloth_arguments(recipe)[1]["use_gradient_checkpointing"] == "unsloth"
    bare = load_recipe("lora-llama3-8b", gradient_checkpointing=False)
    assert unsloth_arguments(bare)[1]["use_gradient_checkpointing"] is False


@pytest.mark.extras
def test_without_a_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        assert choose_backend("trl") == "trl"
        return
    assert choose_backend("auto") == "trl"
    with pytest.raises(ShelfmarkError, match="--backend unsloth: it needs a GPU, and there is none here"):
        choose_backend("unsloth")


@pytest.mark.extras
def test_the_libraries_take_the_arguments(tmp_path) -> None:
    import peft
    import transformers
    import trl

    recipe = load_recipe("lora-llama3-8b")
    quantized, adapting = trl_arguments(recipe)
    config = peft.LoraConfig(**adapting)
    assert (config.r, config.lora_alpha, config.target_modules) == (16, 16, set(recipe.projections))
    four_bits = transformers.BitsAndBytesConfig(**quantized)
    assert (four_bits.load_in_4bit, four_bits.bnb_4bit_quant_type) == (True, "nf4")
    settings = trl.SFTConfig(output_dir=str(tmp_path), use_cpu=True, **recipe.trainer_arguments())
    assert settings.max_length == 512
    assert settings.completion_only_loss is True


@pytest.mark.extras
def test_unsloth_takes_the_arguments() -> None:
    """As far as it goes without a GPU: importing it raises there, so its source is read."""
    files = importlib.metadata.files("unsloth")
    assert files is not None

    def parameters(file: str, owner: str, name: str) -> set[str]:
        (found,) = [one for one in files if str(one) == f"unsloth/models/{file}"]
        for node in ast.walk(ast.parse(Path(str(found.locate())).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name == owner:
                for method in node.body:
                    if isinstance(method, ast.FunctionDef) and method.name == name:
                        return {argument.arg for argument in (*method.args.args, *method.args.kwonlyargs)}
        raise AssertionError(f"{owner}.{name} is not in {file}")

    loading, adapting = unsloth_arguments(load_recipe("lora-llama3-8b"))
    assert {*loading, "dtype"} <= parameters("loader.py", "FastLanguageModel", "from_pretrained")
    assert set(adapting) <= parameters("llama.py", "FastLlamaModel", "get_peft_model")
    for name in ("for_inference", "for_training"):  # between which it is asked while it is trained
        assert "model" in parameters("llama.py", "FastLlamaModel", name)
