import json
import sys
from types import SimpleNamespace

import pytest

import finetune.architecture
from catalog.errors import ShelfmarkError
from finetune.architecture import load_architecture, local_folder
from finetune.recipe import PROJECTIONS, load_recipe

TINY = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "intermediate_size": 20,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
}


@pytest.fixture
def base(tmp_path):
    def write(**changes) -> str:
        (tmp_path / "config.json").write_text(json.dumps({**TINY, **changes}))
        return str(tmp_path)

    return write


@pytest.mark.parametrize(
    ("name", "parameters", "adapters"),
    [  # as their model cards and PEFT's print_trainable_parameters say
        ("unsloth/llama-3-8b-Instruct-bnb-4bit", 8_030_261_248, 41_943_040),
        ("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_248, 41_943_040),
        ("meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400, 11_272_192),
        ("meta-llama/Llama-3.2-3B-Instruct", 3_212_749_824, 24_313_856),
        ("unsloth/Phi-3-mini-4k-instruct-bnb-4bit", 3_821_079_552, 29_884_416),
    ],
)
def test_parameters_of_known_models(name: str, parameters: int, adapters: int) -> None:
    shape = load_architecture(name)
    assert shape.parameters == parameters
    assert shape.adapters(16, PROJECTIONS) == adapters


@pytest.mark.parametrize("recipe", ["lora-llama3-8b", "lora-small", "lora-phi3"])
def test_the_recipes_bases_are_known(recipe: str) -> None:
    assert load_architecture(load_recipe(recipe).base).parameters > 1e9


def test_a_folder_tells_its_own_shape(base) -> None:
    shape = load_architecture(base())
    layer = 8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 20
    assert shape.linear == 2 * layer
    assert shape.multiplied == 2 * layer + 800
    assert shape.parameters == 2 * layer + 2 * 800 + 5 * 8
    assert load_architecture(base(tie_word_embeddings=True)).parameters == 2 * layer + 800 + 5 * 8
    assert load_architecture(base(head_dim=16)).linear > shape.linear
    assert load_architecture(base(num_key_value_heads=None)).keys == 8
    assert load_architecture(base(hidden_size=0, text_config={"hidden_size": 8})) == shape
    assert shape.adapters(3, ["q_proj", "down_proj"]) == 2 * 3 * (16 + 28)
    assert shape.adapters(3, ["qkv_proj", "gate_up_proj"]) == 2 * 3 * (8 + 16 + 8 + 40)


def test_the_cache_tells_too(base, monkeypatch) -> None:
    folder = base()
    asked = []

    def cached(name, file):
        asked.append((name, file))
        if name == "not a name!":
            raise ValueError(name)
        return f"{folder}/config.json" if name == "some/base" else None

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(try_to_load_from_cache=cached))
    monkeypatch.setattr(finetune.architecture, "find_spec", lambda name: object())
    assert load_architecture("some/base").vocabulary == 100
    assert asked == [("some/base", "config.json")]
    assert local_folder("other/base") is None
    assert local_folder("not a name!") is None


def test_what_cannot_be_planned(base, tmp_path) -> None:
    with pytest.raises(ShelfmarkError, match=r"--base gpt2: its shape is not known here; .*llama-3-8b"):
        load_architecture("gpt2")
    with pytest.raises(ShelfmarkError, match="'hidden_size' is None; only models of Llama's kind"):
        load_architecture(base(hidden_size=None))
    with pytest.raises(ShelfmarkError, match="a mixture of experts"):
        load_architecture(base(num_local_experts=8))
    with pytest.raises(ShelfmarkError, match="'q_prj' is unknown \\(did you mean 'q_proj'\\?\\)"):
        load_architecture(base()).adapters(4, ["q_prj"])
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ShelfmarkError, match=r"config\.json: not JSON"):
        load_architecture(str(tmp_path))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ShelfmarkError, match="not a JSON object"):
        load_architecture(str(tmp_path))
    (tmp_path / "config.json").unlink()
    with pytest.raises(ShelfmarkError, match=r"config\.json: cannot be read"):
        load_architecture(str(tmp_path))
