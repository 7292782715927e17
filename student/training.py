"""Training the networks that choose, and the calibration of what they say, on rows judged as if they were new."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from catalog.products import Products
from catalog.taxonomy import Policy
from student.calibrate import Calibration, calibration_report
from student.candidates import Candidates, Own
from student.judge import Judge, Judged
from student.labels import Ids, LabelSpace, Targets
from student.rerank import Network, Scale, softmax, train_network
from student.ridge import Scores

FOLDS = 5
BLOCK_ROWS = 512
Tell = Callable[[float], None]


def learn_to_choose(
    judge: Judge, products: Products, targets: Targets, leverage: Scores, *, seed: int, tell: Tell
) -> list[Judged]:
    """Give `judge` its scale and its networks, and return what each row is told by networks that never saw it.

    Parameters
    ----------
    judge : Judge
        All but the scale and the networks.
    products : Products
        The rows to learn from: training rows of the earlier stages.
    targets : Targets
        Their labels.
    leverage : ndarray of float32, shape (rows,)
        Their leverage in the ridge.
    seed : int
        For the folds and the networks.
    tell : callable
        Told the share done.

    Returns
    -------
    list of Judged
        The rows in blocks of `BLOCK_ROWS`.
    """
    figures, truths, lengths, blocks = [], [], [], []
    for start in range(0, len(products), BLOCK_ROWS):
        rows = np.arange(start, min(start + BLOCK_ROWS, len(products)))
        block = replace(judge.encoder.encode(products.take(rows)), training=True)
        found = judge.propose(block, Own(targets.take(rows), leverage[rows]))
        figures.append(judge.evidence.weigh(block, found))
        truths.append(_truth(found))
        lengths.append(np.diff(found.starts))
        blocks.append(found)
        tell(0.3 * rows[-1] / len(products))
    flat, truth = np.concatenate(figures), np.concatenate(truths)
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    judge.scale = Scale.fit(flat)
    scaled = judge.scale.apply(flat)
    fold = np.random.default_rng(seed).permutation(len(products)) % FOLDS
    fold_of = np.repeat(fold, np.diff(starts))
    scores = np.zeros(len(flat), dtype=np.float32)

    def learn(turn: int) -> Network:
        others = np.flatnonzero(fold != turn) if len(products) >= FOLDS else np.arange(len(products))
        return train_network(scaled, starts, truth, others, seed=seed + turn)

    # The matrices are small: threads of our own, one network each, keep the cores busy, BLAS's would only wait.
    with threadpool_limits(1), ThreadPoolExecutor(min(FOLDS, os.cpu_count() or 1)) as pool:
        for turn, network in enumerate(pool.map(learn, range(FOLDS))):
            judge.networks.append(network)
            scores[fold_of == turn] = network.score(scaled[fold_of == turn])
            tell(0.3 + 0.7 * (turn + 1) / FOLDS)
    shares = softmax(scores, starts)
    ends = np.cumsum([len(found) + found.rows for found in blocks])
    return [
        Judged(found, shares[end - len(found) - found.rows : end][found.places], judge.seen(found))
        for end, found in zip(ends, blocks, strict=True)
    ]


def calibrate(
    judged: list[Judged], targets: Targets, space: LabelSpace, levels: int, policy: Policy
) -> tuple[Calibration, dict[str, float]]:
    """Fit the calibration of `policy` on rows that were judged as if new; return it and what it was good for."""
    level_shares, level_right, other_shares, other_right = [], [], [], []
    at = 0
    for block in judged:
        found = block.found
        rows: Ids = np.arange(at, at + found.rows)
        at += found.rows
        main = np.argmax(targets.weight[rows], axis=1)
        order, ranked = block.rank(policy)
        if not len(order):
            continue
        row, first = found.row[order], ranked == 0
        truth_upper, truth_last = targets.upper[rows, main][row], targets.last[rows, main][row]
        upper = found.upper[order]
        whole = (upper == truth_upper) & (found.last[order] == truth_last)
        right = [prefix[upper] == prefix[truth_upper] for prefix in space.prefixes[: levels - 1]]
        level_shares.append(block.level_shares(order[first], space, levels))
        level_right.append(np.stack([*right, whole], axis=1)[first])
        other_shares.append(block.shares[order][~first])
        other_right.append(whole[~first])
    if not level_shares:
        none = np.zeros((0, levels), dtype=np.float32)
        return Calibration.fit(none, none.astype(bool), none[:, 0], none[:, 0].astype(bool)), {}
    best, good = np.concatenate(level_shares), np.concatenate(level_right)
    fitted = Calibration.fit(best, good, np.concatenate(other_shares), np.concatenate(other_right))
    return fitted, calibration_report(best[:, -1], good[:, -1])


def _truth(found: Candidates) -> Scores:
    """Return the share of each row's label on each of its places; what no candidate holds is on the last."""
    truth = np.zeros(len(found) + found.rows, dtype=np.float32)
    truth[found.places] = found.own[2]
    truth[found.starts[1:] - 1] = 1 - np.bincount(found.row, found.own[2], found.rows)
    return truth.clip(0, 1)
