"""What a run answered, as arrays: some dozens of bytes a row, however many rows there are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catalog.errors import ShelfmarkError
from catalog.messages import STATUSES, LabelPath, RowId
from catalog.places import labels_beside
from catalog.products import read_labels, stream_products
from catalog.schema import Schema
from classify.recorded_lines import read_predictions
from classify.rundir import RunDirectory
from classify.scoring import labels_file
from measure.accuracy import level_hits

# What a page says of a run, from its manifest.
NEEDED = ["schema", "rows", "test", "limit", "strategy", "engine", "options", "inputs", "stages", "command", "python"]
NEEDED += ["platform", "packages", "commit"]
_STATUS = {name: at for at, name in enumerate(STATUSES)}


@dataclass(frozen=True)
class Answered:
    """The rows of a finished run.

    Attributes
    ----------
    run : RunDirectory
        Of which they are.
    schema : Schema
        Its columns.
    ids, texts : list, length rows
        Of the products, in input order.
    retailers : list of str, length rows
        Empty where there is none.
    prices : ndarray of float64, shape (rows,)
        NaN where there is none.
    paths : list of label paths
        Every path that was predicted or is true, once.
    predicted : ndarray of int32, shape (rows,)
        Places in `paths`.
    confidence : ndarray of float64, shape (rows,)
        That all levels are right.
    statuses : ndarray of int8, shape (rows,)
        Places in `catalog.messages.STATUSES`.
    by_level : ndarray of float32, shape (rows, levels), or None
        The confidence down to each level, of a strategy that tells it.
    truth : ndarray of int32, shape (rows,), or None
        Places in `paths`, where the labels are known.
    """

    run: RunDirectory
    schema: Schema
    ids: list[RowId]
    texts: list[str]
    retailers: list[str]
    prices: NDArray[np.float64]
    paths: list[LabelPath]
    predicted: NDArray[np.int32]
    confidence: NDArray[np.float64]
    statuses: NDArray[np.int8]
    by_level: NDArray[np.float32] | None
    truth: NDArray[np.int32] | None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)

    @property
    def predicted_paths(self) -> list[LabelPath]:
        """The predicted path of each row."""
        return [self.paths[at] for at in self.predicted.tolist()]

    @property
    def true_paths(self) -> list[LabelPath]:
        """The true path of each row."""
        assert self.truth is not None
        return [self.paths[at] for at in self.truth.tolist()]

    def hits(self) -> NDArray[np.bool_]:
        """Tell for each row and level whether it is right, shape (rows, levels)."""
        return level_hits(self.true_paths, self.predicted_paths)

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Whether no level was abstained from, shape (rows,)."""
        return np.array([all(path) for path in self.paths], dtype=np.bool_)[self.predicted]

    @property
    def sureness(self) -> NDArray[np.float64]:
        """The confidence of each row, NaN where a level was left open: no answer is to be right there."""
        return np.where(self.complete, self.confidence, np.nan)

    @classmethod
    def read(cls, run: RunDirectory, labels: Path | None = None) -> Answered:
        """Read a finished run.

        Parameters
        ----------
        run : RunDirectory
            The run.
        labels : Path, optional
            The true labels, in place of those that stood beside the test file.

        Raises
        ------
        ShelfmarkError
            When the run is not finished, a file is damaged, or a row has no label.
        """
        require_whole(run)
        schema = run.schema
        codes: dict[LabelPath, int] = {}
        ids: list[RowId] = []
        predicted: list[int] = []
        confidence: list[float] = []
        statuses: list[int] = []
        by_level: list[list[float]] = []
        for line in read_predictions(run.predictions, schema):
            ids.append(line.id)
            predicted.append(codes.setdefault(line.path, len(codes)))
            confidence.append(line.confidence)
            statuses.append(_STATUS[line.status])
            if line.level_confidence is not None:
                by_level.append(line.level_confidence)
        texts: list[str] = []
        retailers: list[str] = []
        prices: list[NDArray[np.float64]] = []
        known: dict[str, str] = {}
        at = 0
        for block in stream_products(run.test, schema, limit=run.manifest["limit"]):
            if block.ids != ids[at : at + len(block)]:
                break
            at += len(block)
            texts += block.texts
            retailers += [known.setdefault(retailer, retailer) for retailer in block.retailers]
            prices.append(block.prices)
        if at != len(ids) or at != run.manifest["rows"]:
            raise ShelfmarkError(
                f"{run.predictions}: not the rows of {run.test.name}; delete it, then: classify resume {run.folder}"
            )
        return cls(
            run=run,
            schema=schema,
            ids=ids,
            texts=texts,
            retailers=retailers,
            prices=np.concatenate(prices),
            truth=_truth(run, labels, ids, codes),
            paths=list(codes),
            predicted=np.array(predicted, dtype=np.int32),
            confidence=np.array(confidence, dtype=np.float64),
            statuses=np.array(statuses, dtype=np.int8),
            by_level=np.array(by_level, dtype=np.float32) if len(by_level) == len(ids) else None,
        )


def require_whole(run: RunDirectory) -> None:
    """Refuse a run that is not finished, or has lost a file.

    Raises
    ------
    ShelfmarkError
        It says what to do.
    """
    lacking = next((name for name in NEEDED if name not in run.manifest), None)
    if lacking:
        raise ShelfmarkError(f"{run.folder / 'manifest.json'}: damaged, it has no {lacking!r}; start another run")
    if not run.finished:
        raise ShelfmarkError(f"{run.folder}: not finished; classify resume {run.folder}")
    resume = f"classify resume {run.folder}" if "runs" not in run.manifest else "classify vote makes another run"
    first = "requests.jsonl" if "requests" in run.manifest["stages"] else run.predictions.name
    for file, before in (
        (run.test, f"copy {run.test.name} of the test file there, then: "),
        (run.folder / "taxonomy.csv", f"delete {first}, then: "),
        (run.predictions, ""),
    ):
        if not file.is_file():
            raise ShelfmarkError(f"{file}: it is gone; {before}{resume}")


def mean_known(values: NDArray[np.floating]) -> float | None:
    """Return the mean of the values that are not NaN; None where all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _truth(
    run: RunDirectory, labels: Path | None, ids: list[RowId], codes: dict[LabelPath, int]
) -> NDArray[np.int32] | None:
    """Return the place of each row's label in `codes`, which grows; None where there are no labels."""
    file = labels_beside(run.test) if labels is None else labels_file(labels)
    if file is None:
        return None
    known = read_labels(file, run.schema)
    truth = []
    for name in ids:
        if name not in known:
            raise ShelfmarkError(f"{file}: no label for the id {name!r} of {run.folder}; give one for each row")
        truth.append(codes.setdefault(known[name], len(codes)))
    if len(known) > len(ids) and run.manifest["limit"] is None:
        mine = set(ids)
        extra = next(name for name in known if name not in mine)
        raise ShelfmarkError(f"{file}: the id {extra!r} is not in {run.folder}; these are labels of other rows")
    return np.array(truth, dtype=np.int32)
