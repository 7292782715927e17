"""The embedded classifier: label paths with calibrated probabilities, from text, price and shop, on a CPU.

Text becomes hashed substrings (`features`); a ridge regression scores every upper path and every last value (`ridge`);
the best of each are paired (`candidates`); counts, prices, shops and spelling weigh each pair (`evidence`); networks
choose among a product's pairs (`rerank`); and held-out rows turn their shares into probabilities (`calibrate`). Every
stage learns from training rows as if the row itself had not been in the stages before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from catalog.errors import ShelfmarkError
from catalog.messages import LabelPath
from catalog.products import Products
from catalog.schema import Schema
from catalog.taxonomy import POLICIES, Policy
from student.calibrate import Calibration, calibration_report
from student.candidates import Candidates, Own, propose
from student.evidence import Block, Evidence
from student.features import BLOCK_ROWS, Encoder, Matrix, normalise
from student.labels import Ids, LabelSpace, SoftLabels, Targets
from student.rerank import Network, Scale, softmax, train_network
from student.ridge import Ridge, Scores, fit_ridge, indicator
from student.storage import load_folder, save_folder
from student.tallies import tally

DEFAULT_POLICY: Policy = "brand-free"
RERANK_ROWS = 20_000
FOLDS = 5
_BLOCK = 512
Progress = Callable[[float, str], None]


@dataclass
class TreePredictions:
    """What the classifier says of each product.

    Attributes
    ----------
    paths : list of lists of label paths
        Best first; up to `top_n` for each row, at least one.
    probabilities : ndarray of float64, shape (rows, top_n)
        That the whole path is right; never rising along a row, 0 where there are fewer paths.
    level_probabilities : ndarray of float64, shape (rows, levels)
        That the best path's levels are right down to each; never rising with depth, the last one being
        ``probabilities[:, 0]``.
    """

    paths: list[list[LabelPath]]
    probabilities: NDArray[np.float64]
    level_probabilities: NDArray[np.float64]


@dataclass
class _Judged:
    """A block of rows with the share of each candidate, before calibration."""

    found: Candidates
    shares: Scores  # (candidates,)
    seen: NDArray[np.bool_]  # (candidates,): a pair seen in training (by other rows)


class TreeClassifier:
    """A fitted classifier; make one with `fit` or `load`."""

    def __init__(
        self,
        levels: tuple[str, ...],
        space: LabelSpace,
        encoder: Encoder,
        ridge: Ridge,
        evidence: Evidence,
        shops: list[str],
        scale: Scale,
        networks: list[Network],
        calibrations: dict[Policy, Calibration],
        report: dict[str, Any],
    ) -> None:
        self.levels = levels
        self.space = space
        self.encoder = encoder
        self.ridge = ridge
        self.evidence = evidence
        self.shops = shops
        self.scale = scale
        self.networks = networks
        self.calibrations = calibrations
        self.report = report
        self._shop_number = {shop: number for number, shop in enumerate(shops)}

    @property
    def path_counts(self) -> dict[LabelPath, int]:
        """The label paths seen in training, and how many rows each had (at least 1 where labels were soft)."""
        pairs = self.evidence.tables["pairs"]
        return {
            self.space.path(int(key)): max(round(float(count)), 1)
            for key, count in zip(pairs.keys, pairs.values, strict=True)
        }

    @classmethod
    def fit(
        cls,
        products: Products,
        schema: Schema,
        *,
        soft: SoftLabels | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> TreeClassifier:
        """Fit on labelled products.

        Parameters
        ----------
        products : Products
            At least one row.
        schema : Schema
            Names the levels.
        soft : sequence of sequences of (path, weight), optional
            For each row, paths and weights that add up to 1: learned instead of the labels.
        seed : int
            Same seed, same rows: same model.
        progress : callable, optional
            Told the share done in [0, 1] and what is being done.

        Raises
        ------
        ShelfmarkError
            When there are no rows, no labels, or a soft label is wrong.
        """
        tell: Progress = progress or (lambda _done, _what: None)
        if not len(products):
            raise ShelfmarkError("there are no products to learn from")
        labels = products.require_labels() if soft is None else []
        if soft is not None and len(soft) != len(products):
            raise ShelfmarkError(f"{len(soft)} soft labels for {len(products)} products; give one for each")
        tell(0.0, "reading text")
        space, targets = LabelSpace.from_labels(labels, soft)
        encoder = Encoder.fit(products.texts)
        shops = sorted(set(products.retailers) - {""})
        number = {shop: place for place, shop in enumerate(shops)}
        retailers = np.array([number.get(shop, -1) for shop in products.retailers], dtype=np.int64)
        encoded = _encode(encoder, products, retailers)

        tell(0.15, "scoring classes")
        random = np.random.default_rng(seed)
        rows = np.sort(random.permutation(len(products))[:RERANK_ROWS])
        uppers, lasts = len(space.uppers), len(space.lasts)
        both = np.concatenate([targets.upper, uppers + targets.last], axis=1)
        twice = np.concatenate([targets.weight, targets.weight], axis=1)
        ridge, leverage = fit_ridge(encoded, indicator(both, twice, uppers + lasts), rows)
        tell(0.7, "weighing candidates")
        evidence = Evidence(tally(products.prices, retailers, encoded, targets, space), space, encoder)
        model = cls(schema.levels, space, encoder, ridge, evidence, shops, Scale.empty(), [], {}, {})
        model._learn_to_choose(products, encoded, targets, rows, leverage, seed, tell)
        # Rounded as they are stored, so that a model read back says the same.
        ridge.weights = ridge.weights.astype(np.float16).astype(np.float32)
        tell(1.0, "done")
        return model

    def _learn_to_choose(
        self,
        products: Products,
        encoded: Matrix,
        targets: Targets,
        rows: Ids,
        leverage: Scores,
        seed: int,
        tell: Progress,
    ) -> None:
        """Train the networks and the calibration on `rows`, each judged as if it were new."""
        figures, truths, lengths, blocks = [], [], [], []
        for start in range(0, len(rows), _BLOCK):
            picked = rows[start : start + _BLOCK]
            own = Own(targets.take(picked), leverage[start : start + _BLOCK])
            lines = normalise([products.texts[row] for row in picked])
            part = encoded[picked]
            found, block = self._propose(products.take(picked), lines, part, own)
            figures.append(self.evidence.weigh(block, found))
            truths.append(_truth(found))
            lengths.append(np.diff(found.starts))
            blocks.append(found)
        flat = np.concatenate(figures)
        truth = np.concatenate(truths)
        starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
        self.scale = Scale.fit(flat)
        scaled = self.scale.apply(flat)
        fold = np.random.default_rng(seed).permutation(len(rows)) % FOLDS
        scores = np.zeros(len(flat), dtype=np.float32)
        fold_of = np.repeat(fold, np.diff(starts))

        def learn(turn: int) -> Network:
            others = np.flatnonzero(fold != turn) if len(rows) >= FOLDS else np.arange(len(rows))
            return train_network(scaled, starts, truth, others, seed=seed + turn)

        tell(0.75, "learning to choose")
        # The matrices are small: threads of our own, one network each, keep the cores busy, BLAS's would only wait.
        with threadpool_limits(1), ThreadPoolExecutor(min(FOLDS, os.cpu_count() or 1)) as pool:
            for turn, network in enumerate(pool.map(learn, range(FOLDS))):
                tell(0.75 + 0.2 * (turn + 1) / FOLDS, "learning to choose")
                self.networks.append(network)
                scores[fold_of == turn] = network.score(scaled[fold_of == turn])
        tell(0.95, "calibrating")
        shares = softmax(scores, starts)
        judged = []
        for start, found in zip(range(0, len(rows), _BLOCK), blocks, strict=True):
            places = starts[start] + np.arange(len(found)) + found.row
            seen = self._seen(found)
            judged.append(_Judged(found, shares[places], seen))
        for policy in POLICIES:
            self.calibrations[policy], self.report[policy] = self._calibrate(judged, targets, rows, policy)

    def _calibrate(
        self, judged: list[_Judged], targets: Targets, rows: Ids, policy: Policy
    ) -> tuple[Calibration, dict[str, float]]:
        level_shares, level_right, other_shares, other_right = [], [], [], []
        at = 0
        for block in judged:
            found = block.found
            own = targets.take(rows[at : at + found.rows])
            at += found.rows
            order, ranked = _rank(block, policy)
            if not len(order):
                continue
            main = np.argmax(own.weight, axis=1)
            row = found.row[order]
            truth_upper = own.upper[np.arange(len(own)), main][row]
            truth_last = own.last[np.arange(len(own)), main][row]
            first = ranked == 0
            shares = self._level_shares(block, order[first])
            right = [prefix[found.upper[order]] == prefix[truth_upper] for prefix in self.space.prefixes]
            whole = (found.upper[order] == truth_upper) & (found.last[order] == truth_last)
            right = [*right[: len(self.levels) - 1], whole]
            level_shares.append(shares)
            level_right.append(np.stack(right, axis=1)[first])
            other_shares.append(block.shares[order][~first])
            other_right.append(whole[~first])
        if not level_shares:
            none = np.zeros((0, len(self.levels)), dtype=np.float32)
            return Calibration.fit(none, none.astype(bool), none[:, 0], none[:, 0].astype(bool)), {}
        best, good = np.concatenate(level_shares), np.concatenate(level_right)
        fitted = Calibration.fit(best, good, np.concatenate(other_shares), np.concatenate(other_right))
        return fitted, calibration_report(best[:, -1], good[:, -1])

    def _level_shares(self, block: _Judged, best: Ids) -> Scores:
        """Return the share of candidates that agree with each best one, by level: (best, levels)."""
        found = block.found
        chosen = np.zeros(found.rows, dtype=np.int64)
        chosen[found.row[best]] = found.upper[best]
        columns = []
        for prefix in self.space.prefixes[: len(self.levels) - 1]:
            agree = prefix[found.upper] == prefix[chosen[found.row]]
            columns.append(np.bincount(found.row, block.shares * agree, found.rows)[found.row[best]])
        return np.stack([*columns, block.shares[best]], axis=1).astype(np.float32)

    def _seen(self, found: Candidates) -> NDArray[np.bool_]:
        count = self.evidence.tables["pairs"].look_up(self.space.key(found.upper, found.last)) - found.own[2]
        return np.asarray(count > 1e-6)

    def _propose(
        self, products: Products, lines: list[str], encoded: Matrix, own: Own | None
    ) -> tuple[Candidates, Block]:
        numbers = [self._shop_number.get(shop, -1) for shop in products.retailers]
        block = Block(
            products.texts, lines, encoded, products.prices, np.array(numbers, dtype=np.int64), own is not None
        )
        evidence = self.evidence
        return propose(encoded, self.ridge, self.space, evidence.tables["pairs"], evidence.totals, own), block

    def _judge(self, products: Products) -> _Judged:
        lines = normalise(products.texts)
        numbers = np.array([self._shop_number.get(shop, -1) for shop in products.retailers], dtype=np.int64)
        encoded = self.encoder.encode(lines, products.prices, numbers)
        found, block = self._propose(products, lines, encoded, None)
        scaled = self.scale.apply(self.evidence.weigh(block, found))
        scores = np.stack([network.score(scaled) for network in self.networks]).mean(axis=0)
        places = np.arange(len(found)) + found.row
        return _Judged(found, softmax(scores, found.starts)[places], self._seen(found))

    def predict(self, products: Products, *, top_n: int = 1, policy: Policy = DEFAULT_POLICY) -> TreePredictions:
        """Classify products.

        Parameters
        ----------
        products : Products
            With the columns of the training products; labels are not looked at.
        top_n : int
            How many paths to return for each product, at least 1.
        policy : str
            ``brand-free``: the levels above the last form a path seen in training, and the last value was seen, too.
            ``path``: the whole path was seen.

        Raises
        ------
        ShelfmarkError
            When `top_n` or `policy` is wrong.
        """
        if policy not in POLICIES:
            raise ShelfmarkError(f"policy '{policy}' is unknown; use one of {', '.join(POLICIES)}")
        if top_n < 1:
            raise ShelfmarkError(f"top_n is {top_n}; it must be at least 1")
        blocks = [slice(start, start + _BLOCK) for start in range(0, len(products), _BLOCK)]

        def one(part: slice) -> TreePredictions:
            rows = np.arange(part.start, min(part.stop, len(products)))
            return self._answer(self._judge(products.take(rows)), top_n, policy)

        # Array operations let other threads run: threads of our own keep all cores busy, BLAS's would only wait.
        with threadpool_limits(1), ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            parts = list(pool.map(one, blocks))
        if not parts:
            return TreePredictions([], np.zeros((0, top_n)), np.zeros((0, len(self.levels))))
        return TreePredictions(
            [paths for part in parts for paths in part.paths],
            np.concatenate([part.probabilities for part in parts]),
            np.concatenate([part.level_probabilities for part in parts]),
        )

    def _answer(self, block: _Judged, top_n: int, policy: Policy) -> TreePredictions:
        found = block.found
        calibration = self.calibrations[policy]
        order, ranked = _rank(block, policy)
        levels = np.zeros((found.rows, len(self.levels)))
        chances = np.zeros((found.rows, top_n))
        kept = np.full((found.rows, top_n), -1, dtype=np.int64)
        shares = np.zeros((found.rows, top_n), dtype=np.float32)
        listed = ranked < top_n
        kept[found.row[order[listed]], ranked[listed]] = order[listed]
        shares[found.row[order[listed]], ranked[listed]] = block.shares[order[listed]]
        first = order[ranked == 0]
        if len(first):
            levels[found.row[first]] = calibration.best(self._level_shares(block, first))
        chances[:, 0] = levels[:, -1]
        if top_n > 1:
            chances[:, 1:] = calibration.further(shares[:, 1:], chances[:, 0])
        keys = self.space.key(found.upper, found.last)
        paths: list[list[LabelPath]] = []
        for row in range(found.rows):
            places = kept[row][kept[row] >= 0]
            if len(places):
                paths.append([self.space.path(int(keys[p])) for p in places])
            else:  # no candidate was ever seen whole: the commonest path of the likeliest upper path
                paths.append([self._commonest(int(self._likeliest(block, row)))])
                chances[row, 0] = levels[row, -1] = 1e-4
                levels[row] = np.maximum.accumulate(levels[row][::-1])[::-1]
        return TreePredictions(paths, chances, levels)

    def _likeliest(self, block: _Judged, row: int) -> int:
        mine = np.flatnonzero(block.found.row == row)
        mass = np.bincount(block.found.upper[mine], block.shares[mine])
        return int(mass.argmax())

    def _commonest(self, upper: int) -> LabelPath:
        table = self.evidence.tables["pairs"]
        ends = self.space.key(np.array([upper, upper + 1], dtype=np.int64), np.zeros(2, dtype=np.int64))
        low, high = np.searchsorted(table.keys, ends)
        return self.space.path(int(table.keys[low + int(table.values[low:high].argmax())]))

    def save(self, folder: str | Path) -> None:
        """Write the model as a folder of ``.npy`` files and ``tree.json``; replaces what stood there."""
        arrays: dict[str, NDArray[Any]] = {f"evidence_{name}": array for name, array in self.evidence.arrays.items()}
        arrays["idf"] = self.encoder.idf
        arrays["weights"] = self.ridge.weights.astype(np.float16)
        arrays["scale_mean"], arrays["scale_deviation"] = self.scale.mean, self.scale.deviation
        for turn, network in enumerate(self.networks):
            for layer, values in enumerate(network.layers):
                arrays[f"network_{turn}_{layer}"] = values
        facts = {
            "levels": list(self.levels),
            "uppers": [list(upper) for upper in self.space.uppers],
            "lasts": self.space.lasts,
            "shops": self.shops,
            "networks": [len(network.layers) for network in self.networks],
            "report": self.report,
            "calibrations": {policy: calibration.to_dict() for policy, calibration in self.calibrations.items()},
        }
        save_folder(folder, facts, arrays)

    @classmethod
    def load(cls, folder: str | Path) -> TreeClassifier:
        """Read what `save` wrote.

        Raises
        ------
        ShelfmarkError
            When the model is missing, damaged, or of another version.
        """
        facts, arrays = load_folder(folder)
        try:
            space = LabelSpace([tuple(upper) for upper in facts["uppers"]], list(facts["lasts"]))
            encoder = Encoder(arrays["idf"])
            counted = {name.removeprefix("evidence_"): array for name, array in arrays.items() if "evidence_" in name}
            networks = [
                Network([arrays[f"network_{turn}_{layer}"] for layer in range(count)])
                for turn, count in enumerate(facts["networks"])
            ]
            calibrations = {policy: Calibration.from_dict(facts["calibrations"][policy]) for policy in POLICIES}
            scale = Scale(arrays["scale_mean"], arrays["scale_deviation"])
            evidence = Evidence(counted, space, encoder)
            ridge = Ridge(arrays["weights"])
            return cls(
                tuple(facts["levels"]),
                space,
                encoder,
                ridge,
                evidence,
                facts["shops"],
                scale,
                networks,
                calibrations,
                facts["report"],
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ShelfmarkError(f"{folder}/tree.json: damaged ({error!r}); fit the model again") from None


def _encode(encoder: Encoder, products: Products, retailers: Ids) -> Matrix:
    def parts() -> Iterator[Matrix]:
        for start in range(0, len(products), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            yield encoder.encode(normalise(products.texts[part]), products.prices[part], retailers[part])

    return sp.vstack(list(parts()), format="csr")


def _truth(found: Candidates) -> Scores:
    """Return the share of each row's label on each of its places; what no candidate holds is on the last."""
    truth = np.zeros(len(found) + found.rows, dtype=np.float32)
    truth[np.arange(len(found)) + found.row] = found.own[2]
    truth[found.starts[1:] - 1] = 1 - np.bincount(found.row, found.own[2], found.rows)
    return truth.clip(0, 1)


def _rank(block: _Judged, policy: Policy) -> tuple[Ids, Ids]:
    """Return the candidates that `policy` allows, best first within each row, and the rank of each, from 0."""
    allowed = np.flatnonzero(block.seen) if policy == "path" else np.arange(len(block.found))
    order = allowed[np.lexsort((-block.shares[allowed], block.found.row[allowed]))]
    row = block.found.row[order]
    return order, np.arange(len(order)) - np.searchsorted(row, row)
