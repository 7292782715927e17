"""A batch as a provider shows it, read with care."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ENDED = ("completed", "failed", "expired", "cancelled")
"""States of a batch that has ended."""


@dataclass(frozen=True)
class Seen:
    """A batch as the provider shows it; what it does not tell, or not as it should, is empty.

    Attributes
    ----------
    id, status : str
        Of the batch.
    input, output, errors : str
        Its files.
    total, completed, failed : int
        Requests.
    usage : (int, int) or None
        Tokens read and written, as billed.
    code, reason : str
        Why it failed.
    line : int
        Of its input, where the first fault is; 0 where there is none.
    told : dict of str to str
        What this run wrote on it.
    """

    id: str
    status: str
    input: str = ""
    output: str = ""
    errors: str = ""
    total: int = 0
    completed: int = 0
    failed: int = 0
    usage: tuple[int, int] | None = None
    code: str = ""
    reason: str = ""
    line: int = 0
    told: dict[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED

    @property
    def turned_away(self) -> bool:
        """Whether it ended before anything of it was done, or billed."""
        done = self.completed + self.failed > 0 or (self.usage is not None and sum(self.usage) > 0)
        return self.status == "failed" and not (done or self.output or self.errors)

    @property
    def lacks_files(self) -> bool:
        """Whether files of a batch that has ended are still to come."""
        lacking = (not self.output and self.completed > 0) or (not self.errors and self.failed > 0)
        return lacking or (self.status == "completed" and not (self.output or self.errors))


def seen(batch: Any) -> Seen:
    """Read a batch as the client gives it: providers differ in what they tell, and the client checks nothing."""
    value = _dict(batch.model_dump(warnings=False))
    counts, usage = _dict(value.get("request_counts")), _dict(value.get("usage"))
    faults = _dict(value.get("errors")).get("data")
    first = _dict(faults[0]) if isinstance(faults, list) and faults else {}
    tokens = usage.get("input_tokens"), usage.get("output_tokens")
    return Seen(
        id=_text(value.get("id")),
        status=_text(value.get("status")),
        input=_text(value.get("input_file_id")),
        output=_text(value.get("output_file_id")),
        errors=_text(value.get("error_file_id")),
        total=_number(counts.get("total")),
        completed=_number(counts.get("completed")),
        failed=_number(counts.get("failed")),
        usage=(_number(tokens[0]), _number(tokens[1])) if None not in tokens else None,
        code=_text(first.get("code")),
        reason=_text(first.get("message")),
        line=_number(first.get("line")),
        told={name: text for name, text in _dict(value.get("metadata")).items() if isinstance(text, str)},
    )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _number(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
