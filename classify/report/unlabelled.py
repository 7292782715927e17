"""The numbers of a page where no labels are known: how sure, of what, and how it differs from training."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.taxonomy import Taxonomy
from classify.report.answered import Answered, mean_known
from classify.report.shown import retrieved

BINS = 20
MOST_ROWS, MOST_VALUES = 10, 12


@dataclass(frozen=True)
class Sureness:
    """The confidence down to one level.

    Attributes
    ----------
    name : str
        Of the level.
    rows : int
        How many are answered down to it; the others do not count.
    mean, low, middle, high : float
        The mean confidence, and the quarter, half and three quarters of the rows that are less sure.
    """

    name: str
    rows: int
    mean: float
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Shift:
    """How often a value is predicted, and how often it stood in training.

    Attributes
    ----------
    name : str
        The value.
    rows : int
        For how many rows it is predicted.
    share, training : float
        The same as a share of the rows with an answer at its level, and the share of the training rows that have it.
    confidence : float or None
        Mean confidence of its rows that are answered at all levels; None where there are none.
    """

    name: str
    rows: int
    share: float
    training: float
    confidence: float | None


@dataclass(frozen=True)
class Glance:
    """All numbers about rows whose labels are not known.

    Attributes
    ----------
    answered : int
        Rows of which no level was left open; those alone count for the histogram, the surest and the doubtful.
    confidence : float or None
        Their mean confidence; None where there are none.
    levels : list of Sureness
        By level; one for the whole path where nothing is known of the levels.
    by_level : bool
        Whether the confidence is known by level.
    at_least : bool
        Whether the levels' confidences are sums over candidates, and so lower bounds.
    histogram : list of (float, float, int)
        From, to and rows, by confidence.
    surest, doubtful : list of int
        The most and the least sure rows, no label path twice.
    shifts : list of list of Shift
        By level: the commonest values of the first one, of the others those whose share differs most.
    left_open : list of int
        By level: rows without an answer there.
    unlike : list of (int, float)
        Rows that no neighbour's text resembles, and how like the likest is.
    unlike_shares : list of (float, float)
        A likeness, and the share of rows whose likest neighbour is less like; empty where it is not known.
    alone : int
        Rows whose request shows no neighbour: they are in neither.
    """

    answered: int
    confidence: float | None
    levels: list[Sureness]
    by_level: bool
    at_least: bool
    histogram: list[tuple[float, float, int]]
    surest: list[int]
    doubtful: list[int]
    shifts: list[list[Shift]]
    left_open: list[int]
    unlike: list[tuple[int, float]]
    unlike_shares: list[tuple[float, float]]
    alone: int


def glance(answered: Answered, taxonomy: Taxonomy) -> Glance:
    """Compute all numbers about rows whose labels are not known.

    Raises
    ------
    ShelfmarkError
        When the file of requests is damaged.
    """
    found = retrieved(answered)
    by_level = found.by_level if answered.by_level is None else answered.by_level
    likeness, unlike, shares, alone = found.likeness, [], [], 0
    if likeness is not None:
        order = np.argsort(likeness, kind="stable")[:MOST_ROWS]
        unlike = [(int(row), float(likeness[row])) for row in order if not np.isnan(likeness[row])]
        known = likeness[~np.isnan(likeness)]
        alone = len(likeness) - len(known)
        shares = [(at, float((known < at).mean())) for at in (0.4, 0.5, 0.6, 0.7, 0.8)]
    names, complete = answered.schema.levels, answered.complete
    told = np.array([list(map(bool, path)) for path in answered.paths])[answered.predicted]
    if by_level is None:
        levels = [_sureness("whole path", answered.confidence[complete])]
    else:
        down_to = np.logical_and.accumulate(told, axis=1)
        levels = [_sureness(level, by_level[down_to[:, at], at]) for at, level in enumerate(names)]
    counts, edges = np.histogram(answered.confidence[complete], bins=BINS, range=(0, 1))
    bins = zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
    return Glance(
        answered=int(complete.sum()),
        confidence=mean_known(answered.sureness),
        levels=[level for level in levels if level is not None],
        by_level=by_level is not None,
        at_least=answered.by_level is None and by_level is not None,
        histogram=list(bins),
        surest=_apart(answered, np.argsort(-answered.confidence, kind="stable"), complete),
        doubtful=_apart(answered, np.argsort(answered.confidence, kind="stable"), complete),
        shifts=_shifts(answered, taxonomy),
        left_open=(~told).sum(axis=0).tolist(),
        unlike=unlike,
        unlike_shares=shares,
        alone=alone,
    )


def _sureness(name: str, values: NDArray[np.floating]) -> Sureness | None:
    if not len(values):
        return None
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return Sureness(name, len(values), float(values.mean()), low, middle, high)


def _apart(answered: Answered, order: NDArray[np.intp], complete: NDArray[np.bool_]) -> list[int]:
    """Return the first answered rows of an order whose label paths differ."""
    chosen: dict[int, int] = {}
    for row in order[complete[order]].tolist():
        chosen.setdefault(int(answered.predicted[row]), row)
        if len(chosen) == MOST_ROWS:
            break
    return list(chosen.values())


def _shifts(answered: Answered, taxonomy: Taxonomy) -> list[list[Shift]]:
    """Compare the values of each level with those of training."""
    rows = np.bincount(answered.predicted, minlength=len(answered.paths))
    sums = np.bincount(answered.predicted, weights=answered.confidence, minlength=len(answered.paths))
    learned = sum(taxonomy.counts.values())
    found = []
    for level in range(len(taxonomy.levels)):
        here: Counter[str] = Counter()
        whole: Counter[str] = Counter()
        total: Counter[str] = Counter()
        training: Counter[str] = Counter()
        for at, path in enumerate(answered.paths):
            if path[level]:
                here[path[level]] += int(rows[at])
            if all(path):
                whole[path[level]] += int(rows[at])
                total[path[level]] += float(sums[at])  # type: ignore[assignment]  # a counter adds up anything
        for path, count in taxonomy.counts.items():
            training[path[level]] += count
        answers = sum(here.values()) or 1
        values = [
            Shift(
                name,
                here[name],
                here[name] / answers,
                training[name] / learned,
                total[name] / whole[name] if whole[name] else None,
            )
            for name in sorted(here.keys() | training.keys())
        ]
        if level == 0:
            values.sort(key=lambda value: -max(value.share, value.training))
        else:
            values.sort(key=lambda value: -abs(value.share - value.training))
        found.append(values[:MOST_VALUES])
    return found
