"""What a line of the books of batches must be."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from catalog.errors import ShelfmarkError
from catalog.json_reader import checked

Count = Annotated[int, Field(ge=0)]
Tokens = Annotated[float, Field(ge=0)]


class _Event(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Load(_Event):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    rows: Count
    read: Tokens
    most_read: Tokens
    written: Tokens
    most_written: Tokens


class _Chunk(_Event):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    event: Literal["chunk"]
    number: Annotated[int, Field(ge=1)]
    digest: str
    options: str
    rows: Count
    size: Count
    load: _Load
    again: bool = False


class _GaveUp(_Event):
    event: Literal["gave up"]
    ids: list[str]


class _OfChunk(_Event):
    number: int


class _Uploaded(_OfChunk):
    event: Literal["uploaded"]
    file: str


class _Step(_OfChunk):
    event: Literal["creating", "not created", "looked", "dropped"]
    sure: bool = True


class _Created(_OfChunk):
    event: Literal["created"]
    batch: str


class _Ended(_OfChunk):
    event: Literal["ended"]
    batch: str
    status: str
    turned_away: bool
    usage: Annotated[list[Count], Field(min_length=2, max_length=2)] | None
    short: bool = False


class _Read(_OfChunk):
    event: Literal["read"]
    counts: dict[str, Count]


_KINDS: dict[str, type[_Event]] = {
    **dict.fromkeys(("creating", "not created", "looked", "dropped"), _Step),
    "chunk": _Chunk,
    "gave up": _GaveUp,
    "uploaded": _Uploaded,
    "created": _Created,
    "ended": _Ended,
    "read": _Read,
}


def check_event(value: Any, numbers: set[int], place: str, advice: str) -> dict[str, Any]:
    """Return a decoded line of the books that is an event.

    Parameters
    ----------
    value
        Decoded JSON.
    numbers : set of int
        Of the chunks that the lines before have told of; that of this line is added.
    place : str
        The file and the line.
    advice : str
        What the user can do.

    Raises
    ------
    ShelfmarkError
        When it is none, or of a chunk that no line before tells of.
    """
    kind = value.get("event") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ShelfmarkError(f"{place}: damaged (no event of the books); {advice}")
    event = checked(_KINDS[kind], value, place, advice)
    if isinstance(event, _Chunk):
        numbers.add(event.number)
    elif isinstance(event, _OfChunk) and event.number not in numbers:
        raise ShelfmarkError(f"{place}: damaged (a chunk that no line before tells of); {advice}")
    whole: dict[str, Any] = value
    return whole
