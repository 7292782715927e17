"""Predictions against labels, from frames and from files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalog.errors import ShelfmarkError, listed, nearest
from catalog.frames import frame_rows
from catalog.messages import LabelPath, RowId
from catalog.places import features_file, is_features, labels_beside
from catalog.products import read_labels
from catalog.schema import Policy, Schema, load_schema
from catalog.tables import OTHER_NAMES, Row, read_table
from catalog.taxonomy import Taxonomy
from classify.rundir import RunDirectory
from measure.evaluation import Evaluation
from measure.evaluation import evaluate as compare

MOST_GROUPS, MOST_GROUP_NAME = 1_000, 200
"""Groups that are scored one by one, and characters of what each is called, at most."""


def evaluate(
    predictions: pd.DataFrame,
    labels: pd.DataFrame,
    *,
    schema: str | Schema = "indoml",
    taxonomy: Any = None,
    policy: Policy = "path",
) -> dict[str, Any]:
    """Score predictions against labels: `measure.evaluation.Evaluation` as a dict.

    Parameters
    ----------
    predictions : DataFrame
        With the id, the levels and, where there is one, ``confidence``.
    labels : DataFrame
        With the id and the levels; every row needs a prediction.
    schema : str or Schema
        A preset's name, a TOML file or a schema.
    taxonomy : Taxonomy, optional
        Tells which predictions are valid under `policy`.

    Raises
    ------
    ShelfmarkError
        When a column or a prediction is missing, or a value is wrong.
    """
    schema = load_schema(schema) if isinstance(schema, str) else schema
    known = _unique(_frame_rows(labels, "labels", schema), schema)
    truth = {row.id(schema.id): row.label(schema.levels) for row in known}
    answers = {row.id(schema.id): row for row in _unique(_frame_rows(predictions, "predictions", schema), schema)}
    for name in truth:
        if name not in answers:
            raise ShelfmarkError(f"no prediction for the id {name!r}; predict every row that is evaluated")
    paths = [tuple(answers[name].text(level) for level in schema.levels) for name in truth]
    return score(list(truth.values()), paths, _confidence(truth, answers), schema, taxonomy, policy).to_dict()


def _frame_rows(frame: pd.DataFrame, name: str, schema: Schema) -> Iterator[Row]:
    return frame_rows(frame, (schema.id, *schema.levels), ("confidence",), f"the frame of {name}")


def _confidence(truth: Iterable[RowId], answers: dict[RowId, Row]) -> NDArray[np.float64] | None:
    """Return the confidence of each answer; None where one has none."""
    chances = [answers[name].number("confidence") for name in truth]
    for name, chance in zip(truth, chances, strict=True):
        if chance is not None and not 0 <= chance <= 1:
            raise answers[name].fault("a confidence is between 0 and 1", "confidence")
    return None if None in chances else np.array(chances, dtype=np.float64)


def score(
    truth: Sequence[tuple[str, ...]],
    predicted: Sequence[tuple[str, ...]],
    confidence: Any,
    schema: Schema,
    taxonomy: Any = None,
    policy: Policy = "path",
) -> Evaluation:
    """Return the metrics of label paths, with validity where there is a taxonomy."""
    valid = None if taxonomy is None else [taxonomy.is_valid(path, policy) for path in predicted]
    return compare(truth, predicted, confidence, schema.levels, valid)


def evaluate_files(
    predictions: str | Path,
    labels: str | Path,
    schema: Schema,
    *,
    taxonomy: Taxonomy | None = None,
    policy: Policy = "path",
    by: str | None = None,
) -> tuple[Evaluation, dict[str, Evaluation]]:
    """Score a file of predictions against a file of labels.

    Parameters
    ----------
    predictions : str or Path
        A run directory, ``predictions.jsonl``, a ``.predict`` file or any other table with the id and the levels.
    labels : str or Path
        A ``.labels`` file, a ``.features`` file with its ``.labels`` beside it, or a table with the levels.
    schema : Schema
        The columns.
    taxonomy : Taxonomy, optional
        Tells which predictions are valid under `policy`.
    policy : {'path', 'brand-free'}
        What is valid.
    by : str, optional
        A column of the predictions, the labels or the features beside the labels: score each of its values, too.

    Returns
    -------
    (Evaluation, dict of str to Evaluation)
        Of all rows, and of the rows with each value of `by`, most frequent first.

    Raises
    ------
    ShelfmarkError
        When a file is wrong, or an id stands in one of the two alone.
    """
    predictions, labels = Path(predictions), Path(labels)
    if predictions.is_dir():
        folder, predictions = predictions, predictions / "predictions.jsonl"
        if (folder / "manifest.json").is_file() and not predictions.is_file():
            raise ShelfmarkError(f"{folder}: no predictions yet; finish it with classify resume {folder}")
    labels = labels_file(labels)
    truth = read_labels(labels, schema)
    answers = {
        row.id(schema.id): row
        for row in _unique(read_table(predictions, (schema.id, *schema.levels), hint=OTHER_NAMES), schema)
    }
    for name in truth:
        if name not in answers:
            raise ShelfmarkError(
                f"{predictions}: no prediction for the id {name!r} of {labels.name} "
                f"({len(answers)} predictions, {len(truth)} labels)"
            )
    for name, row in answers.items():
        if name not in truth:
            raise row.fault(f"the id {name!r} is not in {labels.name}", schema.id)
    paths = [tuple(answers[name].text(level) for level in schema.levels) for name in truth]
    confidence = _confidence(truth, answers)
    true_paths = list(truth.values())
    whole = score(true_paths, paths, confidence, schema, taxonomy, policy)
    parts: dict[str, Evaluation] = {}
    if by is not None:
        values = _column(by, truth, answers, labels, schema)
        groups: dict[str, list[int]] = {}
        for at, value in enumerate(values):
            groups.setdefault(value, []).append(at)
        if len(groups) > MOST_GROUPS:
            raise ShelfmarkError(f"--by {by}: {len(groups):,} different values; there may be {MOST_GROUPS:,} at most")
        for value, rows in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
            part = None if confidence is None else confidence[rows]
            chosen, answered = [true_paths[row] for row in rows], [paths[row] for row in rows]
            parts[value] = score(chosen, answered, part, schema, taxonomy, policy)
    return whole, parts


def valid_in_run(place: Path) -> tuple[Taxonomy | None, Policy]:
    """Return the label paths that a run's model knew, and what is valid beside them; None and ``path`` of no run."""
    if not all((place / name).is_file() for name in ("manifest.json", "taxonomy.csv")):
        return None, "path"
    run = RunDirectory.open(place)
    return run.taxonomy(), run.manifest["options"]["policy"]


def labels_file(place: Path) -> Path:
    """Return the file that holds the labels: `place` itself, or the one beside the features that it is or holds."""
    if place.is_dir() or is_features(place):
        features = features_file(place, "test")
        return labels_beside(features) or features
    return place


def _unique(rows: Any, schema: Schema) -> Any:
    seen: set[RowId] = set()
    for row in rows:
        name = row.id(schema.id)
        if name in seen:
            raise row.fault(f"the id {name!r} occurs twice; each row needs its own", schema.id)
        seen.add(name)
        yield row


def _group(value: Any) -> str:
    """Return what a group is called whose rows have this value."""
    text = "" if value is None else str(value)[:MOST_GROUP_NAME]
    return text.encode("utf-8", "replace").decode("utf-8") or "(none)"


def _column(
    by: str, truth: dict[RowId, LabelPath], answers: dict[RowId, Row], labels: Path, schema: Schema
) -> list[str]:
    """Return the value of the column `by` for each id: of the labels, the features beside them or the predictions."""
    files = [labels]
    features = labels.with_name(labels.name.replace(".labels", ".features"))
    if features != labels and features.is_file():
        files.append(features)
    known: set[str] = set()
    for rows in (*(read_table(file) for file in files), answers.values()):
        found = {}
        for row in rows:
            known |= row.values.keys()
            if by in row.values:
                found[row.id(schema.id)] = row.values[by]
        if found:
            return [_group(found.get(name)) for name in truth]
    raise ShelfmarkError(f"--by {by}: no such column{nearest(by, known)}; there are: {listed(sorted(known))}")
