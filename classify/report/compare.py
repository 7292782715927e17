"""Runs over the same rows against the first of them: what changed, what was won and lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catalog.errors import ShelfmarkError
from catalog.files import content_hash
from catalog.messages import LabelPath, RowId
from catalog.places import labels_beside
from classify.report.answered import Answered, mean_known, require_whole
from classify.rundir import RunDirectory
from measure.accuracy import level_hits, paired_difference, wilson_interval

MOST_ROWS, MOST_VALUES, MOST_IDS = 15, 12, 1000


@dataclass(frozen=True)
class Standing:
    """One run by itself.

    Attributes
    ----------
    name, strategy : str
        Of the run.
    confidence : float or None
        The mean of the rows of which no level was left open; None where there are none.
    share, low, high : float or None
        Item accuracy and its 95% interval; None without labels.
    """

    name: str
    strategy: str
    confidence: float | None
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class LevelChange:
    """What changed at one level.

    Attributes
    ----------
    name : str
        The level.
    changed : int
        Rows that have another value there.
    before, after : float or None
        The level's accuracy in the first run and in this one; None without labels.
    """

    name: str
    changed: int
    before: float | None
    after: float | None


@dataclass(frozen=True)
class Tally:
    """What was won and lost among the rows of one true value of the first level."""

    name: str
    rows: int
    won: int
    lost: int


@dataclass(frozen=True)
class Paired:
    """One run against the first.

    Attributes
    ----------
    name : str
        Of the run.
    rows, changed : int
        All rows, and those whose label path is another.
    levels : list of LevelChange
        By level.
    known : bool
        Whether labels are known. Without them, what follows is 0 or empty, but for `other_rows`.
    won, lost : int
        Rows that only this run, and only the first, has right. Of the changed ones the rest is wrong in both.
    lost_open : int
        Of those that are lost, the ones of which this run has left a level open.
    difference, low, high, p_value : float
        Item accuracy minus that of the first, its 95% paired interval, and the exact McNemar test.
    won_rows, lost_rows, other_rows : list of int
        Rows to look at, those first that the run that is right is surest of; of the others those that both are sure of.
    ids : dict of str to list of ids
        The first ids of what was won, what was lost, and what else changed.
    values : list of Tally
        By value of the first level, those first where most was won or lost.
    """

    name: str
    rows: int
    changed: int
    levels: list[LevelChange]
    known: bool
    won: int
    lost: int
    lost_open: int
    difference: float
    low: float
    high: float
    p_value: float
    won_rows: list[int]
    lost_rows: list[int]
    other_rows: list[int]
    ids: dict[str, list[RowId]]
    values: list[Tally]


@dataclass(frozen=True)
class Comparison:
    """Several runs over the same rows.

    Attributes
    ----------
    answered : list of Answered
        The runs; the first is what the others are compared with.
    standings : list of Standing
        Each by itself.
    pairs : list of Paired
        All but the first, against it.
    """

    answered: list[Answered]
    standings: list[Standing]
    pairs: list[Paired]


def compare(runs: Sequence[RunDirectory], labels: Path | None = None) -> Comparison:
    """Compare runs with the first of them.

    Parameters
    ----------
    runs : sequence of RunDirectory
        At least two, finished.
    labels : Path, optional
        The true labels, in place of those beside the test file.

    Raises
    ------
    ShelfmarkError
        When a run is not finished or damaged, is of other rows than the first, or holds other labels.
    """
    first = runs[0]
    for run in runs:
        require_whole(run)
    test = content_hash(first.test)
    for run in runs[1:]:
        same = run.schema == first.schema and run.manifest["rows"] == first.manifest["rows"]
        if not same or content_hash(run.test) != test:
            raise ShelfmarkError(
                f"{run.folder}: of another test file than {first.folder} (or another --limit or schema); compare runs "
                "of the same rows"
            )
    read = [Answered.read(run, labels) for run in runs]
    if len({one.truth is None for one in read}) > 1:
        # Labels stood beside the test file of some runs alone; it is the same file.
        known = next(labels_beside(one.run.test) for one in read if one.truth is not None)
        read = [one if one.truth is not None else Answered.read(one.run, known) for one in read]
    for one in read[1:]:
        if one.truth is not None and one.true_paths != read[0].true_paths:
            raise ShelfmarkError(
                f"{one.run.folder}: it holds other labels than {first.folder}; say with --labels which are true"
            )
    names = _names([run.folder for run in runs])
    standings = [_standing(one, name) for one, name in zip(read, names, strict=True)]
    pairs = [_paired(read[0], one, name) for one, name in zip(read[1:], names[1:], strict=True)]
    return Comparison(read, standings, pairs)


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the runs' names; where two have the same, their folders."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _standing(answered: Answered, name: str) -> Standing:
    manifest = answered.run.manifest
    strategy = manifest["strategy"] + (f", {manifest['engine']}" if manifest["engine"] else "")
    confidence = mean_known(answered.sureness)
    if answered.truth is None:
        return Standing(name, strategy, confidence, None, None, None)
    right = int(answered.hits().all(axis=1).sum())
    interval = wilson_interval(right, len(answered))
    return Standing(name, strategy, confidence, right / len(answered), *interval)


def _paired(first: Answered, other: Answered, name: str) -> Paired:
    before, after = first.predicted_paths, other.predicted_paths
    differs = np.array(before, dtype=object) != np.array(after, dtype=object)
    changed = np.asarray(differs.any(axis=1))
    both = first.confidence + other.confidence
    levels = first.schema.levels
    counts = differs.sum(axis=0).tolist()
    if first.truth is None:
        rows = _pick(changed, both, after)
        changes = [LevelChange(level, count, None, None) for level, count in zip(levels, counts, strict=True)]
        ids = {"changed": _ids(first, changed)}
        total = int(changed.sum())
        return Paired(name, len(first), total, changes, False, 0, 0, 0, 0.0, 0.0, 0.0, 1.0, [], [], rows, ids, [])
    truth = first.true_paths
    mine, theirs = level_hits(truth, after), level_hits(truth, before)
    right, was_right = np.asarray(mine.all(axis=1)), np.asarray(theirs.all(axis=1))
    won, lost = right & ~was_right, was_right & ~right
    rest = changed & ~won & ~lost
    found = paired_difference(truth, after, before)
    shares = zip(levels, counts, theirs.mean(axis=0).tolist(), mine.mean(axis=0).tolist(), strict=True)
    return Paired(
        name=name,
        rows=len(first),
        changed=int(changed.sum()),
        levels=[LevelChange(*values) for values in shares],
        known=True,
        won=found.gained,
        lost=found.lost,
        lost_open=int((lost & ~other.complete).sum()),
        difference=found.difference,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        won_rows=_pick(won, other.confidence, truth),
        lost_rows=_pick(lost, first.confidence, truth),
        other_rows=_pick(rest, both, truth),
        ids={"won": _ids(first, won), "lost": _ids(first, lost), "changed, wrong in both": _ids(first, rest)},
        values=_values(truth, won, lost),
    )


def _pick(chosen: NDArray[np.bool_], weight: NDArray[np.float64], kinds: Sequence[LabelPath]) -> list[int]:
    """Return some of the chosen rows, the weightiest first, of as many kinds as there are."""
    order = [row for row in np.argsort(-weight, kind="stable").tolist() if chosen[row]]
    apart: dict[LabelPath, int] = {}
    for row in order:
        apart.setdefault(kinds[row], row)
    first = list(apart.values())[:MOST_ROWS]
    return first if len(first) == MOST_ROWS else [*first, *(row for row in order if row not in set(first))][:MOST_ROWS]


def _ids(answered: Answered, chosen: NDArray[np.bool_]) -> list[RowId]:
    return [answered.ids[row] for row in np.flatnonzero(chosen)[:MOST_IDS].tolist()]


def _values(truth: Sequence[LabelPath], won: NDArray[np.bool_], lost: NDArray[np.bool_]) -> list[Tally]:
    rows = Counter(path[0] for path in truth)
    gains = Counter(truth[row][0] for row in np.flatnonzero(won).tolist())
    losses = Counter(truth[row][0] for row in np.flatnonzero(lost).tolist())
    tallies = [Tally(name, rows[name], gains[name], losses[name]) for name in sorted(gains.keys() | losses.keys())]
    return sorted(tallies, key=lambda tally: -(tally.won + tally.lost))[:MOST_VALUES]
