"""The vote: which label path the neighbours speak for, and how likely each candidate is to be right."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.messages import LabelPath
from catalog.schema import Policy
from measure.calibration import Calibrator
from rag.index import Index
from rag.retrieve import Filter, Neighbours, Shortlist, rank, shortlist

HELD_OUT_ROWS = 2500
PRICE_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.45)
OTHER_WEIGHTS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SHARPNESS = (2.0, 4.0, 6.0, 8.0, 12.0)
SEEN_BONUS = (1.0, 1.5, 3.0)
FEATURES = 6  # of the logistic model


@dataclass(frozen=True)
class RetrievalOptions:
    """What a user chooses of the retrieval.

    Attributes
    ----------
    top_k : int
        Neighbours for each product.
    filter_by : {'retailer', 'prefer', 'none'}
        Which products are searched.
    price_band : float or None
        A hard price filter: the widest factor between two prices; None for none.
    policy : {'path', 'brand-free'}
        Which label paths are valid.
    ignore_price : bool
        Prices do not count.
    """

    top_k: int = 5
    filter_by: Filter = "prefer"
    price_band: float | None = None
    policy: Policy = "path"
    ignore_price: bool = False


def held_out_rows(rows: int, seed: int) -> NDArray[np.intp]:
    """Return the training rows that are held out in turn, in random order: `HELD_OUT_ROWS` of `rows` at most."""
    return np.random.default_rng(seed).permutation(rows)[:HELD_OUT_ROWS].astype(np.intp)


def shortlist_as_if_new(index: Index, rows: NDArray[np.intp], options: RetrievalOptions) -> Shortlist:
    """Return the shortlist of training rows, each as if it were not in the index."""
    found = shortlist(
        index,
        index.vectors.take(rows),
        index.products.take(rows),
        filter_by=options.filter_by,
        enough=options.top_k + 1,
        price_band=options.price_band,
    )
    own = found.rows == rows[:, None]
    return Shortlist(np.where(own, -1, found.rows), np.where(own, -np.inf, found.similarity), found.same_retailer)


class Vote:
    """Weighs the neighbours' labels into candidates with probabilities.

    The brand is voted for apart from the levels above it: a new product is often a known kind of thing by a known
    brand that were not seen together. The share of a candidate is the product of the two shares, times
    `seen_bonus` where the pair was seen; under the ``path`` policy only seen pairs are candidates. A logistic model
    over each candidate's evidence, then isotonic calibration, turn shares into probabilities.

    Parameters
    ----------
    options : RetrievalOptions
        What the vote was tuned for.
    price_weight, other_weight : float
        How much a difference in price, and another retailer, count (see `rag.retrieve.rank`).
    sharpness : float
        The power to which a neighbour's weight is raised.
    seen_bonus : float
        The factor for a pair of upper levels and brand that was seen in training.
    coefficients : list of float
        Of the logistic model: one for each feature, then the intercept.
    calibrator : Calibrator
        From the model's probability of the best candidate to its calibrated probability.
    """

    def __init__(
        self,
        options: RetrievalOptions,
        *,
        price_weight: float = 0.2,
        other_weight: float = 1.0,
        sharpness: float = 4.0,
        seen_bonus: float = 1.5,
        coefficients: list[float] | None = None,
        calibrator: Calibrator | None = None,
    ) -> None:
        self.options = options
        self.price_weight, self.other_weight = price_weight, other_weight
        self.sharpness, self.seen_bonus = sharpness, seen_bonus
        self.coefficients, self.calibrator = coefficients, calibrator

    def neighbours(
        self, index: Index, found: Shortlist, prices: NDArray[np.float64], k: int | None = None
    ) -> Neighbours:
        """Return the neighbours that vote, or the `k` nearest."""
        options = self.options
        return rank(
            index,
            found,
            prices,
            k=options.top_k if k is None else k,
            filter_by=options.filter_by,
            price_weight=self.price_weight,
            price_band=options.price_band,
            other_weight=self.other_weight,
        )

    def candidates(
        self, index: Index, near: Neighbours, limit: int, own: Sequence[LabelPath] | None = None
    ) -> list[tuple[list[LabelPath], list[float]]]:
        """Return, for each query, the candidates, most probable first, and their probabilities.

        A query that resembles nothing gets the most frequent path of the training set. Where the queries are training
        rows, held out, `own` are their labels: a path that no other row has is none.
        """
        results = []
        for query in range(len(near.rows)):
            paths, features = self._evidence(index, near, query, None if own is None else own[query])
            chances = self._probabilities(features)
            order = sorted(range(len(paths)), key=lambda at: (-chances[at], paths[at]))[:limit]
            results.append(([paths[at] for at in order], [round(float(chances[at]), 6) for at in order]))
        return results

    def _shares(
        self, index: Index, near: Neighbours, query: int, own: LabelPath | None = None
    ) -> dict[LabelPath, float]:
        """Return the candidates' shares. A row that is held out does not count among those that have its `own` path."""
        uppers: dict[LabelPath, float] = {}
        brands: dict[str, float] = {}
        for row, weight in zip(near.rows[query].tolist(), near.weight[query].tolist(), strict=True):
            if row >= 0 and weight > 0:
                path, power = index.labels[row], weight**self.sharpness
                uppers[path[:-1]] = uppers.get(path[:-1], 0.0) + power
                brands[path[-1]] = brands.get(path[-1], 0.0) + power
        seen, total = index.taxonomy.counts, sum(uppers.values())
        shares = {}
        for upper, upper_power in uppers.items():
            for brand, brand_power in brands.items():
                path = (*upper, brand)
                known = seen.get(path, 0) > (path == own)
                if known or self.options.policy != "path":
                    bonus = self.seen_bonus if known else 1.0
                    shares[path] = bonus * upper_power * brand_power / total**2
        return shares

    def _winner(self, index: Index, near: Neighbours, query: int, own: LabelPath) -> LabelPath | None:
        shares = self._shares(index, near, query, own)
        return max(shares, key=lambda path: (shares[path], path)) if shares else None

    def _evidence(
        self, index: Index, near: Neighbours, query: int, own: LabelPath | None = None
    ) -> tuple[list[LabelPath], NDArray[np.float64]]:
        """Return the candidates and, for each, the features of the logistic model, shape (candidates, 6)."""
        shares = self._shares(index, near, query, own)
        if not shares:
            frequent = max(index.taxonomy.counts.items(), key=lambda item: item[1])[0]
            shares = {frequent: 0.01}
        total = sum(shares.values())
        weights: dict[LabelPath, float] = {}
        for row, weight in zip(near.rows[query].tolist(), near.weight[query].tolist(), strict=True):
            if row >= 0:
                weights[index.labels[row]] = max(weights.get(index.labels[row], 0.0), weight)
        best = float(near.weight[query].max(initial=0.0))
        features = []
        for path, value in shares.items():
            share = min(max(value / total, 1e-4), 1 - 1e-4)
            weight = weights.get(path, 0.0)
            features.append([np.log(share / (1 - share)), weight, best, best * best, share * best, float(weight == 0)])
        return list(shares), np.array(features)

    def _probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.coefficients is None:
            logits = features[:, 0]  # the share itself
        else:
            logits = features @ np.array(self.coefficients[:-1]) + self.coefficients[-1]
        raw = 1 / (1 + np.exp(-logits))
        if self.calibrator is None:
            return raw
        return self.calibrator.apply(raw) + 1e-6 * raw  # flat stretches of the calibration keep the order

    @classmethod
    def fit(cls, index: Index, options: RetrievalOptions, *, seed: int) -> Vote:
        """Tune the vote on training rows, each held out in its turn: its neighbours are all rows but itself.

        Parameters
        ----------
        index : Index
            The training rows.
        options : RetrievalOptions
            What to tune for.
        seed : int
            Chooses the held-out rows.
        """
        rows = np.sort(held_out_rows(len(index), seed))
        held = index.products.take(rows)
        found = shortlist_as_if_new(index, rows, options)
        truth = held.require_labels()

        priced = np.isfinite(held.prices).any() and not options.ignore_price
        price_weights = PRICE_WEIGHTS if priced else (0.0,)
        other_weights = OTHER_WEIGHTS if options.filter_by == "prefer" and len(index.slices) > 1 else (1.0,)
        bonuses = SEEN_BONUS if options.policy == "brand-free" else (1.0,)

        def right(vote: Vote, near: Neighbours) -> int:
            return sum(vote._winner(index, near, query, label) == label for query, label in enumerate(truth))

        # First what makes a neighbour near, then how the near ones vote: one grid over all takes ten times longer.
        weighings = []
        for price_weight, other_weight in itertools.product(price_weights, other_weights):
            vote = cls(options, price_weight=price_weight, other_weight=other_weight)
            near = vote.neighbours(index, found, held.prices)
            weighings.append((right(vote, near), vote, near))
        _, best, near = max(weighings, key=lambda weighing: weighing[0])
        votes = []
        for sharpness, bonus in itertools.product(SHARPNESS, bonuses):
            vote = copy.copy(best)
            vote.sharpness, vote.seen_bonus = sharpness, bonus
            votes.append((right(vote, near), vote))
        _, best = max(votes, key=lambda vote: vote[0])
        best._calibrate(index, near, truth)
        return best

    def _calibrate(self, index: Index, near: Neighbours, truth: list[LabelPath]) -> None:
        from sklearn.linear_model import LogisticRegression

        evidence = [self._evidence(index, near, query, label) for query, label in enumerate(truth)]
        features = np.vstack([features for _, features in evidence])
        right = np.array([path == label for (paths, _), label in zip(evidence, truth, strict=True) for path in paths])
        if right.all() or not right.any():
            return  # nothing to tell apart: the order of the shares stands
        model = LogisticRegression(C=10.0, max_iter=1000).fit(features, right)
        self.coefficients = [*model.coef_[0].tolist(), float(model.intercept_[0])]
        raw = [self._probabilities(features) for _, features in evidence]
        top = [int(chances.argmax()) for chances in raw]
        self.calibrator = Calibrator.fit(
            np.array([chances[at] for chances, at in zip(raw, top, strict=True)]),
            np.array([paths[at] == label for (paths, _), at, label in zip(evidence, top, truth, strict=True)]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the vote as plain values, as `from_dict` takes them."""
        return {
            "options": asdict(self.options),
            "price_weight": self.price_weight,
            "other_weight": self.other_weight,
            "sharpness": self.sharpness,
            "seen_bonus": self.seen_bonus,
            "coefficients": self.coefficients,
            "calibrator": None if self.calibrator is None else self.calibrator.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Vote:
        """Read what `to_dict` returned.

        Raises
        ------
        ValueError
            When there are not as many coefficients as features.
        """
        calibrator, coefficients = values["calibrator"], values["coefficients"]
        if coefficients is not None and len(coefficients) != FEATURES + 1:
            raise ValueError(f"{len(coefficients)} coefficients, and there are {FEATURES + 1}")
        return cls(
            RetrievalOptions(**values["options"]),
            price_weight=values["price_weight"],
            other_weight=values["other_weight"],
            sharpness=values["sharpness"],
            seen_bonus=values["seen_bonus"],
            coefficients=coefficients,
            calibrator=None if calibrator is None else Calibrator.from_dict(calibrator),
        )
