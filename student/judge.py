"""The way of one block of products: encoded, given candidates, weighed, and each candidate given its share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.schema import Policy
from student.candidates import Candidates, Own, propose
from student.encoding import Block, ProductEncoder
from student.evidence import Evidence
from student.labels import Ids, LabelSpace
from student.rerank import Network, Scale, softmax
from student.ridge import Ridge, Scores
from student.texts import KnownTexts, stratum


@dataclass
class Judged:
    """A block of rows with the share of each candidate, before calibration.

    Attributes
    ----------
    found : Candidates
        The candidates.
    shares : ndarray of float32, shape (candidates,)
        Add up to at most 1 over a row: the rest stands for "none of them".
    seen : ndarray of bool, shape (candidates,)
        Whether the pair was seen in training (by other rows).
    strata : ndarray of int64, shape (rows,)
        Of `texts.stratum`: by what else than its share a path's probability goes.
    """

    found: Candidates
    shares: Scores
    seen: NDArray[np.bool_]
    strata: Ids

    def rank(self, policy: Policy) -> tuple[Ids, Ids]:
        """Return the candidates that `policy` allows, best first within each row, and the rank of each, from 0."""
        allowed = np.flatnonzero(self.seen) if policy == "path" else np.arange(len(self.found))
        order = allowed[np.lexsort((-self.shares[allowed], self.found.row[allowed]))]
        row = self.found.row[order]
        return order, np.arange(len(order)) - np.searchsorted(row, row)

    def level_shares(self, best: Ids, space: LabelSpace, levels: int) -> Scores:
        """Return the share of candidates that agree with each best one, by level: (best, levels)."""
        found = self.found
        chosen = np.zeros(found.rows, dtype=np.int64)
        chosen[found.row[best]] = found.upper[best]
        columns = []
        for prefix in space.prefixes[: levels - 1]:
            agree = prefix[found.upper] == prefix[chosen[found.row]]
            columns.append(np.bincount(found.row, self.shares * agree, found.rows)[found.row[best]])
        return np.stack([*columns, self.shares[best]], axis=1).astype(np.float32)


@dataclass
class Judge:
    """What is learned from training rows, but for calibration."""

    space: LabelSpace
    encoder: ProductEncoder
    ridge: Ridge
    evidence: Evidence
    scale: Scale
    networks: list[Network]
    known: KnownTexts

    def judge(self, block: Block) -> Judged:
        """Judge new products."""
        found = self.propose(block)
        scaled = self.scale.apply(self.evidence.weigh(block, found))
        scores = np.stack([network.score(scaled) for network in self.networks]).mean(axis=0)
        strata = stratum(block.retailers, self.known.holds(block.lines))
        return Judged(found, softmax(scores, found.starts)[found.places], self.seen(found), strata)

    def propose(
        self, block: Block, own: Own | None = None, *, scores: Scores | None = None, learning: bool = False
    ) -> Candidates:
        """Find candidates.

        Parameters
        ----------
        block : Block
            The products.
        own : Own, optional
            What they put into the model, where they are training rows.
        scores : ndarray of float32, shape (rows, classes), optional
            In place of the ridge's.
        learning : bool
            Find more: near misses, too.
        """
        scores = self.ridge.score(block.encoded) if scores is None else scores
        evidence = self.evidence
        return propose(scores, self.space, evidence.tables["pairs"], evidence.totals, own, learning=learning)

    def seen(self, found: Candidates) -> NDArray[np.bool_]:
        """Tell which candidates are pairs seen in training, by other rows."""
        count = self.evidence.tables["pairs"].look_up(self.space.key(found.upper, found.last)) - found.own[2]
        return np.asarray(count > 1e-6)
