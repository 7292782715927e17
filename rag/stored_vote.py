"""What ``vote.json`` must be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from catalog.arrays import FIT_AGAIN, damaged
from catalog.files import read_json
from catalog.json_reader import checked
from catalog.schema import Policy
from rag.retrieve import Filter
from rag.vote import Vote

Weight = Annotated[float, Field(ge=0, le=100)]


class StoredCalibrator(BaseModel):
    """The knots of a calibrator."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    scores: list[float]
    probabilities: list[float]


class _Options(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    top_k: Annotated[int, Field(ge=1)]
    filter_by: Filter
    price_band: Annotated[float, Field(gt=1)] | None
    policy: Policy
    ignore_price: bool


class _Vote(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    options: _Options
    price_weight: Weight
    other_weight: Weight
    sharpness: Annotated[float, Field(gt=0, le=64)]  # a weight to a higher power is nothing
    seen_bonus: Annotated[float, Field(gt=0, le=1000)]
    coefficients: list[float] | None
    calibrator: StoredCalibrator | None
    clean_text: bool


def load_vote(file: Path) -> tuple[Vote, bool]:
    """Return a stored vote, and whether texts were cleaned for it.

    Raises
    ------
    ShelfmarkError
        When the file is missing or damaged.
    """
    values = read_json(file)
    stored = checked(_Vote, values, str(file), FIT_AGAIN)
    try:
        return Vote.from_dict(values), stored.clean_text
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(file, str(error)) from None
