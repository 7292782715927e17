"""Ensembles: several runs over the same products vote, weighted by confidence and compliant with the hierarchy."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from catalog.errors import ShelfmarkError
from catalog.files import atomic_folder, content_hash, write_json
from catalog.messages import LabelPath, Prediction, RowId
from catalog.schema import Policy
from catalog.taxonomy import Taxonomy
from classify.lines import GrowingLines
from classify.provenance import provenance
from classify.recorded_lines import Predicted, read_predictions
from classify.report.page import try_report
from classify.run import Run


def vote(ballots: Sequence[tuple[LabelPath, float]], taxonomy: Taxonomy, policy: Policy) -> tuple[LabelPath, float]:
    """Choose one valid path from several runs' paths and confidences.

    Each run gives its confidence to every level value that it predicted. A candidate's score is the sum of what its
    values got, a value counting only where those above it were predicted by the same run, but for the brand, which
    is voted for apart. Candidates are the runs' own paths and, where they are valid, the paths of one run with the
    brand of another: a whole path is chosen, so the result is valid whenever the runs' paths are.

    Parameters
    ----------
    ballots : sequence of (label path, float)
        One for each run: its path and its confidence, in [0, 1].
    taxonomy : Taxonomy
        The valid paths.
    policy : {'path', 'brand-free'}
        What is valid.

    Returns
    -------
    (label path, float)
        The choice and its confidence: the mean over the runs of the confidence that they gave to this very path (a
        linear opinion pool; M. Stone, 'The opinion pool', 1961).
    """
    whole = [(path, confidence) for path, confidence in ballots if all(path)]
    candidates = {path for path, _ in whole}
    for upper, _ in whole:
        for other, _ in whole:
            mixed = (*upper[:-1], other[-1])
            if taxonomy.is_valid(mixed, policy):
                candidates.add(mixed)
    if not candidates:
        return max(taxonomy.counts, key=lambda path: (taxonomy.counts[path], path)), 0.0

    def score(path: LabelPath) -> float:
        total = 0.0
        for other, confidence in ballots:
            for depth in range(1, len(path)):
                total += confidence * (path[:depth] == other[:depth])
            total += confidence * (path[-1] == other[-1])
        return total

    backing = {path: sum(confidence for other, confidence in whole if other == path) for path in candidates}
    chosen = max(sorted(candidates), key=lambda path: (score(path), backing[path]))
    return chosen, backing[chosen] / len(ballots)


def vote_runs(runs: Sequence[Run], taxonomy: Taxonomy, policy: Policy) -> Iterator[Prediction]:
    """Yield the ensemble's predictions, in input order, in a stream.

    Raises
    ------
    ShelfmarkError
        When the runs are not over the same rows of the same schema, or one has no predictions.
    """
    schema = runs[0].schema
    for run in runs:
        if run.schema != schema or run.manifest["rows"] != runs[0].manifest["rows"]:
            raise ShelfmarkError(f"{run.folder}: other products than {runs[0].folder}; vote over runs of the same")
    files = [read_predictions(run.predictions, schema) for run in runs]
    for told in zip_longest(*files):
        lines = [line for line in told if line is not None]
        if len(lines) < len(runs):
            short = runs[told.index(None)].predictions
            raise ShelfmarkError(f"{short}: fewer predictions than the others; classify resume makes those it lacks")
        names = {line.id for line in lines}
        if len(names) > 1:
            raise ShelfmarkError(
                f"{runs[0].folder} and the others part at the id {lines[0].id!r}: not over the same products"
            )
        yield _row(names.pop(), lines, taxonomy, policy)


def _row(name: RowId, lines: Sequence[Predicted], taxonomy: Taxonomy, policy: Policy) -> Prediction:
    ballots = [(line.path, line.confidence) for line in lines]
    path, confidence = vote(ballots, taxonomy, policy)
    agreed = any(path == other for other, _ in ballots)
    return Prediction(name, path, confidence, "exact" if agreed else "repaired")


def joint_taxonomy(runs: Sequence[Run]) -> Taxonomy:
    """Return the valid label paths of all runs together, each with its largest count."""
    counts: dict[LabelPath, int] = {}
    levels = runs[0].schema.levels
    for run in runs:
        for path, count in run.taxonomy().counts.items():
            counts[path] = max(count, counts.get(path, 0))
    return Taxonomy(levels, counts)


def vote_into(folders: Sequence[Path], out: Path, policy: Policy) -> Run:
    """Write a run directory whose predictions are the vote of several runs; it appears whole, or not at all.

    Parameters
    ----------
    folders : sequence of Path
        Two run directories or more, over the same products, with predictions.
    out : Path
        The run directory to write.
    policy : {'path', 'brand-free'}
        What is valid.

    Raises
    ------
    ShelfmarkError
        When a run has no predictions, the runs are over other products, or `out` exists.
    """
    if len(folders) < 2:
        raise ShelfmarkError("an ensemble needs two runs at least: classify vote RUN RUN... --out RUN")
    if out.exists():
        raise ShelfmarkError(f"{out}: exists; choose another --out")
    runs = [Run.open(folder) for folder in folders]
    for run in runs:
        if not run.predictions.is_file():
            raise ShelfmarkError(f"{run.folder}: no predictions yet; finish it with classify resume {run.folder}")
    first, taxonomy = runs[0], joint_taxonomy(runs)
    columns = first.schema.id, first.schema.levels
    with atomic_folder(out) as place:
        shutil.copytree(first.folder / "inputs", place / "inputs")
        taxonomy.write(place / "taxonomy.csv")
        started = time.perf_counter()
        with GrowingLines(place / "predictions.jsonl") as lines:
            for prediction in vote_runs(runs, taxonomy, policy):
                lines.append([prediction.to_dict(*columns)])
            rows = lines.lines
        done = {"rows": rows, "seconds": round(time.perf_counter() - started, 3)}
        manifest = {
            **{key: first.manifest[key] for key in ("format", "schema", "limit", "rows", "test")},
            "strategy": "vote",
            "engine": "",
            "options": {"policy": policy},
            "runs": [str(run.folder) for run in runs],
            "inputs": {f"predictions {number}": content_hash(run.predictions) for number, run in enumerate(runs, 1)},
            **provenance(),
            "stages": {"predictions": done},
        }
        write_json(place / "manifest.json", manifest)
        Run.open(place).finish()
    run = Run.open(out)
    try_report(run)
    return run
