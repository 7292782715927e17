"""What passes between the stages of a job: requests, completions and predictions. No provider's dialect."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

LabelPath = tuple[str, ...]
RowId = int | str
Status = Literal["exact", "repaired", "fallback", "abstained", "failed"]
STATUSES: tuple[Status, ...] = ("exact", "repaired", "fallback", "abstained", "failed")


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
    """

    id: str
    messages: list[dict[str, str]]
    candidates: list[LabelPath] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    max_tokens: int = 64

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
    def from_dict(cls, value: dict[str, Any]) -> Request:
        """Read what `to_dict` returned."""
        return cls(
            id=value["id"],
            messages=value["messages"],
            candidates=[tuple(path) for path in value["candidates"]],
            scores=value["scores"],
            max_tokens=value["max_tokens"],
        )


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
    """

    id: str
    text: str = ""
    logprobs: list[float] | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None
    logprob: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the completion as the object of one line of ``completions.jsonl``."""
        value: dict[str, Any] = {"id": self.id, "text": self.text}
        if self.logprobs is not None:
            value["logprobs"] = self.logprobs
        if self.logprob is not None:
            value["logprob"] = self.logprob
        value["prompt_tokens"] = self.prompt_tokens
        value["completion_tokens"] = self.completion_tokens
        if self.error is not None:
            value["error"] = self.error
        return value

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Completion:
        """Read what `to_dict` returned."""
        return cls(**value)


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
