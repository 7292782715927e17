"""The lines of a run's files: what each must be, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Strict

from catalog.errors import ShelfmarkError
from catalog.json_reader import checked
from catalog.messages import LabelPath, Request, RowId, Status
from catalog.schema import Schema
from classify.lines import decoded_lines

_DELETE = "delete the file"
_AGAIN = "delete the file, then classify resume makes it again"
_Chance = Annotated[float, Field(ge=0, le=1)]
_Path = Annotated[tuple[str, ...], Strict(False)]


class Line(BaseModel):
    """One line; keys that nobody reads may stand in it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class Lost(Line):
    """A try whose answer was lost: what it may have cost."""

    id: str
    dollars: float = Field(ge=0)


class _Labelled(Line):
    label: list[str] = Field(min_length=1)


class _Told(Line):
    confidence: _Chance
    status: Status
    level_confidence: list[_Chance] | None = None
    top: list[Annotated[tuple[_Path, _Chance], Strict(False)]] | None = None


@dataclass(frozen=True)
class Predicted:
    """A line of ``predictions.jsonl``.

    Attributes
    ----------
    id : int or str
        The row's id.
    path : label path
        One value for each level; an empty string where it was left to a person.
    confidence : float
        The probability that all levels are right, in [0, 1].
    status : str
        One of `catalog.messages.STATUSES`.
    level_confidence : list of float or None
        For each level, the probability that the path is right down to it.
    top : list of (label path, float)
        The best paths with their probabilities; empty where the run does not tell them.
    """

    id: RowId
    path: LabelPath
    confidence: float
    status: Status
    level_confidence: list[float] | None
    top: list[tuple[LabelPath, float]]


def read_predictions(file: Path, schema: Schema) -> Iterator[Predicted]:
    """Yield the predictions of a run.

    Raises
    ------
    ShelfmarkError
        When the file is missing, or a line is damaged or not of this schema.
    """
    for place, value in decoded_lines(file):
        yield predicted_of(value, place, schema)


def predicted_of(value: Any, place: str, schema: Schema) -> Predicted:
    """Return the prediction that a decoded line is; `place` is where it stands.

    Raises
    ------
    ShelfmarkError
        When it is none, or not one of this schema.
    """
    told = checked(_Told, value, place, _AGAIN)
    name, path = value.get(schema.id), tuple(value.get(level) for level in schema.levels)
    if not isinstance(name, int | str) or isinstance(name, bool):
        raise ShelfmarkError(f"{place}: damaged ({schema.id}: no id of a row); {_AGAIN}")
    if not all(isinstance(one, str) for one in path):
        raise ShelfmarkError(f"{place}: damaged (a level has no value); {_AGAIN}")
    depths = [told.level_confidence or path, *(ranked for ranked, _ in told.top or [])]
    if any(len(one) != len(path) for one in depths):
        raise ShelfmarkError(f"{place}: damaged (another number of levels than the schema has); {_AGAIN}")
    return Predicted(name, path, told.confidence, told.status, told.level_confidence, told.top or [])


def read_requests(file: Path) -> Iterator[Request]:
    """Yield the requests of a file, those that ask nothing among them.

    Raises
    ------
    ShelfmarkError
        When the file is missing or a line is damaged.
    """
    for place, value in decoded_lines(file):
        yield request_of(value, place)


def read_labelled(file: Path) -> Iterator[tuple[Request, LabelPath]]:
    """Yield the requests of a file about held-out rows, each with its label.

    Raises
    ------
    ShelfmarkError
        When the file is missing or a line is damaged.
    """
    for place, value in decoded_lines(file):
        yield request_of(value, place), tuple(checked(_Labelled, value, place, _DELETE).label)


def request_of(value: Any, place: str) -> Request:
    """Return the request that a decoded line is; `place` is where it stands.

    Raises
    ------
    ShelfmarkError
        When it is none.
    """
    request = checked(Request, value, place, _DELETE)
    if any(not {"role", "content"} <= turn.keys() for turn in request.messages):
        raise ShelfmarkError(f"{place}: damaged (messages: a turn without role or content); {_DELETE}")
    return request
