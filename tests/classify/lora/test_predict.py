"""A fitted `lora` model at work: merged and as an adapter, in transformers, in vLLM and behind vLLM's server."""

import json
import math
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from catalog.products import read_products
from catalog.schema import PRESETS
from classify import load

pytestmark = pytest.mark.extras
SCHEMA = PRESETS["indoml"]
TIES = 2  # of 150 rows: where two tokens are as likely, sums in another order may decide otherwise


@pytest.fixture(scope="module")
def predicted(tuned: Path, shelves, classify, lines, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What the merged model says through transformers: the run by the command, scored."""
    run = tmp_path_factory.mktemp("runs") / "merged"
    done = classify("--strategy", "lora", "--model", tuned, "--test", shelves.folder, "--run", run)
    assert done.returncode == 0, done.stderr
    assert "lora, transformers" in done.stdout
    assert "what confidences are worth" in done.stdout
    metrics = json.loads((run / "metrics.json").read_text())
    labels = read_products(shelves.folder / "test.features", SCHEMA, labels=True).require_labels()
    majority = Counter(labels).most_common(1)[0][1] / len(labels)
    assert metrics["evaluation"]["item_accuracy"] > 1.8 * majority
    assert metrics["statuses"] == {"exact": len(labels)}  # every answer is held to a valid label path
    return lines(run / "predictions.jsonl")


def paths(rows: list[dict]) -> list[tuple]:
    return [tuple(row[name] for name in (SCHEMA.id, *SCHEMA.levels)) for row in rows]


def test_requests_are_json_and_confidences_probabilities(tuned: Path, predicted, shelves) -> None:
    model = load(tuned)
    products = read_products(shelves.folder / "test.features", SCHEMA)
    (first, *_) = model.strategy.requests(products)
    assert first.messages[0]["content"].startswith('{"description": "')
    assert first.candidates == []
    assert first.max_tokens == model.strategy.about["most_answer_tokens"]
    assert all(0 <= row["confidence"] <= 1 for row in predicted)
    assert len({row["confidence"] for row in predicted}) > 1


def same(told: pd.DataFrame, predicted: list[dict]) -> int:
    """Return how many rows have the same label path."""
    return sum(mine == other for mine, other in zip(paths(told.to_dict("records")), paths(predicted), strict=True))


def test_the_adapter_on_its_base_says_the_same(predicted, tuned: Path, shelves) -> None:
    told = load(tuned, serve="adapter").predict(shelves.folder / "test.features")
    assert same(told, predicted) >= len(predicted) - TIES


@pytest.mark.parametrize("serve", ["merged", "adapter"])
def test_vllm_says_the_same(serve: str, predicted, tuned: Path, shelves, vllm_settings) -> None:
    told = load(tuned, serve=serve).predict(shelves.folder / "test.features", engine="vllm", dtype="float32")
    assert same(told, predicted) >= len(predicted) - TIES
    assert all(status == "exact" for status in told["status"])


def test_free_answers_are_repaired_and_counted_never_dropped(
    tuned: Path, predicted, shelves, command, tmp_path
) -> None:
    run = tmp_path / "run"
    arguments = ("--model", tuned, "--test", shelves.folder, "--run", run, "--constrain", "off", "--limit", 40)
    # So hot that many answers are damaged.
    done = command(*arguments, "--temperature", 1.5, "--calibrate", 0)
    assert done.code == 0, done.err
    statuses = json.loads((run / "metrics.json").read_text())["statuses"]
    assert sum(statuses.values()) == 40
    assert statuses.get("repaired", 0) + statuses.get("fallback", 0) > 0
    for line in (run / "completions.jsonl").read_text().splitlines():
        assert math.isfinite(json.loads(line)["logprob"])


def test_a_run_of_a_model_that_is_not_merged(tuned: Path, shelves, refused, tmp_path) -> None:
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(tuned, bare, ignore=shutil.ignore_patterns("merged"))
    line = refused("--model", bare, "--test", shelves.folder, "--run", tmp_path / "run")
    assert "it was not merged; take --serve adapter" in line


def test_what_the_fit_fixed_cannot_be_changed(tuned: Path, shelves, refused, tmp_path) -> None:
    line = refused("--model", tuned, "--test", shelves.folder, "--run", tmp_path / "run", "--ignore-price")
    assert "--ignore-price True: this model was fitted with False" in line
