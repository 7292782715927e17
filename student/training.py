"""Training the networks that choose, and the calibration of what they say, on rows judged as if they were new."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from catalog.products import Products
from catalog.schema import Policy
from student.calibrate import Calibration, Sample, calibration_report, joined_samples
from student.candidates import NEVER, Candidates, Own
from student.judge import Judge, Judged
from student.labels import Ids, LabelSpace, Targets
from student.rerank import Network, Scale, softmax, train_network
from student.ridge import Scores
from student.texts import is_known, stratum

FOLDS = 5
BLOCK_ROWS = 512
APART_SHARE, APART_MOST = 0.1, 2000  # of all rows: how many are left out with their near-duplicates, at most
Tell = Callable[[float], None]


@dataclass
class Learned:
    """The rows that networks and calibration learn from.

    Attributes
    ----------
    products : Products
        Training rows of the earlier stages.
    targets : Targets
        Their labels.
    leverage : ndarray of float32, shape (rows,)
        Their leverage in the ridge.
    groups : ndarray of int64, shape (rows,)
        From 0: the same for near-duplicates.
    known : ndarray of bool, shape (rows,)
        Whether another training row is a near-duplicate.
    """

    products: Products
    targets: Targets
    leverage: Scores
    groups: Ids
    known: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.products)


@dataclass
class Apart:
    """Rows that are left out together with all their near-duplicates: new texts, where other rows are known ones.

    Attributes
    ----------
    judge : Judge
        All but the ridge, made without any of the rows.
    rows : ndarray of int64, shape (apart,)
        Which of the rows of `Learned`; ascending.
    scores : ndarray of float32, shape (apart, classes)
        The ridge's, had it seen none of them.
    """

    judge: Judge
    rows: Ids
    scores: Scores


def rows_apart(groups: Ids, known: NDArray[np.bool_], seed: int) -> Ids:
    """Return the rows to leave out together: whole groups of near-duplicates, at random.

    Parameters
    ----------
    groups : ndarray of int64, shape (rows,)
        Of all training rows; from 0.
    known : ndarray of bool, shape (rows,)
        Whether another row is of the same group.
    seed : int
        Chooses the groups.

    Returns
    -------
    ndarray of int64
        Ascending; none where there are no near-duplicates.
    """
    sizes = np.bincount(groups)
    several = np.random.default_rng(seed).permutation(np.unique(groups[known]))
    most = min(int(APART_SHARE * len(groups)), APART_MOST)
    chosen = several[np.cumsum(sizes[several]) <= most]
    return np.flatnonzero(np.isin(groups, chosen))


def learn_to_choose(judge: Judge, learned: Learned, *, seed: int, tell: Tell) -> NDArray[np.int64]:
    """Give `judge` its scale and its networks.

    Parameters
    ----------
    judge : Judge
        All but the scale and the networks.
    learned : Learned
        The rows to learn from.
    seed : int
        For the folds and the networks.
    tell : callable
        Told the share done.

    Returns
    -------
    ndarray of int64, shape (rows,)
        The network that did not see the row, nor any near-duplicate of it.
    """
    figures, truths, lengths = [], [], []
    for rows in _blocks(len(learned)):
        block = replace(judge.encoder.encode(learned.products.take(rows)), training=True)
        found = judge.propose(block, Own(learned.targets.take(rows), learned.leverage[rows]), learning=True)
        figures.append(judge.evidence.weigh(block, found))
        truths.append(_truth(found))
        lengths.append(np.diff(found.starts))
        tell(0.3 * rows[-1] / len(learned))
    flat, truth = np.concatenate(figures), np.concatenate(truths)
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    judge.scale = Scale.fit(flat)
    scaled = judge.scale.apply(flat)
    count = int(learned.groups.max()) + 1
    fold = np.random.default_rng(seed).permutation(count)[learned.groups] % FOLDS

    def learn(turn: int) -> Network:
        others = np.flatnonzero(fold != turn) if count >= FOLDS else np.arange(len(learned))
        return train_network(scaled, starts, truth, others, seed=seed + turn)

    # The matrices are small: threads of our own, one network each, keep the cores busy, BLAS's would only wait.
    with threadpool_limits(1), ThreadPoolExecutor(min(FOLDS, os.cpu_count() or 1)) as pool:
        for turn, network in enumerate(pool.map(learn, range(FOLDS))):
            judge.networks.append(network)
            tell(0.3 + 0.7 * (turn + 1) / FOLDS)
    return fold


def judge_left_out(judge: Judge, learned: Learned, fold: Ids) -> list[Judged]:
    """Return what each row is told as if it were new, near-duplicates of it being known, by its fold's network.

    The candidates are those that a new row would have, not the more that networks learn from.
    """
    judged = []
    for rows in _blocks(len(learned)):
        block = replace(judge.encoder.encode(learned.products.take(rows)), training=True)
        found = judge.propose(block, Own(learned.targets.take(rows), learned.leverage[rows]))
        shares = _shares(judge, found, judge.evidence.weigh(block, found), fold[rows])
        judged.append(Judged(found, shares, judge.seen(found), stratum(block.retailers, learned.known[rows])))
    return judged


def judge_apart(apart: Apart, learned: Learned, fold: Ids) -> list[Judged]:
    """Return what rows are told that are left out together with all their near-duplicates."""
    judge, judged = apart.judge, []
    totals = judge.evidence.totals
    apart.scores[:, np.concatenate([totals["upper"], totals["last"]]) < 1e-6] = NEVER
    for places in _blocks(len(apart.rows)):
        rows = apart.rows[places]
        block = judge.encoder.encode(learned.products.take(rows))
        found = judge.propose(block, scores=apart.scores[places])
        shares = _shares(judge, found, judge.evidence.weigh(block, found), fold[rows])
        new = np.zeros(len(rows), dtype=np.bool_)
        judged.append(Judged(found, shares, judge.seen(found), stratum(block.retailers, new)))
    return judged


def _blocks(rows: int) -> Iterator[Ids]:
    for start in range(0, rows, BLOCK_ROWS):
        yield np.arange(start, min(start + BLOCK_ROWS, rows))


def _shares(judge: Judge, found: Candidates, figures: Scores, fold: Ids) -> Scores:
    scaled, scores = judge.scale.apply(figures), np.zeros(len(figures), dtype=np.float32)
    turns = np.repeat(fold, np.diff(found.starts))
    for turn in np.unique(turns):
        scores[turns == turn] = judge.networks[turn].score(scaled[turns == turn])
    return softmax(scores, found.starts)[found.places]


def calibrate(
    judged: list[Judged],
    apart: list[Judged],
    apart_rows: Ids,
    learned: Learned,
    space: LabelSpace,
    levels: tuple[str, ...],
    shops: list[str],
    policy: Policy,
    seed: int,
) -> tuple[Calibration, dict[str, Any]]:
    """Fit the calibration of `policy` on rows that were judged as if new; return it and what it was good for.

    Parameters
    ----------
    judged, apart : list of Judged
        From `judge_left_out` and `judge_apart`.
    apart_rows : ndarray of int64
        Which rows those of `apart` are.
    learned : Learned
        The rows.
    space : LabelSpace
        The classes.
    levels, shops : sequence of str
        Their names, for the report.
    policy : str
        Which paths are valid.
    seed : int
        Draws rows.
    """
    everything: Ids = np.arange(len(learned))
    left_out = Sample.of(judged, everything, learned.targets, learned.groups, space, len(levels), policy)
    together = Sample.of(apart, apart_rows, learned.targets, learned.groups, space, len(levels), policy)
    alone = left_out.take(~is_known(left_out.strata))
    if len(apart_rows):  # those that have no near-duplicates are as many times more as among all rows
        share = len(apart_rows) / learned.known.sum()
        alone = alone.take(np.random.default_rng(seed).random(len(alone)) < share)
    new = joined_samples(alone, together)
    return Calibration.fit(left_out, new), calibration_report(left_out, new, levels, shops)


def _truth(found: Candidates) -> Scores:
    """Return the share of each row's label on each of its places; what no candidate holds is on the last."""
    truth = np.zeros(len(found) + found.rows, dtype=np.float32)
    truth[found.places] = found.own[2]
    truth[found.starts[1:] - 1] = 1 - np.bincount(found.row, found.own[2], found.rows)
    return truth.clip(0, 1)
