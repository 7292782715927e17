"""Break ties between paths that explain an answer about equally well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Indel

from catalog.messages import LabelPath
from postprocess.forms import form_key
from postprocess.lexicon import Ids, Lexicon
from postprocess.likeness import Likeness, Scores, gain

_POPULARITY = 0.05
_RETAILER = 0.5
_CANDIDATE = 1.5
_TEXT = 1.5
_WRITTEN = 3.0


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known of the product beside its answer.

    Parameters
    ----------
    text : str
        Its description.
    retailer : str
        The shop that sells it.
    candidates : sequence of label paths
        Paths that are likely for it, best first.
    """

    text: str = ""
    retailer: str = ""
    candidates: Sequence[LabelPath] = ()


class TieBreaker:
    """Says how well paths go with a product, on the scale of the explainer's scores but far smaller than an agreement.

    Parameters
    ----------
    lexicon : Lexicon
        The paths.
    likeness : Likeness
        Its n-gram index reads the description.
    """

    def __init__(self, lexicon: Lexicon, likeness: Likeness) -> None:
        self.lexicon = lexicon
        self.likeness = likeness
        self._rows = {path: row for row, path in enumerate(lexicon.paths)}
        self._sold: dict[str, NDArray[np.bool_]] = {}

    def written(self, rows: Ids, told: Sequence[str]) -> Scores:
        """Return how alike the values are as written, signs and all, shape (rows,): for paths of the same form."""
        alike = [
            sum(
                Indel.normalized_similarity(value.casefold(), own)
                for value, own in zip(told, path, strict=True)
                if value
            )
            for path in (self.lexicon.paths[row] for row in rows)
        ]
        return _WRITTEN * np.array(alike)

    def bonus(self, rows: Ids, hints: Hints) -> Scores:
        """Return what speaks for each row beside the answer, shape (rows,)."""
        total: Scores = _POPULARITY * self.lexicon.popularity[rows]
        sold = self.sold_by(hints.retailer)
        if sold is not None:
            total = total + _RETAILER * sold[rows]
        if hints.candidates:
            ranks = {self._rows.get(path, -1): rank for rank, path in reversed(list(enumerate(hints.candidates)))}
            last = len(hints.candidates)
            total = total + _CANDIDATE * np.array([1.0 - ranks.get(int(row), last) / last for row in rows])
        key = form_key(hints.text)
        if key:
            shares = self.likeness.index.contained(key)
            named = [gain(share[column[rows]]) for share, column in zip(shares, self.lexicon.columns, strict=True)]
            total = total + _TEXT * np.mean(named, axis=0)
        return total

    def sold_by(self, retailer: str) -> NDArray[np.bool_] | None:
        """Return which paths the retailer sells, or None where nothing is known of it."""
        if retailer not in self.lexicon.taxonomy.retailers:
            return None
        if retailer not in self._sold:
            sold = np.zeros(len(self.lexicon.paths), dtype=np.bool_)
            sold[[self._rows[path] for path in self.lexicon.taxonomy.retailers[retailer]]] = True
            self._sold[retailer] = sold
        return self._sold[retailer]
