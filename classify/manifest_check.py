"""What ``manifest.json``, ``metrics.json`` and ``model.json`` must be, of all that the code reads from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from catalog.errors import ShelfmarkError
from catalog.json_reader import checked

Count = Annotated[int, Field(ge=0)]
Number = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Interval = Annotated[list[Share], Field(min_length=2, max_length=2)]
Dollars = Number | None
FileName = Annotated[str, Field(pattern=r"^[^/\\\x00]+$")]
_ABSENT: Any = None
"""The default of what may be missing, but is never null."""


class _Checked(BaseModel):
    """Keys that a later version writes, or nobody reads, may be there, too."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Stage(_Checked):
    rows: Count
    seconds: Number


class _Context(_Checked):
    file: str
    products: Count = 0


class _Asking(_Checked):
    answers: Count = 0
    errors: Count = 0
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    asked_again: Count = 0
    seconds: Number = 0.0
    cost: Dollars = None
    estimate: Annotated[list[Number], Field(min_length=2, max_length=2)] | None = None
    paid_before: Number = 0.0
    unsure: Count = 0
    tokens_by: str = ""
    batches: dict[str, Count] = Field(default_factory=dict)
    billed_tokens: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = None
    resent: Count = 0
    repeated: Count = 0


class _NothingLearned(_Checked):
    rows: Literal[0]


class _Joint(_Checked):
    rows: Count
    used: bool
    retriever: Share
    answers: Share
    joint: Share


class _Errors(_Checked):
    ece_before: Share
    ece_after: Share


class _Measured(_Checked):
    rows: Count
    item_accuracy: Share
    mean_confidence: Share
    ece: Share
    ece_interval: Interval


class _Calibration(_Errors):
    ece_interval: Interval = _ABSENT
    new_texts: _Measured = _ABSENT
    by_retailer: dict[str, _Measured] = Field(default_factory=dict)


class _Trust(_Errors):
    rows: Count
    answers: Share


class _Reading(_Checked):
    outside: Count
    overruled: Count


class _Settled(_Checked):
    rows: Count
    settled: Share | None = None
    accuracy_settled: Share | None = None
    accuracy_asked: Share | None = None


class _Compared(_Checked):
    top_k: Count
    retriever: Share = 0.0
    answers: Share = 0.0
    joint: Share = 0.0


class _TopK(_Checked):
    chosen: Count
    compared: list[_Compared]


class _Exported(_Checked):
    constrain: str = "json"


class _Manifest(_Checked):
    strategy: str
    engine: str
    schema_: dict[str, Any] = Field(alias="schema")
    options: dict[str, Any]
    limit: Annotated[int, Field(ge=1)] | None
    rows: Annotated[int, Field(ge=1)]
    test: str
    inputs: dict[str, str]
    stages: dict[str, _Stage]
    id: str = ""
    context: _Context = _ABSENT
    deterministic: bool = False
    again: bool = False
    asking: _Asking = _ABSENT
    joint: _Joint | _NothingLearned = _ABSENT
    trust: _Trust | _NothingLearned = _ABSENT
    reading: _Reading = _ABSENT
    settled: _Settled = _ABSENT
    top_k: _TopK = _ABSENT
    calibration: _Calibration = _ABSENT
    exported: _Exported = _ABSENT
    started: str = ""
    finished: str = ""
    command: Annotated[list[str], Field(min_length=1)] = Field(default_factory=lambda: [""])
    python: str = ""
    platform: str = ""
    commit: str | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    runs: list[str] = Field(default_factory=list)
    max_cost: Dollars = None
    prices: str = ""


class _JobManifest(_Manifest):
    engine_options: dict[str, Any]
    gpu_price: Dollars
    seed: Count
    train: list[str]
    model: str | None


class _Model(_Checked):
    strategy: str
    schema_: dict[str, Any] = Field(alias="schema")
    options: dict[str, Any]
    seed: Count
    files: dict[FileName, str]


class _Level(_Checked):
    accuracy: Share


class _Evaluation(_Checked):
    item_accuracy: Share
    item_accuracy_interval: Interval
    by_level: dict[str, _Level]
    coverage: Share
    answered_item_accuracy: Share | None
    hierarchical_f1: Share
    macro_f1: Share
    valid: Share | None
    ece: Share | None


class _Metrics(_Checked):
    rows: Annotated[int, Field(ge=1)]
    statuses: dict[str, Count]
    mean_confidence: Share
    evaluation: _Evaluation = _ABSENT


def check_metrics(metrics: Any, place: str) -> dict[str, Any]:
    """Return what ``metrics.json`` says.

    Raises
    ------
    ShelfmarkError
        When something that is shown of it is missing or of another type.
    """
    checked(_Metrics, metrics, place, "delete it, then classify resume makes it again")
    whole: dict[str, Any] = metrics
    return whole


def check_manifest(manifest: dict[str, Any], place: str) -> None:
    """Refuse a manifest in which something that the code reads is missing or of another type.

    Parameters
    ----------
    manifest : dict
        Of a run directory; that of an ensemble says ``runs``, and nothing of a job.
    place : str
        Its file.

    Raises
    ------
    ShelfmarkError
        When something is: what.
    """
    advice = "put it back from a copy, or start another run"
    checked(_Manifest if "runs" in manifest else _JobManifest, manifest, place, advice)
    policy = manifest["options"].get("policy")
    if policy not in ("path", "brand-free"):
        raise ShelfmarkError(f"{place}: damaged (options.policy: neither path nor brand-free); {advice}")


def check_about(about: dict[str, Any], place: str) -> None:
    """Refuse what ``model.json`` says where something that the code reads is missing or of another type.

    Raises
    ------
    ShelfmarkError
        When something is: what.
    """
    checked(_Model, about, place, "fit the model again")
