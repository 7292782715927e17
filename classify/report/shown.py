"""The rows that a page shows one by one: the product, what was retrieved for it, what was answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.errors import ShelfmarkError
from catalog.json_reader import decode_json
from catalog.messages import STATUSES, Completion, LabelPath, Request, RowId
from classify.asking import ANSWERS
from classify.lines import decoded_lines, read_lines
from classify.recorded_lines import predicted_of, request_of
from classify.report.answered import Answered
from classify.rundir import NO_LLM, RunDirectory
from rag.shown import Near, neighbours_shown

REQUESTS = "requests.jsonl"
MOST_NEAR, MOST_CANDIDATES = 5, 5
_NOTHING = Request("", [])


@dataclass(frozen=True)
class Shown:
    """One row of the page.

    Attributes
    ----------
    id, text, retailer
        Of the product.
    price : float or None
        The same.
    predicted : label path
        The answer.
    truth : label path or None
        Where it is known.
    confidence : float
        Of the answer.
    status : str
        Of the answer.
    near : list of Near
        The products that were retrieved for it, nearest first.
    candidates : list of (label path, float)
        The candidates that it was chosen from and their probabilities, best first.
    others : list of (label path, float)
        What else it may be, of a run by `tree` that tells it (`--top-n`), most probable first.
    question : str
        The question, where it is of a template that `near` cannot be read from.
    answer : str
        What the model said, where one did.
    """

    id: RowId
    text: str
    retailer: str
    price: float | None
    predicted: LabelPath
    truth: LabelPath | None
    confidence: float
    status: str
    near: list[Near]
    candidates: list[tuple[LabelPath, float]]
    others: list[tuple[LabelPath, float]]
    question: str
    answer: str


def show(answered: Answered, rows: Iterable[int]) -> dict[int, Shown]:
    """Return what a page shows of some rows.

    Raises
    ------
    ShelfmarkError
        When a file of requests or answers is damaged.
    """
    wanted = sorted(set(rows))
    requests = _requests(answered.run, set(wanted), len(answered))
    tops = _tops(answered.run, set(wanted))
    said = _said(answered.run, {request.id for request in requests.values()})
    predicted, truth = answered.predicted, answered.truth
    shown = {}
    for row in wanted:
        request = requests.get(row, _NOTHING)
        near = neighbours_shown(request.messages)
        asked = "\n\n".join(turn["content"] for turn in request.messages if turn["role"] == "user")
        price = float(answered.prices[row])
        shown[row] = Shown(
            id=answered.ids[row],
            text=answered.texts[row],
            retailer=answered.retailers[row],
            price=None if np.isnan(price) else price,
            predicted=answered.paths[predicted[row]],
            truth=None if truth is None else answered.paths[truth[row]],
            confidence=float(answered.confidence[row]),
            status=STATUSES[answered.statuses[row]],
            near=near[:MOST_NEAR],
            candidates=list(zip(request.candidates, request.scores, strict=True))[:MOST_CANDIDATES],
            others=[(path, chance) for path, chance in tops[row] if path != answered.paths[predicted[row]]][
                :MOST_CANDIDATES
            ],
            question="" if near or not request.candidates else asked,
            answer=said.get(request.id, ""),
        )
    return shown


@dataclass(frozen=True)
class Retrieved:
    """What the requests of all rows tell.

    Attributes
    ----------
    likeness : ndarray of float64, shape (rows,), or None
        How like the likest neighbour's text is to the product's, in [0, 1]: the share of letters that both have in
        common, in order, whatever their case, once the words of each are sorted. NaN where a request shows no
        neighbours; None where none does.
    by_level : ndarray of float64, shape (rows, levels), or None
        The probability of all candidates that are as the answer down to each level; None where a language model had
        the last word.
    """

    likeness: NDArray[np.float64] | None
    by_level: NDArray[np.float64] | None


def retrieved(answered: Answered) -> Retrieved:
    """Read the requests of all rows, one after the other.

    Raises
    ------
    ShelfmarkError
        When the file of requests is damaged.
    """
    from rapidfuzz.fuzz import token_sort_ratio

    file = answered.run.folder / REQUESTS
    if not file.is_file():
        return Retrieved(None, None)
    schema = answered.schema
    depth = len(schema.levels)
    likeness, by_level = np.full(len(answered), np.nan), np.zeros((len(answered), depth))
    row = -1
    for row, (_, value) in enumerate(decoded_lines(file)):
        if row == len(answered):
            raise _damaged(file)
        request = _request(file, value, depth)
        near = neighbours_shown(request.messages)
        path = answered.paths[answered.predicted[row]]
        for candidate, chance in zip(request.candidates, request.scores, strict=True):
            for level in range(depth):
                if candidate[level] != path[level]:
                    break
                by_level[row, level] += chance
        if near:
            text = answered.texts[row].casefold()
            likeness[row] = max(token_sort_ratio(text, one.text(schema).casefold()) for one in near) / 100
    if row + 1 != len(answered):
        raise _damaged(file)
    return Retrieved(
        None if np.isnan(likeness).all() else likeness,
        np.minimum(by_level, 1) if answered.run.manifest["engine"] == NO_LLM and by_level.any() else None,
    )


def _requests(run: RunDirectory, rows: set[int], count: int) -> dict[int, Request]:
    """Return the requests of these rows, by row: only their lines are parsed."""
    file = run.folder / REQUESTS
    if not file.is_file():
        return {}
    chosen, lines = _lines(file, rows)
    if lines != count:
        raise _damaged(file)
    return {row: _request(file, _decoded(file, line), len(run.schema.levels)) for row, line in chosen.items()}


def _tops(run: RunDirectory, rows: set[int]) -> dict[int, list[tuple[LabelPath, float]]]:
    """Return the likeliest paths of these rows, by row; empty where the run does not tell them."""
    file = run.predictions
    return {
        row: predicted_of(_decoded(file, line), f"{file}, line {row + 1}", run.schema).top
        for row, line in _lines(file, rows)[0].items()
    }


def _lines(file: Path, rows: set[int]) -> tuple[dict[int, bytes], int]:
    """Return the lines of these rows, and how many lines there are."""
    chosen: dict[int, bytes] = {}
    at = -1
    with open(file, "rb") as stream:
        for at, line in enumerate(stream):
            if at in rows:
                chosen[at] = line
    return chosen, at + 1


def _decoded(file: Path, line: bytes) -> Any:
    try:
        return decode_json(line)
    except ValueError:
        raise _damaged(file) from None


def _request(file: Path, value: Any, depth: int) -> Request:
    """Return the request that a decoded line is, whose candidates have `depth` levels."""
    try:
        request = request_of(value, str(file))
    except ShelfmarkError:
        raise _damaged(file) from None
    if any(len(path) != depth for path in request.candidates):
        raise _damaged(file)
    return request


def _said(run: RunDirectory, names: set[str]) -> dict[str, str]:
    """Return what a language model answered to the requests of these ids."""
    file = run.folder / ANSWERS
    if run.manifest["engine"] == NO_LLM or not names or not file.is_file():
        return {}
    found = {}
    for line in read_lines(file, Completion):
        if line.id in names:
            found[line.id] = line.text or line.error or ""
    return found


def _damaged(file: Path) -> ShelfmarkError:
    return ShelfmarkError(f"{file}: damaged, or not of these rows; delete it, then: classify resume {file.parent}")
