"""``classify plan``: what is printed before anything is spent."""

import json

import pytest


def test_tables(command, shop) -> None:
    done = command("plan", "--strategy", "lora", "--train", shop.train_file, "--test", shop.test_file)
    assert done.code == 0, done.err
    out = " ".join(done.out.split())
    assert f"{len(shop.train) - 26:,} of " in out
    assert "26 held out" in out
    assert "estimated on the high side" in out
    assert "41,943,040 (0.52%)" in out
    assert "####" in out
    assert "calibrated on Llama-3-8B in 4 bits" in out
    assert "the datathon team's report (2024)" in out
    (t4,) = (line for line in done.out.splitlines() if "T4" in line)
    assert "unknown" in t4
    assert "0.00" not in t4
    assert "prediction" in out


def test_json(command, shop) -> None:
    done = command("plan", "--train", shop.train_file, "--test-rows", 1000, "--epochs", 1, "--batch-size", 4, "--json")
    value = json.loads(done.out)
    assert (value["strategy"], value["rows"], value["held_out"]) == ("lora", len(shop.train) - 26, 26)
    assert (value["test_rows"], value["recipe"]["epochs"], value["recipe"]["batch_size"]) == (1000, 1, 4)
    assert value["steps"] == -(-value["rows"] // 16)
    tokens = value["tokens"]
    assert tokens["estimated"]
    assert tokens["all"] == pytest.approx(tokens["a_row"] * value["rows"], abs=1)
    assert sum(found for _, _, found in tokens["histogram"]) == tokens["counted_rows"] == value["rows"]
    cards = {found["card"]["name"]: found for found in value["cards"]}
    assert cards["T4"]["dollars"] is None
    assert cards["A40"]["dollars"] > 0
    needed = cards["A40"]["needed"]
    assert needed.pop("total") == pytest.approx(sum(needed.values()))
    assert "estimate" in value["calibration"]


def test_nothing_to_predict(command, shop) -> None:
    done = command("plan", "--train", shop.train_file, "--recipe", "lora-small")
    assert "prediction" not in done.out.partition("hours are an estimate")[0]
    assert "predict" not in done.out.partition("hours are an estimate")[0]


def test_rows_that_are_too_long(command, shop) -> None:
    done = command("plan", "--train", shop.train_file, "--max-seq-length", 130)
    assert done.code == 2
    assert "longer than max_seq_length" in done.out
    assert "A40" in done.out
    assert done.err.startswith("classify: --max-seq-length 130: ")
    assert "estimated on the high side" in done.err
    assert done.err.count("\n") == 1


def test_options_reach_the_recipe(command, shop, tmp_path) -> None:
    recipe, cards = tmp_path / "own.toml", tmp_path / "cards.toml"
    recipe.write_text('base = "unsloth/Llama-3.2-1B"\nwhole_set = true\n')
    cards.write_text("[cards.A40]\ndollars = 0.25\n")
    options = (
        "--clean-text",
        "--ignore-price",
        "--gradient-accumulation",
        2,
        "--seed",
        7,
        "--sample",
        230,
        "--grouped",
    )
    done = command("plan", "--train", shop.train_file, "--recipe", recipe, "--cards", cards, *options, "--json")
    value = json.loads(done.out)
    figures = value["recipe"]
    assert (figures["clean_text"], figures["ignore_price"], figures["grouped"]) == (True, True, True)
    assert (figures["gradient_accumulation"], figures["sample"]) == (2, 230)
    assert figures["whole_set"] is False  # a sample that is asked for goes before the recipe's whole set
    assert value["rows"] <= 230
    assert value["parameters"] == 1_235_814_400
    assert next(found for found in value["cards"] if found["card"]["name"] == "A40")["card"]["dollars"] == 0.25


def test_help(command) -> None:
    done = command("plan", "--help")
    assert done.code == 0
    assert "Usage: classify plan" in done.out


def test_two_files(command, shop) -> None:
    one = json.loads(command("plan", "--train", shop.train_file, "--json").out)
    two = json.loads(command("plan", "--train", shop.train_file, "--train", shop.train_file, "--json").out)
    assert two["rows"] == 2 * one["rows"]


def test_mistakes(refused, shop, tmp_path) -> None:
    train = ("plan", "--train", shop.train_file)
    line = refused(*train, "--strategy", "tree")
    assert line == "classify: --strategy tree: cannot be planned; what can be planned: lora, openai"
    assert "did you mean 'lora'" in refused(*train, "--strategy", "lore")
    assert "--base gpt2: its shape is not known here" in refused(*train, "--base", "gpt2")
    assert "did you mean 'lora-small'" in refused(*train, "--recipe", "lora-smal")
    assert "batch_size is 0" in refused(*train, "--batch-size", 0)
    assert "one of --sample and --whole-set" in refused(*train, "--sample", 200, "--whole-set")
    assert "one of --test and --test-rows" in refused(*train, "--test", shop.test_file, "--test-rows", 5)
    assert "cannot hold a row of each" in refused(*train, "--sample", 2)
    assert "cannot be read" in refused(*train, "--cards", tmp_path / "none.toml")
    assert refused("plan") == "classify: give one of --train TRAIN and --run RUN; see classify plan --help"
    assert "--run RUN" in refused(*train, "--run", tmp_path)
    line = refused(*train, "--max-training-tokens", 5)
    assert line.startswith("classify: --max-training-tokens is not an option of plan --strategy lora; it has --base")
    assert "--llm is not an option of plan --strategy lora" in refused(*train, "--llm", "gpt-4o")
    assert refused("plan", "--train", tmp_path / "none.features")
