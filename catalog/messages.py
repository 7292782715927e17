"""What passes between the stages of a job: requests, completions and predictions. No provider's dialect."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Strict

from catalog.errors import ShelfmarkError
from catalog.json_reader import checked

LabelPath = tuple[str, ...]
RowId = int | str
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Status = Literal["exact", "repaired", "fallback", "abstained", "failed"]
STATUSES: tuple[Status, ...] = ("exact", "repaired", "fallback", "abstained", "failed")
ROUNDING = 1e-4
"""What a sum of rounded probabilities may be beyond 1, and a sum of their logarithms beyond 0."""


def request_id(row: RowId, content: Any) -> str:
    """Return the row's id and a hash of what is asked, joined with ``-``: another question, another id."""
    text = json.dumps(content, ensure_ascii=False, sort_keys=True)
    return f"{row}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Request:
    """One chat request for one product.

    Parameters
    ----------
    id : str
        The row's id and a hash of the request (`request_id`).
    messages : list of dict
        Chat turns, each with ``role`` and ``content``.
    candidates : list of label paths
        The paths an answer is chosen from, best first. May be empty.
    scores : list of float
        For each candidate, the probability that it is the right one; same length as `candidates`.
    max_tokens : int
        The most tokens the answer may have.

    Raises
    ------
    ValueError
        When there are not as many scores as candidates, or one is no probability.
    """

    id: str
    messages: list[dict[str, str]]
    candidates: list[LabelPath] = field(default_factory=list)
    scores: list[Number] = field(default_factory=list)
    max_tokens: Whole = 64

    def __post_init__(self) -> None:
        """Check what holds of every request."""
        if len(self.scores) != len(self.candidates):
            raise ValueError(f"{len(self.scores)} scores for {len(self.candidates)} candidates")
        for score in self.scores:
            if not 0 <= score <= 1 + ROUNDING:  # NaN is neither
                raise ValueError(f"the score {score} is no probability")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}")

    def to_dict(self) -> dict[str, Any]:
        """Return the request as the object of one line of ``requests.jsonl``."""
        return {
            "id": self.id,
            "messages": self.messages,
            "candidates": [list(path) for path in self.candidates],
            "scores": self.scores,
            "max_tokens": self.max_tokens,
        }

    @classmethod
    def from_dict(cls, value: Any, place: str = "requests") -> Request:
        """Read what `to_dict` returned; `place` is where it stands, for messages.

        Raises
        ------
        ShelfmarkError
            When it is something else.
        """
        return checked(cls, value, _place(place, value), "delete the file")


@dataclass(frozen=True)
class Completion:
    """An engine's raw answer to one request, or an error.

    Parameters
    ----------
    id : str
        The request's id.
    text : str
        The raw answer; empty where there is an error.
    logprobs : list of float or None
        The natural logarithm of the engine's probability of each of the request's candidates, where it has one.
    prompt_tokens, completion_tokens : int
        Tokens read and written; 0 for an engine that has none.
    error : str or None
        Why there is no answer.
    logprob : float or None
        The natural logarithm of the model's probability of the whole text, where it is known: the sum over its tokens.
    unsure : bool
        Whether the tokens are the most that there may be, since whoever counts them did not tell.

    Raises
    ------
    ValueError
        When a logarithm is of no probability, or there are fewer tokens than none.
    """

    id: str
    text: str = ""
    logprobs: list[Number] | None = None
    prompt_tokens: Whole = 0
    completion_tokens: Whole = 0
    error: str | None = None
    logprob: Number | None = None
    unsure: Annotated[bool, Strict()] = False

    def __post_init__(self) -> None:
        """Check what holds of every completion."""
        for told in [*(self.logprobs or ()), *(() if self.logprob is None else (self.logprob,))]:
            if not -math.inf < told <= ROUNDING:  # NaN is neither
                raise ValueError(f"{told} is the logarithm of no probability")
        if min(self.prompt_tokens, self.completion_tokens) < 0:
            raise ValueError("fewer tokens than none")

    def to_dict(self) -> dict[str, Any]:
        """Return the completion as the object of one line of ``completions.jsonl``."""
        value: dict[str, Any] = {"id": self.id, "text": self.text}
        if self.logprobs is not None:
            value["logprobs"] = self.logprobs
        if self.logprob is not None:
            value["logprob"] = self.logprob
        value["prompt_tokens"] = self.prompt_tokens
        value["completion_tokens"] = self.completion_tokens
        if self.unsure:
            value["unsure"] = True
        if self.error is not None:
            value["error"] = self.error
        return value

    @classmethod
    def from_dict(cls, value: Any, place: str = "completions") -> Completion:
        """Read what `to_dict` returned; `place` is where it stands, for messages.

        Raises
        ------
        ShelfmarkError
            When it is something else.
        """
        return checked(cls, value, _place(place, value), "delete the line")

    def check_answers(self, request: Request) -> None:
        """Refuse a completion that is not one of `request`.

        Raises
        ------
        ShelfmarkError
            When it has log-probabilities of more or fewer candidates.
        """
        if self.logprobs is not None and len(self.logprobs) != len(request.candidates):
            raise ShelfmarkError(
                f"completions.jsonl: the answer to {request.id} has {len(self.logprobs)} log-probabilities, and the "
                f"request {len(request.candidates)} candidates; delete the line"
            )


def _place(place: str, value: Any) -> str:
    """Return where a value stands: the file, and the id that it has."""
    name = value.get("id") if isinstance(value, dict) else None
    return f"{place}, id {name[:80]}" if isinstance(name, str) else place


@dataclass(frozen=True)
class Prediction:
    """One output row.

    Parameters
    ----------
    id : int or str
        The input row's id.
    path : label path
        One value per level; an empty string where the level was left to a person.
    confidence : float
        The probability that all levels are right, in [0, 1].
    status : str
        One of `STATUSES`: ``exact``; ``repaired`` (snapped); ``fallback`` (no usable answer, the best candidate
        instead); ``abstained`` (left to a person on request: a level empty, or a doubtful answer as it was given);
        ``failed`` (fallback after an error).
    level_confidence : sequence of float, optional
        For each level, the probability that the best path is right down to it; the last is `confidence`.
    top : sequence of (label path, float), optional
        The best paths with their probabilities, best first, where more than one was asked for.
    """

    id: RowId
    path: LabelPath
    confidence: float
    status: Status
    level_confidence: Sequence[float] | None = None
    top: Sequence[tuple[LabelPath, float]] | None = None

    def to_dict(self, id_column: str, levels: tuple[str, ...]) -> dict[str, Any]:
        """Return the prediction as the flat object of one line of ``predictions.jsonl``."""
        row: dict[str, Any] = {id_column: self.id, **dict(zip(levels, self.path, strict=True))}
        row |= {"confidence": round(self.confidence, 6), "status": self.status}
        if self.level_confidence is not None:
            row["level_confidence"] = [round(value, 6) for value in self.level_confidence]
        if self.top is not None:
            row["top"] = [[list(path), round(value, 6)] for path, value in self.top]
        return row
