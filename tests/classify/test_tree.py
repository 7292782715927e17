"""`--strategy tree`, from the command and from Python."""

import json
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from catalog.errors import ShelfmarkError
from classify import fit, load


@pytest.fixture(scope="module")
def tree(shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree") / "model"
    fit(shop.train, strategy="tree").save(folder)
    return folder


def test_the_job_end_to_end(command, shop, lines, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = command("--strategy", "tree", "--train", shop.train_file, "--test", shop.known, "--run", run, "--top-n", 3)
    assert done.code == 0, done.err
    for word in ("tree", "item accuracy", "calibration error, held out", "before", "after"):
        assert word in done.out
    rows = lines(run / "predictions.jsonl")
    assert [row["indoml_id"] for row in rows] == shop.test.ids
    for row in rows:
        assert row["status"] == "exact"
        assert row["level_confidence"][-1] == row["confidence"]
        assert len(row["level_confidence"]) == 4
        path, chance = row["top"][0]
        assert path == [row[level] for level in shop.schema.levels]
        assert chance == row["confidence"]
    manifest = json.loads((run / "manifest.json").read_text())
    calibration = manifest["calibration"]
    assert {"ece_before", "ece_after"} <= calibration.keys()
    low, high = calibration["ece_interval"]
    assert low <= calibration["ece_after"] <= high
    assert f"({low:.4f} to {high:.4f})" in " ".join(done.out.split())
    assert list(calibration["by_level"]) == list(shop.schema.levels)
    # A retailer that is off all the same has a line of its own.
    told = {"rows": 400, "item_accuracy": 0.55, "mean_confidence": 0.71, "ece": 0.16, "ece_interval": [0.12, 0.2]}
    manifest["calibration"]["by_retailer"] = {"[off]": told, "fine": {**told, "mean_confidence": 0.56}}
    (run / "manifest.json").write_text(json.dumps(manifest))
    again = command("resume", run)
    assert "but for [off]" in again.out
    assert "fine" not in again.out
    assert not (run / "requests.jsonl").exists()
    assert command("submit", run).code == 0


def test_a_model_is_used_again_with_other_options(command, shop, tree: Path, lines, tmp_path: Path) -> None:
    arguments = ("--model", tree, "--test", shop.known)
    assert command(*arguments, "--run", tmp_path / "all").code == 0
    whole = lines(tmp_path / "all" / "predictions.jsonl")
    # The files round: a threshold between two probabilities, not on one, and between two rows' confidences.
    sure = sorted(row["confidence"] for row in whole)
    chances = sorted({chance for row in whole for chance in row["level_confidence"] if sure[0] <= chance <= sure[-1]})
    low, high = max(pairwise(chances), key=lambda pair: pair[1] - pair[0])
    at = (low + high) / 2
    done = command(*arguments, "--run", tmp_path / "some", "--abstain-below", at)
    assert done.code == 0, done.err
    assert "coverage" in done.out
    assert "calibration error, held out" in done.out  # of a model that was fitted elsewhere, too
    some = lines(tmp_path / "some" / "predictions.jsonl")
    levels = shop.schema.levels
    for full, kept in zip(whole, some, strict=True):
        for level, chance in zip(levels, full["level_confidence"], strict=True):
            assert kept[level] == (full[level] if chance >= at else "")
        assert kept["status"] == ("exact" if full["confidence"] >= at else "abstained")
    metrics = json.loads((tmp_path / "some" / "metrics.json").read_text())["evaluation"]
    assert 0 < metrics["coverage"] < 1
    assert metrics["answered_item_accuracy"] > metrics["item_accuracy"]


def test_python_and_command_agree(shop, tree: Path) -> None:
    model = load(tree, top_n=2)
    frame = model.predict(shop.test)
    assert isinstance(frame, pd.DataFrame)
    assert frame["top"].map(len).max() == 2
    again = fit(shop.train, strategy="tree").predict(shop.test)
    assert again["brand"].tolist() == frame["brand"].tolist()


def test_damage_is_one_clear_line(refused, shop, tree: Path, tmp_path: Path) -> None:
    fit(shop.train, strategy="tree").save(tmp_path / "model")
    victim = tmp_path / "model" / "tree" / "idf.npy"
    victim.write_bytes(victim.read_bytes()[:-1])
    message = refused("--model", tmp_path / "model", "--test", shop.test_file, "--run", tmp_path / "run")
    assert "idf.npy: damaged" in message
    assert "fit the model again" in message
    with pytest.raises(ShelfmarkError, match=r"idf\.npy: damaged"):
        load(tmp_path / "model")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--top-n", 0], "--top-n 0: Input should be greater than or equal to 1"),
        (["--abstain-below", 2], "--abstain-below 2.0: Input should be less than or equal to 1"),
        (["--top-k", 3], "--top-k is not an option of tree"),
        (["--policy", "pth"], "--policy pth: unknown"),
    ],
)
def test_wrong_options_are_refused(refused, shop, tmp_path: Path, options: list, message: str) -> None:
    start = ("--strategy", "tree", "--train", shop.train_file, "--test", shop.test_file, "--run", tmp_path / "run")
    assert message in refused(*start, *options)
    assert not (tmp_path / "run").exists()


def test_options_of_tree_are_not_those_of_rag(refused, shop, tmp_path: Path) -> None:
    start = ("--train", shop.train_file, "--test", shop.test_file, "--run", tmp_path / "run")
    assert "--top-n is not an option of rag" in refused(*start, "--top-n", 2)


def test_another_encoder_needs_another_fit(refused, shop, tree: Path, tmp_path: Path) -> None:
    start = ("--model", tree, "--test", shop.test_file, "--run", tmp_path / "run")
    assert "this model was fitted with ngram; fit another one" in refused(*start, "--encoder", "minilm")


def test_it_votes_with_other_runs(command, shop, finished: Path, tree: Path, lines, tmp_path: Path) -> None:
    assert command("--model", tree, "--test", shop.known, "--run", tmp_path / "tree").code == 0
    done = command("vote", tmp_path / "tree", finished, "--out", tmp_path / "both")
    assert done.code == 0, done.err
    assert len(lines(tmp_path / "both" / "predictions.jsonl")) == len(shop.test)
    done = command("ask", tmp_path / "tree", "--rows", 5)
    assert done.code == 0, done.err


def test_it_asks_nothing(command, refused, shop, tree: Path, tmp_path) -> None:
    run = tmp_path / "run"
    assert command("--model", tree, "--test", shop.test_file, "--run", run, "--limit", 5).code == 0
    (tmp_path / "answers.jsonl").write_text("")
    told = f"{run}: the strategy tree asks nothing"
    assert told in refused("import", run, tmp_path / "answers.jsonl")
    assert told in refused("export", run, "--format", "openai-batch", "--llm", "x")
    assert told in refused("snap", run, "--train", shop.train_file, "--out", tmp_path / "out.jsonl")
