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
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from catalog.arrays import damaged
from catalog.errors import ShelfmarkError
from catalog.messages import LabelPath
from catalog.products import Products
from catalog.schema import POLICIES, Policy, Schema
from rag.encoders import check_name
from student.answers import TreePredictions, answer, joined
from student.calibrate import Calibration
from student.encoding import NO_SENTENCES, ProductEncoder
from student.evidence import Evidence
from student.features import BLOCK_ROWS, Encoder, Matrix
from student.judge import Judge, Judged
from student.labels import LabelSpace, SoftLabels
from student.rerank import Network, Scale
from student.ridge import Ridge, fit_ridge, indicator
from student.storage import save_folder
from student.stored import load_stored
from student.tallies import tally
from student.texts import KnownTexts, text_keys
from student.training import Apart, Learned, calibrate, judge_apart, judge_left_out, learn_to_choose, rows_apart

DEFAULT_POLICY: Policy = "brand-free"
RERANK_ROWS = 20_000  # rows that the networks and the calibration learn from
_BLOCK = 512
_WINDOW = 32 * _BLOCK  # rows that are held encoded at once
Progress = Callable[[float, str], None]


class TreeClassifier:
    """A fitted classifier; make one with `fit` or `load`."""

    def __init__(
        self,
        levels: tuple[str, ...],
        judge: Judge,
        calibrations: dict[Policy, Calibration],
        report: dict[str, dict[str, Any]],
    ) -> None:
        self.levels = levels
        self.judge = judge
        self.calibrations = calibrations
        self.report = report
        self._as_if_new: tuple[NDArray[np.int64], list[Judged]] | None = None

    @property
    def path_counts(self) -> dict[LabelPath, int]:
        """The label paths seen in training, and how many rows each had (at least 1 where labels were soft)."""
        pairs = self.judge.evidence.tables["pairs"]
        return {
            self.judge.space.path(int(key)): max(round(float(count)), 1)
            for key, count in zip(pairs.keys, pairs.values, strict=True)
        }

    @classmethod
    def fit(
        cls,
        products: Products,
        schema: Schema,
        *,
        soft: SoftLabels | None = None,
        sentences: str = NO_SENTENCES,
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
        sentences : str
            The name of a sentence encoder to use as well (needs the extra ``embed``), or ``ngram`` for none.
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
        encoder = ProductEncoder.fit(products, sentences)
        encoded, retailers, keys = _encode(encoder, products, lambda share: tell(0.05 + 0.1 * share, "reading text"))

        tell(0.15, "scoring classes")
        random = np.random.default_rng(seed)
        rows = np.sort(random.permutation(len(products))[:RERANK_ROWS])
        texts, groups, sizes = np.unique(keys, return_inverse=True, return_counts=True)
        known = sizes[groups] > 1
        apart = rows_apart(groups, known, seed)
        uppers, lasts = len(space.uppers), len(space.lasts)
        both = np.concatenate([targets.upper, uppers + targets.last], axis=1)
        twice = np.concatenate([targets.weight, targets.weight], axis=1)
        classes = indicator(both, twice, uppers + lasts)
        ridge, leverage = fit_ridge(encoded, classes, rows, apart=apart)

        tell(0.7, "weighing candidates")
        evidence = Evidence(tally(products.prices, retailers, encoded, targets, space), space, encoder)
        judge = Judge(space, encoder, ridge, evidence, Scale.empty(), [], KnownTexts(texts))
        learned = Learned(
            products.take(rows),
            targets.take(rows),
            leverage.each,
            np.unique(groups[rows], return_inverse=True)[1],
            known[rows],
        )
        fold = learn_to_choose(
            judge, learned, seed=seed, tell=lambda share: tell(0.7 + 0.2 * share, "learning to choose")
        )
        tell(0.9, "calibrating")
        judged = judge_left_out(judge, learned, fold)
        told: list[Judged] = []
        sampled = np.isin(apart, rows)
        among = np.searchsorted(rows, apart[sampled])
        if sampled.any():
            scores = leverage.without_each_other(ridge.score(encoded[apart]), classes[apart])
            # Rows of no weight and of no shop are not counted; to take the others would copy their encoding.
            weight, sold = targets.weight.copy(), retailers.copy()
            weight[apart], sold[apart] = 0, -1
            counted = tally(products.prices, sold, encoded, replace(targets, weight=weight), space)
            without = replace(judge, evidence=Evidence(counted, space, encoder))
            told = judge_apart(Apart(without, among, scores[sampled]), learned, fold)
        fitted = {
            policy: calibrate(judged, told, among, learned, space, schema.levels, encoder.shops, policy, seed)
            for policy in POLICIES
        }
        # Rounded as they are stored, so that a model read back says the same.
        ridge.weights = ridge.weights.astype(np.float16).astype(np.float32)
        tell(1.0, "done")
        made = cls(
            schema.levels,
            judge,
            {policy: calibration for policy, (calibration, _) in fitted.items()},
            {policy: report for policy, (_, report) in fitted.items()},
        )
        made._as_if_new = rows, judged
        return made

    def predict(self, products: Products, *, top_n: int = 1, policy: Policy = DEFAULT_POLICY) -> TreePredictions:
        """Classify products.

        Parameters
        ----------
        products : Products
            With the columns of the training products; labels are not looked at.
        top_n : int
            How many paths to return for each product at most, at least 1.
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
        encode, judge = self.judge.encoder.encode, self.judge.judge
        parts: list[TreePredictions] = []
        # Array operations let other threads run: threads of our own keep all cores busy, BLAS's would only wait.
        # Encoding stays in this one: a sentence encoder and its cache are not for several.
        with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for start in range(0, len(products), _WINDOW):
                ends = range(start, min(start + _WINDOW, len(products)), _BLOCK)
                blocks = (encode(products.take(range(row, min(row + _BLOCK, len(products))))) for row in ends)
                parts += pool.map(lambda block: self._answer(judge(block), top_n, policy), blocks)
        if not parts:
            return TreePredictions([], np.zeros((0, top_n)), np.zeros((0, len(self.levels))))
        return joined(parts)

    def as_if_new(
        self, *, top_n: int = 1, policy: Policy = DEFAULT_POLICY
    ) -> tuple[NDArray[np.int64], TreePredictions]:
        """Return what training rows are told by a model that never saw them: no row has a part in its own answer.

        Known right after `fit` only; a saved model does not hold it.

        Returns
        -------
        ndarray of int64, shape (rows,)
            Which training rows: a random sample of `RERANK_ROWS`, in ascending order.
        TreePredictions
            As of `predict`. The calibration alone was fitted on these rows.

        Raises
        ------
        ShelfmarkError
            When the model was loaded.
        """
        if self._as_if_new is None:
            raise ShelfmarkError("a loaded model does not know what its training rows were told; fit it again")
        rows, judged = self._as_if_new
        return rows, joined([self._answer(block, top_n, policy) for block in judged])

    def _answer(self, block: Judged, top_n: int, policy: Policy) -> TreePredictions:
        return answer(block, self.judge, self.calibrations[policy], len(self.levels), top_n, policy)

    def save(self, folder: str | Path) -> None:
        """Write the model as a folder of ``.npy`` files and ``tree.json``; replaces what stood there."""
        judge = self.judge
        arrays: dict[str, NDArray[Any]] = {f"evidence_{name}": array for name, array in judge.evidence.arrays.items()}
        arrays["idf"] = judge.encoder.text.idf
        arrays["known_texts"] = judge.known.keys
        arrays["weights"] = judge.ridge.weights.astype(np.float16)
        arrays["scale_mean"], arrays["scale_deviation"] = judge.scale.mean, judge.scale.deviation
        for turn, network in enumerate(judge.networks):
            for layer, values in enumerate(network.layers):
                arrays[f"network_{turn}_{layer}"] = values
        facts = {
            "levels": list(self.levels),
            "uppers": [list(upper) for upper in judge.space.uppers],
            "lasts": judge.space.lasts,
            "shops": judge.encoder.shops,
            "sentences": judge.encoder.sentences,
            "networks": [len(network.layers) for network in judge.networks],
            "report": self.report,
            "calibrations": {policy: calibration.to_dict() for policy, calibration in self.calibrations.items()},
        }
        save_folder(folder, facts, arrays)

    @classmethod
    def load(cls, folder: str | Path, *, sentences: str | None = None) -> TreeClassifier:
        """Read what `save` wrote.

        Parameters
        ----------
        folder : str or Path
            The model's.
        sentences : str, optional
            The sentence encoder that it must have been fitted with; another one is not loaded.

        Raises
        ------
        ShelfmarkError
            When the model is missing, damaged, of another version or another encoder, or needs an extra that is not
            installed.
        """
        facts, arrays = load_stored(Path(folder))
        if sentences not in (None, facts.sentences):
            raise ShelfmarkError(
                f"--encoder {sentences}: this model was fitted with {facts.sentences}; fit another one"
            )
        file = Path(folder) / "tree.json"
        try:
            calibrations = {
                policy: Calibration.from_dict(facts.calibrations[policy].model_dump()) for policy in POLICIES
            }
        except ValueError as error:
            raise damaged(file, f"calibrations: {error}") from None
        check_name(facts.sentences, f"{file}, sentences:")
        space = LabelSpace([tuple(upper) for upper in facts.uppers], facts.lasts)
        encoder = ProductEncoder(Encoder(arrays["idf"]), facts.shops, facts.sentences)
        counted = {name.removeprefix("evidence_"): array for name, array in arrays.items() if "evidence_" in name}
        networks = [
            Network([arrays[f"network_{turn}_{layer}"] for layer in range(count)])
            for turn, count in enumerate(facts.networks)
        ]
        evidence = Evidence(counted, space, encoder)
        ridge = Ridge(arrays["weights"])
        if not evidence.fits_encoder():
            raise damaged(file, f"sentences: {facts.sentences} is another encoder than it was fitted with")
        scale = Scale(arrays["scale_mean"], arrays["scale_deviation"])
        known = KnownTexts(arrays["known_texts"]) if "known_texts" in arrays else KnownTexts.none()
        judge = Judge(space, encoder, ridge, evidence, scale, networks, known)
        report = {policy: told.model_dump(exclude_unset=True) for policy, told in facts.report.items()}
        return cls(tuple(facts.levels), judge, calibrations, report)


def _encode(
    encoder: ProductEncoder, products: Products, tell: Callable[[float], None]
) -> tuple[Matrix, NDArray[np.int64], NDArray[np.uint64]]:
    def parts() -> Iterator[tuple[Matrix, NDArray[np.int64], NDArray[np.uint64]]]:
        for start in range(0, len(products), BLOCK_ROWS):
            block = encoder.encode(products.take(np.arange(start, min(start + BLOCK_ROWS, len(products)))))
            tell(start / len(products))
            yield block.encoded, block.retailers, text_keys(block.lines)

    matrices, retailers, keys = zip(*parts(), strict=True)
    return sp.vstack(matrices, format="csr"), np.concatenate(retailers), np.concatenate(keys)
