"""Read an answer as one text: a label without separators, or values that are named inside talk."""

from __future__ import annotations

import numpy as np
from rapidfuzz.distance import Indel

from postprocess.explain import Explainer
from postprocess.forms import form_key, squeezed
from postprocess.lexicon import Ids, Lexicon
from postprocess.likeness import NOTHING, Evidence, Likeness, Scores, gain
from postprocess.wording import mentions

_SHARE = 0.5
_VALUES = 24
_PATHS = 60


class FlatReader:
    """Finds the paths that a text without structure speaks of.

    Parameters
    ----------
    lexicon, likeness, explainer
        Of the taxonomy.
    """

    def __init__(self, lexicon: Lexicon, likeness: Likeness, explainer: Explainer) -> None:
        self.lexicon = lexicon
        self.likeness = likeness
        self.explainer = explainer
        self.total = sum(level.weight for level in lexicon.levels)
        self._wholes: dict[int, str] = {}

    def best(self, text: str) -> tuple[Ids, Scores]:
        """Return rows of paths and their scores, on the explainer's scale.

        Two readings, and for each path the better one: the whole text is the path's joined label, misspelt (edit
        distance over the paths whose values' n-grams it has); or it names some values of the path among other words.
        """
        key = form_key(text)
        letters = squeezed(key)
        near: list[Evidence | None] = []
        for share in self.likeness.index.contained(key):
            ids = np.flatnonzero(share >= _SHARE)
            chosen: Ids = ids[np.argsort(-share[ids], kind="stable")[:_VALUES]].astype(np.int32)
            near.append((chosen, gain(share[chosen])))
        rows = self.explainer.rows(near)
        scores = self.explainer.scores(rows, near)
        rows = rows[np.argsort(-scores, kind="stable")[:_PATHS]]
        wholes = map(self._whole, rows.tolist())
        joined = self.total * gain(np.array([Indel.normalized_similarity(letters, whole) for whole in wholes]))
        named, rest = self.named(key)
        every, result = self.explainer.best(named, [rest if not len(found[0]) else None for found in named])
        both = np.union1d(rows, every).astype(np.int32)
        scores = np.zeros(len(both))
        scores[np.searchsorted(both, every)] = result
        where = np.searchsorted(both, rows)
        # Of labels with the same letters, the one whose signs are the answer's, too.
        written = np.array(
            [Indel.normalized_similarity(text.casefold(), " ".join(self.lexicon.paths[row])) for row in rows]
        )
        scores[where] = np.maximum(scores[where], joined + 0.5 * written)
        return both, scores

    def _whole(self, row: int) -> str:
        """Return the letters of a path, which are the same each time."""
        whole = self._wholes.get(row)
        if whole is None:
            whole = self._wholes[row] = squeezed(form_key(" ".join(self.lexicon.paths[row])))
        return whole

    def named(self, key: str) -> tuple[list[Evidence], str]:
        """Return the values that a text names, for each level, as evidence; and the words that name none."""
        found: list[set[int]] = [set() for _ in self.lexicon.levels]
        rest = key.split(" ")
        for value, place in mentions(key, self.lexicon):
            for at in range(place, place + value.count(" ") + 1):
                rest[at] = ""
            for level in self.lexicon.homes[value]:
                found[level].update(self.lexicon.levels[level].find(value))
        evidence = [(np.array(sorted(ids), dtype=np.int32), np.ones(len(ids))) if ids else NOTHING for ids in found]
        return evidence, " ".join(word for word in rest if word)
