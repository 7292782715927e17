"""What a fine-tuned model's ``tuning.json`` must be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from catalog.files import read_json
from catalog.json_reader import checked

Count = Annotated[int, Field(ge=0)]
Dollars = Annotated[float, Field(ge=0)] | None


class _Written(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Cost(_Written):
    expected: Dollars = None
    at_most: Dollars = None
    actual: Dollars = None


class _Tokens(_Written):
    by: str
    expected: float
    at_most: float


class Told(_Written):
    """What people are shown of a fine-tune; what is not known, or an older version did not write, is absent."""

    base: str | None = None
    status: str | None = None
    error: str | None = None
    label_paths: Count = 0
    rows: Count = 0
    all_rows: Count = 0
    validation_rows: Count = 0
    cost: _Cost | None = None
    tokens: _Tokens | None = None
    trained_tokens: Count | None = None
    curve: list[dict[str, float]] | None = None


class _Tuning(Told):
    job: str
    model: str = Field(min_length=1)
    most_answer_tokens: Annotated[int, Field(ge=1)]


def read_tuning(file: Path) -> dict[str, Any]:
    """Return what ``tuning.json`` says.

    Raises
    ------
    ShelfmarkError
        When it is missing or damaged.
    """
    about: dict[str, Any] = read_json(file)
    checked(_Tuning, about, str(file), "put it back from a copy, or fit again with --job, which costs nothing")
    return about
