"""What an engine answered, left on disk: memory does not grow with the rows."""

from __future__ import annotations

import json
import os
import weakref
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from catalog.messages import Completion
from classify.lines import read_lines


class RecordedAnswers(Mapping[str, Completion]):
    """The answers in a file, by request id: the last of each, an answer before an error.

    In memory are, of each line, its place in the file and a hash of its id. The file must not change.

    Parameters
    ----------
    path : Path
        JSON lines of completions.

    Raises
    ------
    ShelfmarkError
        When the file is missing or a line is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._place = str(path)
        hashes = np.frombuffer(array("q", (hash(line["id"]) for line in read_lines(path))), dtype=np.int64)
        with open(path, "rb") as stream:
            ends = array("q", [0])
            for line in stream:
                ends.append(ends[-1] + len(line))
        self._ends = ends
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __getitem__(self, name: str) -> Completion:
        """Read an answer.

        Raises
        ------
        KeyError
            When there is none.
        """
        lines = [line for _, line in self._lines(name)]
        if not lines:
            raise KeyError(name)
        good = [line for line in lines if "error" not in line]
        return Completion.from_dict(good[-1] if good else lines[0], self._place)

    def __contains__(self, name: object) -> bool:
        """Tell whether there is an answer or an error for a request."""
        return isinstance(name, str) and any(True for _ in self._lines(name))

    def __iter__(self) -> Iterator[str]:
        """Yield the ids, in the order of their first answers."""
        for number in range(len(self._order)):
            name = self._line(number)["id"]
            if next(self._lines(name))[0] == number:
                yield name

    def __len__(self) -> int:
        """Return the number of ids."""
        return sum(1 for _ in self)

    def _lines(self, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the numbers and the objects of the lines of one id, in order."""
        first, last = (int(np.searchsorted(self._hashes, hash(name), side)) for side in ("left", "right"))
        for number in self._order[first:last].tolist():
            line = self._line(number)
            if line["id"] == name:
                yield number, line

    def _line(self, number: int) -> dict[str, Any]:
        start, end = self._ends[number], self._ends[number + 1]
        line: dict[str, Any] = json.loads(os.pread(self._file, end - start, start))
        return line
