import json

import pytest

from catalog.errors import ShelfmarkError
from classify.presets import load_preset
from classify.registry import engine_options
from classify.strategies.rag_options import RagOptions


def test_the_datathon_s_rag() -> None:
    preset = load_preset("rag-llama31")
    options = RagOptions(**preset.options)
    assert (options.encoder, options.top_k, options.filter, options.calibrate) == ("mpnet", 5, "none", 0)
    engine = engine_options(preset.engine, preset.engine_options)
    assert (engine.llm, engine.temperature) == ("meta-llama/Llama-3.1-8B-Instruct", 0.1)
    assert (engine.max_tokens, engine.max_model_len, engine.constrain) == (128, 2048, "off")


def test_what_is_given_beside_it_goes_before(shop, command, tmp_path) -> None:
    files = ["--train", shop.train_file, "--test", shop.test_file, "--run", tmp_path / "run", "--until", "requests"]
    done = command("--preset", "rag-llama31", *files, "--encoder", "ngram", "--temperature", "0.5")
    assert done.code == 0, done.err
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["options"]["encoder"] == "ngram"
    assert manifest["options"]["top_k"] == 5
    assert manifest["engine"] == "vllm"
    assert manifest["engine_options"]["temperature"] == 0.5
    assert manifest["engine_options"]["max_tokens"] == 128
    line = json.loads((tmp_path / "run" / "requests.jsonl").open().readline())
    (turn,) = line["messages"]
    assert turn["content"].endswith("Answer with the label only.")
    assert "supergroup__group__module__brand" in turn["content"]


def test_numbers_and_single_letters_are_left_out(shop, command, tmp_path, lines) -> None:
    files = ["--train", shop.train_file, "--test", shop.test_file, "--run", tmp_path / "run", "--until", "requests"]
    assert command("--preset", "rag-llama31", "--encoder", "ngram", *files).code == 0
    for line in lines(tmp_path / "run" / "requests.jsonl"):
        text = line["messages"][0]["content"].partition("Description: ")[2].partition("\n")[0]
        assert not any(sign.isdigit() for sign in text)
        assert all(len(word) > 1 for word in text.split() if word.isalpha())


def test_an_unknown_name() -> None:
    with pytest.raises(ShelfmarkError, match="did you mean 'rag-llama31'"):
        load_preset("rag-llama3")
