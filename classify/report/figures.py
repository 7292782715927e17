"""The numbers of a page where the labels are known: how right, where, and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.taxonomy import Taxonomy
from classify.report.answered import Answered, mean_known
from measure.accuracy import wilson_interval
from measure.calibration import ReliabilityBin, reliability_table
from measure.confusions import Confusion, confusions, first_wrong
from measure.coverage import Coverage, coverage_curve, surest_share
from measure.evaluation import Evaluation, evaluate

MOST_GROUPS, MOST_CONFUSIONS, MISTAKES = 20, 8, 20
PRICE_BANDS = 5
NO_RETAILER, NO_PRICE = "(no retailer)", "(no price)"
# How often a label path stood in training: the first count of each band.
BANDS = (0, 1, 2, 5, 10, 30, 100)


@dataclass(frozen=True)
class Group:
    """Some rows, and how many of them are right.

    Attributes
    ----------
    name : str
        What they have in common.
    rows, right : int
        How many they are, and how many of them are right in all levels.
    share, low, high : float
        Their item accuracy and its 95% interval.
    confidence : float or None
        Mean confidence of those of which no level was left open; None where there are none.
    """

    name: str
    rows: int
    right: int
    share: float
    low: float
    high: float
    confidence: float | None


@dataclass(frozen=True)
class Figures:
    """All numbers about rows whose labels are known.

    Attributes
    ----------
    scores : Evaluation
        The metrics.
    valid : float or None
        The share of the answered rows whose path is valid; None where there are none.
    levels : list of Group
        For each level, its rows that are right there, whatever the levels above it are; confidences are those of
        whole paths.
    reliability : list of ReliabilityBin
        Of the answered rows; empty where there are none.
    curve : list of Coverage
        Of the answered rows, surest first.
    surest : list of (float, Coverage or None)
        An accuracy, and the largest part of the answered rows that reaches it.
    retailers, prices, frequencies : list of Group
        Empty where the schema has no such column.
    confusions : list of list of Confusion
        By level.
    mistakes : list of int
        Rows that are wrong though their confidence is high, of several kinds.
    wrong_at : ndarray of intp, shape (rows,)
        The first level that is wrong.
    """

    scores: Evaluation
    valid: float | None
    levels: list[Group]
    reliability: list[ReliabilityBin]
    curve: list[Coverage]
    surest: list[tuple[float, Coverage | None]]
    retailers: list[Group]
    prices: list[Group]
    frequencies: list[Group]
    confusions: list[list[Confusion]]
    mistakes: list[int]
    wrong_at: NDArray[np.intp]


def figures(answered: Answered, taxonomy: Taxonomy) -> Figures:
    """Compute all numbers about rows whose labels are known.

    Parameters
    ----------
    answered : Answered
        With labels.
    taxonomy : Taxonomy
        With how often each path stood in training.
    """
    truth, predicted, schema = answered.true_paths, answered.predicted_paths, answered.schema
    confidence, hits, complete = answered.sureness, answered.hits(), answered.complete
    policy = answered.run.manifest["options"]["policy"]
    valid = np.array([taxonomy.is_valid(path, policy) for path in answered.paths])[answered.predicted]
    right, wrong_at = np.asarray(hits.all(axis=1)), first_wrong(hits)
    sure, good = confidence[complete], right[complete]
    some = bool(complete.any())
    return Figures(
        scores=evaluate(truth, predicted, answered.confidence, schema.levels),
        valid=float(valid[complete].mean()) if some else None,
        levels=[_group(level, hits[:, at], confidence) for at, level in enumerate(schema.levels)],
        reliability=reliability_table(sure, good) if some else [],
        curve=coverage_curve(sure, good) if some else [],
        surest=[(least, surest_share(sure, good, least)) for least in (0.99, 0.95, 0.9, 0.8)] if some else [],
        retailers=_by_retailer(answered.retailers, right, confidence) if schema.retailer else [],
        prices=_by_price(answered.prices, right, confidence) if schema.price else [],
        frequencies=_by_frequency(answered, taxonomy, right),
        confusions=confusions(truth, predicted, MOST_CONFUSIONS, hits),
        mistakes=telling(answered, wrong_at),
        wrong_at=wrong_at,
    )


def _group(name: str, right: NDArray[np.bool_], confidence: NDArray[np.float64]) -> Group:
    rows, hits = len(right), int(right.sum())
    return Group(name, rows, hits, hits / rows, *wilson_interval(hits, rows), mean_known(confidence))


def _groups(
    names: Sequence[str], codes: NDArray[np.integer[Any]], right: NDArray[np.bool_], confidence: NDArray[np.float64]
) -> list[Group]:
    """Return a group for each name that has rows; `codes` are places in `names`."""
    parts = ((name, codes == at) for at, name in enumerate(names))
    return [_group(name, right[part], confidence[part]) for name, part in parts if part.any()]


def _by_retailer(retailers: Sequence[str], right: NDArray[np.bool_], confidence: NDArray[np.float64]) -> list[Group]:
    """Return a group for each retailer, largest first; of many the smallest together."""
    found, codes, counts = np.unique(np.array(retailers, dtype=object), return_inverse=True, return_counts=True)
    if not any(retailers):
        return []
    order = np.argsort(-counts, kind="stable")
    kept = order[: MOST_GROUPS - 1] if len(order) > MOST_GROUPS else order
    place = np.full(len(found), len(kept))
    place[kept] = np.arange(len(kept))
    names = [found[at] or NO_RETAILER for at in kept] + [f"({len(found) - len(kept):,} others)"]
    return _groups(names, place[codes], right, confidence)


def _by_price(prices: NDArray[np.float64], right: NDArray[np.bool_], confidence: NDArray[np.float64]) -> list[Group]:
    """Return a group for each fifth of the rows by price, cheapest first, and one without."""
    known = prices[~np.isnan(prices)]
    if not len(known):
        return []
    edges = np.unique(np.quantile(known, np.arange(1, PRICE_BANDS) / PRICE_BANDS, method="inverted_cdf"))
    codes = np.where(np.isnan(prices), len(edges) + 1, np.searchsorted(edges, prices, side="left"))
    names = []
    for at in range(len(edges) + 1):
        band = prices[codes == at]
        names.append(f"{band.min():,.2f} to {band.max():,.2f}" if len(band) else "")
    return _groups([*names, NO_PRICE], codes, right, confidence)


def _by_frequency(answered: Answered, taxonomy: Taxonomy, right: NDArray[np.bool_]) -> list[Group]:
    """Return a group for each band of how often the true path stood in training."""
    counts = np.array([taxonomy.counts.get(path, 0) for path in answered.paths])[answered.truth]
    names = ["never", "once"]
    for first, after in zip(BANDS[2:], (*BANDS[3:], None), strict=True):
        names.append(f"{first} or more" if after is None else f"{first} to {after - 1}")
    codes = np.searchsorted(BANDS, counts, side="right") - 1
    return _groups(names, codes, right, answered.sureness)


def telling(answered: Answered, wrong_at: NDArray[np.intp], most: int = MISTAKES) -> list[int]:
    """Choose wrong rows to look at: the surest, of many kinds.

    They are taken in turn from the levels at which rows went wrong first, surest first, and no label path is among
    them twice, true or predicted, as long as there are others.

    Parameters
    ----------
    answered : Answered
        With labels.
    wrong_at : ndarray of intp, shape (rows,)
        The first level that is wrong; the number of levels where none is.
    most : int
        How many to choose.

    Returns
    -------
    list of int
        Rows, surest first.
    """
    assert answered.truth is not None
    depth = len(answered.schema.levels)
    order = np.lexsort((np.arange(len(answered)), -answered.confidence))
    order = order[(wrong_at[order] < depth) & answered.complete[order]]
    by_level = [order[wrong_at[order] == level].tolist() for level in range(depth)]
    chosen: dict[int, None] = {}
    seen: tuple[set[int], set[int]] = set(), set()
    for strict in (True, False):
        queues = [iter(rows) for rows in by_level]
        while queues and len(chosen) < most:
            for queue in list(queues):
                for row in queue:
                    kind = int(answered.truth[row]), int(answered.predicted[row])
                    if row in chosen or (strict and (kind[0] in seen[0] or kind[1] in seen[1])):
                        continue
                    chosen[row] = None
                    seen[0].add(kind[0])
                    seen[1].add(kind[1])
                    break
                else:
                    queues.remove(queue)
                if len(chosen) == most:
                    break
    return sorted(chosen, key=lambda row: (-answered.confidence[row], row))
