"""How well a brand's name is spelled in a product's text: whole, cut short, without its vowels, or mistyped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import distance, fuzz, process

from student.features import normalise, skeletons
from student.labels import Ids

NAMES = (
    "whole ratio",
    "beginning shared",
    "beginning sequence",
    "skeleton sequence",
    "skeleton ratio",
    "skeleton beginning",
    "name length",
    "spelled out",
    "spelled first",
)
_LONGEST = 80  # characters of text that are searched for the name


class Spelling:
    """The names of the last level, prepared for comparison.

    Parameters
    ----------
    names : sequence of str
        Values of the last level.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = np.array(normalise(names), dtype=object)
        self.skeletons = np.array([bare.replace(" ", "") for bare in skeletons(list(self.names))], dtype=object)
        self.spelled = np.array([name.lower() for name in names], dtype=object)
        self.lengths = np.array([len(name) for name in self.names])
        self.skeleton_lengths = np.array([len(bare) for bare in self.skeletons])

    def compare(self, raw: Sequence[str], lines: Sequence[str], row: Ids, last: Ids) -> list[NDArray[np.float32]]:
        """Compare each row's text with the names of its candidates.

        Parameters
        ----------
        raw : sequence of str
            Text as it came, one a row.
        lines : sequence of str
            The same, normalised.
        row, last : ndarray of int64, shape (candidates,)
            The row and the number of the name of each candidate.

        Returns
        -------
        list of ndarray of float32, shape (candidates,)
            In the order of `NAMES`. Shares in [0, 1], but for "skeleton beginning" and "name length", which are numbers
            of characters. The last two are exact, to the apostrophe: shops write "leggos" for some and "leggo's" for
            others.
        """
        key, inverse = np.unique(row * np.int64(len(self.names)) + last, return_inverse=True)
        row, name = key // len(self.names), key % len(self.names)
        text = np.array([line[:_LONGEST] for line in lines], dtype=object)
        bare = np.array([line.replace(" ", "") for line in skeletons(text.tolist())], dtype=object)
        texts, bares = text[row].tolist(), bare[row].tolist()
        names, bare_names = self.names[name].tolist(), self.skeletons[name].tolist()
        length, bare_length = self.lengths[name], self.skeleton_lengths[name]
        whole = np.array([line[:_LONGEST].lower() for line in raw], dtype=object)[row].tolist()
        exact = self.spelled[name].tolist()
        starts = [line[: size + 3] for line, size in zip(texts, length.tolist(), strict=True)]
        bare_starts = [line[: size + 2] for line, size in zip(bares, bare_length.tolist(), strict=True)]

        def measure(left: list[str], right: list[str], scorer: Any) -> NDArray[np.float32]:
            return np.asarray(process.cpdist(left, right, scorer=scorer, dtype=np.float32))

        sequence, prefix = distance.LCSseq.similarity, distance.Prefix.similarity
        columns = [
            measure(names, texts, fuzz.partial_ratio) / 100,
            measure(names, texts, prefix) / np.maximum(length, 1),
            measure(names, starts, sequence) / np.maximum(length, 1),
            measure(bare_names, bare_starts, sequence) / np.maximum(bare_length, 1),
            measure(bare_names, bares, fuzz.partial_ratio) / 100,
            measure(bare_names, bares, prefix),
            length.astype(np.float32),
            np.array([name in text for name, text in zip(exact, whole, strict=True)]),
            np.array([text.startswith(name) for name, text in zip(exact, whole, strict=True)]),
        ]
        return [column.astype(np.float32)[inverse] for column in columns]
