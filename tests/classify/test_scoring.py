import gzip
import json
import math
from pathlib import Path

import pandas as pd
import pytest

from catalog.errors import ShelfmarkError
from catalog.schema import PRESETS
from catalog.taxonomy import Taxonomy
from classify.scoring import evaluate, evaluate_files

SCHEMA = PRESETS["indoml"]
LEVELS = SCHEMA.levels
TRUTH = [("a", "b", "c", "d"), ("a", "b", "c", "e"), ("a", "x", "y", "e")]
ANSWERS = [("a", "b", "c", "d"), ("a", "b", "c", "d"), ("a", "x", "y", "e")]


def row(name: object, path: tuple, **more: object) -> dict:
    return {"indoml_id": name, **dict(zip(LEVELS, path, strict=True)), **more}


LABELS = [row(name, path) for name, path in enumerate(TRUTH)]
PREDICTIONS = [
    row(name, path, confidence=chance, status="exact")
    for name, (path, chance) in enumerate(zip(ANSWERS, (0.9, 0.4, 0.8), strict=True))
]


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in rows), encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    return write(tmp_path / "predictions.jsonl", PREDICTIONS), write(tmp_path / "test.labels", LABELS)


def test_frames() -> None:
    found = evaluate(pd.DataFrame(PREDICTIONS), pd.DataFrame(LABELS))
    assert found["rows"] == 3
    assert found["item_accuracy"] == pytest.approx(2 / 3)
    assert found["accuracy"] == pytest.approx(11 / 12)
    assert found["ece"] == pytest.approx((0.1 + 0.4 + 0.2) / 3)
    assert found["valid"] is None


def test_frames_in_any_order_with_more_columns_and_rows() -> None:
    more = [*PREDICTIONS, row(99, TRUTH[0], confidence=0.1, status="exact")]
    predictions = pd.DataFrame(more).sample(frac=1, random_state=0)
    labels = pd.DataFrame([{**value, "confidence": 7, "retailer": None} for value in reversed(LABELS)])
    assert evaluate(predictions, labels) == evaluate(pd.DataFrame(PREDICTIONS), pd.DataFrame(LABELS))


def test_ids_as_text_or_numbers_are_the_same() -> None:
    labels = pd.DataFrame([{**value, "indoml_id": str(value["indoml_id"])} for value in LABELS])
    assert evaluate(pd.DataFrame(PREDICTIONS), labels)["item_accuracy"] == pytest.approx(2 / 3)


def test_without_confidence() -> None:
    found = evaluate(pd.DataFrame(PREDICTIONS).drop(columns=["confidence", "status"]), pd.DataFrame(LABELS))
    assert (found["ece"], found["brier"]) == (None, None)


def test_validity() -> None:
    taxonomy = Taxonomy(LEVELS, {TRUTH[0]: 1, ("q", "r", "s", "e"): 1, ("a", "x", "y", "z"): 1})
    frames = pd.DataFrame(PREDICTIONS), pd.DataFrame(LABELS)
    assert evaluate(*frames, taxonomy=taxonomy)["valid"] == pytest.approx(2 / 3)
    assert evaluate(*frames, taxonomy=taxonomy, policy="brand-free")["valid"] == 1


def test_an_abstained_level_is_wrong_but_there() -> None:
    predictions = pd.DataFrame([{**PREDICTIONS[0], "brand": ""}, *PREDICTIONS[1:]])
    found = evaluate(predictions, pd.DataFrame(LABELS))
    assert found["item_accuracy"] == pytest.approx(1 / 3)
    assert found["coverage"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, t: (p.drop(columns="brand"), t), "frame of predictions has no column 'brand'"),
        (lambda p, t: (p, t.rename(columns={"module": "modul"})), "no column 'module' .*'modul'"),
        (lambda p, t: (p[1:], t), "no prediction for the id 0"),
        (lambda p, t: (pd.concat([p, p[:1]]), t), "the id 0 occurs twice"),
        (lambda p, t: (p, pd.concat([t, t[:1]])), "the id 0 occurs twice"),
        (lambda p, t: (p.assign(confidence=1.5), t), "confidence is between 0 and 1"),
        (lambda p, t: (p.assign(confidence="high"), t), "not a number"),
        (lambda p, t: (p, t.assign(brand=None)), "label is empty"),
    ],
)
def test_wrong_frames(change, message: str) -> None:
    predictions, labels = change(pd.DataFrame(PREDICTIONS), pd.DataFrame(LABELS))
    with pytest.raises(ShelfmarkError, match=message):
        evaluate(predictions, labels)


def test_files_and_frames_agree(files) -> None:
    whole, parts = evaluate_files(*files, SCHEMA)
    assert whole.to_dict() == evaluate(pd.DataFrame(PREDICTIONS), pd.DataFrame(LABELS))
    assert parts == {}


def test_labels_in_every_form(files, tmp_path) -> None:
    predictions, labels = files
    expected = evaluate_files(predictions, labels, SCHEMA)[0]
    features = write(tmp_path / "test.features", [{"indoml_id": at, "description": "x"} for at in range(3)])
    pd.DataFrame(LABELS).to_csv(tmp_path / "labels.csv", index=False)
    pd.DataFrame(LABELS).to_parquet(tmp_path / "labels.parquet")
    (tmp_path / "zipped.labels.gz").write_bytes(gzip.compress(labels.read_bytes()))
    for form in (
        features,
        tmp_path,
        *(tmp_path / name for name in ("labels.csv", "labels.parquet", "zipped.labels.gz")),
    ):
        assert evaluate_files(predictions, form, SCHEMA)[0] == expected


def test_a_run_directory_stands_for_its_predictions(files) -> None:
    predictions, labels = files
    assert evaluate_files(predictions.parent, labels, SCHEMA) == evaluate_files(predictions, labels, SCHEMA)


def test_by_a_column(files, tmp_path) -> None:
    predictions, labels = files
    retailers = ["big", "", "big"]
    rows = [{"indoml_id": at, "description": "x", "retailer": name} for at, name in enumerate(retailers)]
    write(tmp_path / "test.features", rows)
    whole, parts = evaluate_files(predictions, labels, SCHEMA, by="retailer")
    assert {name: part.rows for name, part in parts.items()} == {"big": 2, "(none)": 1}
    assert list(parts) == ["big", "(none)"]  # most frequent first
    assert (parts["big"].item_accuracy, parts["(none)"].item_accuracy) == (1, 0)
    assert whole.rows == 3
    by_status = evaluate_files(predictions, labels, SCHEMA, by="status")[1]
    assert list(by_status) == ["exact"]
    by_brand = evaluate_files(predictions, labels, SCHEMA, by="brand")[1]
    assert {name: part.rows for name, part in by_brand.items()} == {"e": 2, "d": 1}  # of the truth


def test_by_an_unknown_column(files) -> None:
    with pytest.raises(ShelfmarkError, match=r"--by statos: no such column \(did you mean 'status'\?\)"):
        evaluate_files(*files, SCHEMA, by="statos")


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        (PREDICTIONS[:2], LABELS, r"no prediction for the id 2 of test\.labels \(2 predictions, 3 labels\)"),
        (PREDICTIONS, LABELS[:2], r"line 3, column 'indoml_id': the id 2 is not in test\.labels"),
        ([*PREDICTIONS, PREDICTIONS[0]], LABELS, "line 4, column 'indoml_id': the id 0 occurs twice"),
        ([{**PREDICTIONS[0], "confidence": -0.1}, *PREDICTIONS[1:]], LABELS, "line 1, column 'confidence'"),
        ([{**PREDICTIONS[0], "confidence": "x"}, *PREDICTIONS[1:]], LABELS, "line 1, column 'confidence'"),
        ([{"indoml_id": 0}], LABELS, "no column 'supergroup'"),
    ],
)
def test_wrong_files(tmp_path, predictions, labels, message: str) -> None:
    files = write(tmp_path / "p.jsonl", predictions), write(tmp_path / "test.labels", labels)
    with pytest.raises(ShelfmarkError, match=message):
        evaluate_files(*files, SCHEMA)


def test_numbers_are_numbers(files) -> None:
    values = evaluate_files(*files, SCHEMA)[0].to_dict()
    assert all(math.isfinite(value) for value in values.values() if isinstance(value, float))
    assert json.loads(json.dumps(values, allow_nan=False)) == values
