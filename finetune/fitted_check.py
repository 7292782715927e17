"""What ``model.json``, ``training.json`` and ``profile.json`` of a LoRA model must be, of all that is read of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from catalog.files import read_json
from catalog.json_reader import checked

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Number = Annotated[float, Field(ge=0)]
Bin = Annotated[list[Count], Field(min_length=3, max_length=3)]


class _Checked(BaseModel):
    """Keys that a later version writes, or nobody reads, may be there, too."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Options(_Checked):
    base: str = ""
    recipe: str | None = None
    batch_size: Positive = 16
    max_seq_length: Positive = 512


class _Model(_Checked):
    schema_: dict[str, Any] = Field(alias="schema")
    options: _Options


class _Step(_Checked):
    step: Count
    loss: float | None = None
    eval_loss: float | None = None
    item_accuracy: float | None = None


class _Best(_Checked):
    step: Count
    item_accuracy: Number | None


class _Merge(_Checked):
    precision: str
    rows: Count
    same_answer: Count
    same_path: Count


class _Lengths(_Checked):
    limit: Count
    longest: Count
    mean: Number
    histogram: list[Bin] = Field(default_factory=list)


class _Training(_Checked):
    base: str | None = None
    backend: str
    device: str
    rows: Count
    label_paths: Count
    validation_rows: Count
    steps: Count
    seconds: Number
    stopped_early: bool = False
    versions: dict[str, str] = Field(default_factory=dict)
    history: list[_Step] | None = None
    best: _Best | None = None
    merge: _Merge | None = None
    lengths: _Lengths | None = None
    notes: list[str] | None = None


class _Parameters(_Checked):
    total: Count
    trained: Count


class _Pass(_Checked):
    self_cpu_seconds: Number
    self_cuda_seconds: Number | None
    gflops: Number
    gflops_per_row: Number
    seconds: Number
    rows_per_second: Number


class _Inference(_Pass):
    seconds_per_row: Number


class _Profile(_Checked):
    device: str
    device_name: str | None
    rows: Positive
    profiled_rows: Count
    batch_size: Count
    parameters: _Parameters
    training: _Pass
    inference: _Inference


def check_model(about: Any, file: Path) -> None:
    """Refuse what ``model.json`` says where something that is read of it is missing or of another type.

    Raises
    ------
    ShelfmarkError
        When something is: what.
    """
    checked(_Model, about, str(file), "fit the model again")


def read_training(file: Path) -> dict[str, Any]:
    """Return what ``training.json`` says; ``best`` is None where no row was held out to score a checkpoint on.

    Raises
    ------
    ShelfmarkError
        When it is missing or damaged.
    """
    training: dict[str, Any] = read_json(file)
    best = checked(_Training, training, str(file), "fit the model again").best
    return {**training, "best": None} if best is not None and best.item_accuracy is None else training


def read_profile(file: Path) -> dict[str, Any]:
    """Return what ``profile.json`` says.

    Raises
    ------
    ShelfmarkError
        When it is missing or damaged.
    """
    profile: dict[str, Any] = read_json(file)
    checked(_Profile, profile, str(file), "make it again with classify profile")
    return profile
