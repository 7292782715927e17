"""What speaks for and against a candidate: counts, prices, shops and spelling.

Every figure is made without the row's own contribution when the row is a training row, so that a model trained on
these figures meets the same ones on new rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from student.candidates import Candidates
from student.centroids import NAMES as CENTROID_NAMES
from student.centroids import SKETCH, Centroids
from student.encoding import Block, ProductEncoder
from student.features import BUCKETS, cents
from student.labels import Counts, Ids, LabelSpace
from student.ridge import Scores
from student.spelling import NAMES as SPELLING_NAMES
from student.spelling import Spelling
from student.tallies import CENTS_RANGE, TABLES, Arrays, PriceSums, shop_key
from student.wording import NAMES as WORDING_NAMES
from student.wording import Wording

NAMES = (
    *("upper score", "last score", "joint score"),
    *("log pair", "seen", "log upper", "log last", "log last|upper", "log upper|last"),
    *("log last in parent", "log last in top", "last's share in parent", "last's share in top"),
    *("price fit upper", "price off upper", "price fit last", "price off last", "price fit pair", "price off pair"),
    *("same price upper", "same price last", "log same price last", "log same price", "price", "price known"),
    *("shop lift upper", "shop lift last", "shop lift pair", "shop known"),
    *SPELLING_NAMES,
    *WORDING_NAMES,
    *CENTROID_NAMES,
    "text length",
)
_COMPARED = (
    *("upper score", "last score", "joint score", "log last|upper", "log upper|last"),
    *("price fit upper", "price fit last", "price fit pair", "same price last", "shop lift last"),
    *("whole ratio", "beginning sequence", "skeleton sequence", "skeleton ratio", "spelled out"),
    *WORDING_NAMES,
    *CENTROID_NAMES,
)
_COMPARED_PLACES = [NAMES.index(name) for name in _COMPARED]
SHOP_PRIOR = 5.0  # rows: how many it takes for a shop's habits to outweigh those of all shops
WIDTH = len(NAMES) + len(_COMPARED) + 1  # the last: is this the place that stands for "none of the candidates"?


class Evidence:
    """Tables counted from the training rows.

    Parameters
    ----------
    arrays : dict of str to ndarray
        From `tallies.tally`, or read back from a file.
    space : LabelSpace
        The classes.
    encoder : ProductEncoder
        The one that encodes the products.
    """

    KINDS = ("upper", "last", "pair")

    def __init__(self, arrays: Arrays, space: LabelSpace, encoder: ProductEncoder) -> None:
        values: dict[str, NDArray[np.float32]] = arrays  # type: ignore[assignment]
        keys: dict[str, Ids] = arrays  # type: ignore[assignment]
        self.arrays = arrays
        self.space = space
        self.spelling = Spelling(space.lasts)
        self.wording = Wording(space, encoder)
        self.tables = {name: Counts(keys[f"{name}_keys"], values[f"{name}_values"]) for name in TABLES}
        self.centroids = Centroids({kind: values[f"middle_{kind}"] for kind in self.KINDS}, space, self.tables["pairs"])
        self.totals = {kind: values[f"total_{kind}"] for kind in ("upper", "last", "shop")}
        self.sums = {kind: PriceSums(values[f"sums_{kind}"]) for kind in self.KINDS}
        self.price_mean, self.price_scale = (float(value) for value in values["price_scale"])

    def fits_encoder(self) -> bool:
        """Tell whether the encoder makes as many numbers of a text as it did in training."""
        if self.wording.encoded is None:
            return True  # a single level: no names to encode, and no sentences are compared
        made = self.wording.encoded.shape[0] - BUCKETS
        return bool(made == self.centroids.sums["upper"].shape[1] - SKETCH)

    def weigh(self, block: Block, found: Candidates) -> Scores:
        """Return the figures of each candidate, and of each row's place that stands for "none of them".

        Returns
        -------
        ndarray of float32, shape (candidates + rows, WIDTH)
            Row after row, first its candidates, then its last place, which holds the best of each figure over the
            candidates (0 where there are none). Finite throughout.
        """
        plain = np.zeros((len(found) + found.rows, WIDTH), dtype=np.float32)
        last = found.starts[1:] - 1
        plain[last, -1] = 1
        if not len(found):
            return plain
        columns = [
            *self._counts(found),
            *self._priced(block, found),
            *self._sold(block, found),
            *self.spelling.compare(block.raw, block.lines, found.row, found.last),
            *self.wording.compare(block.lines, block.encoded, found.row, found.upper),
            *self.centroids.compare(block.encoded, found),
            np.array([len(line) for line in block.lines], dtype=np.float32)[found.row],
        ]
        place = found.places
        for number, column in enumerate(columns):
            plain[place, number] = column
        first = np.flatnonzero(np.diff(found.row, prepend=-1))
        best = np.zeros((found.rows, len(NAMES)), dtype=np.float32)
        best[found.row[first]] = np.maximum.reduceat(plain[place, : len(NAMES)], first, axis=0)
        plain[last, : len(NAMES)] = best
        plain[place, len(NAMES) : -1] = plain[place][:, _COMPARED_PLACES] - best[found.row][:, _COMPARED_PLACES]
        return plain

    def _counts(self, found: Candidates) -> list[Scores]:
        upper, last = found.upper, found.last
        lasts = np.int64(len(self.space.lasts))
        pair = np.maximum(self.tables["pairs"].look_up(self.space.key(upper, last)) - found.own[2], 0)
        of_upper = np.maximum(self.totals["upper"][upper] - found.own[0], 0)
        of_last = np.maximum(self.totals["last"][last] - found.own[1], 0)
        near = []
        for name, prefix, own in (
            ("in_parent", self.space.parent, found.own[3]),
            ("in_top", self.space.top, found.own[4]),
        ):
            near.append(np.maximum(self.tables[name].look_up(prefix[upper] * lasts + last) - own, 0))
        return [
            found.upper_score,
            found.last_score,
            found.upper_score + found.last_score,
            np.log1p(pair),
            (pair > 1e-6).astype(np.float32),
            np.log1p(of_upper),
            np.log1p(of_last),
            np.log((pair + 0.1) / (of_upper + 1)),
            np.log((pair + 0.1) / (of_last + 1)),
            *(np.log1p(count) for count in near),
            *(count / (of_last + 0.5) for count in near),
        ]

    def _priced(self, block: Block, found: Candidates) -> list[Scores]:
        upper, last = found.upper, found.last
        logs = (np.log(np.maximum(block.prices, 0.01)) - self.price_mean) / self.price_scale
        price = logs.astype(np.float32)[found.row]
        place = self.tables["pairs"].place(self.space.key(upper, last))
        fits = [
            *self.sums["upper"].fit_of(upper, price, found.own[0]),
            *self.sums["last"].fit_of(last, price, found.own[1]),
            *self.sums["pair"].fit_of(np.maximum(place, 0), price, found.own[2]),
        ]
        fits[4:] = [np.where(place >= 0, column, np.float32(0)) for column in fits[4:]]
        exact = cents(block.prices)[found.row]
        known = exact >= 0
        same_upper = self.tables["price_upper"].look_up(upper * CENTS_RANGE + exact) - found.own[0]
        same_last = self.tables["price_last"].look_up(last * CENTS_RANGE + exact) - found.own[1]
        same = self.tables["price"].look_up(exact) - block.training
        same_upper, same_last, same = (np.maximum(count, 0) * known for count in (same_upper, same_last, same))
        return [
            *fits,
            same_upper / (np.maximum(self.totals["upper"][upper] - found.own[0], 0) + 1),
            same_last / (np.maximum(self.totals["last"][last] - found.own[1], 0) + 1),
            np.log1p(same_last),
            np.log1p(same),
            np.nan_to_num(price),
            known.astype(np.float32),
        ]

    def _sold(self, block: Block, found: Candidates) -> list[Scores]:
        upper, last = found.upper, found.last
        shop = block.retailers[found.row]
        known = (shop >= 0) & (shop < len(self.totals["shop"]))
        size = np.maximum(self.totals["shop"][np.where(known, shop, 0)] - block.training, 0) * known
        everything = np.maximum(self.totals["upper"].sum() - block.training, np.float32(1))
        pair = self.space.key(upper, last)
        kinds = (
            ("shop_upper", upper, self.totals["upper"][upper], found.own[0]),
            ("shop_last", last, self.totals["last"][last], found.own[1]),
            ("shop_pair", pair, self.tables["pairs"].look_up(pair), found.own[2]),
        )
        columns = []
        for name, number, total, own in kinds:
            here = np.maximum(self.tables[name].look_up(shop_key(shop, number)) - own, 0) * known
            share = (np.maximum(total - own, 0) + 0.1) / everything
            columns.append(np.log((here + SHOP_PRIOR * share) / (size + SHOP_PRIOR)) - np.log(share))
        return [*columns, (size > 0).astype(np.float32)]
