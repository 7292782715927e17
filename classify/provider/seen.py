"""Batches and fine-tuning jobs as a provider shows them, read with care."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from classify.engines.batch_files import MOST_ROWS
from classify.engines.beside import MOST_TOKENS, count, said, writable

ENDED = ("completed", "failed", "expired", "cancelled")
"""States of a batch that has ended."""
RUNNING = ("validating", "in_progress", "finalizing", "cancelling")
"""States of one that has not."""
MOST_TRAINED = 10**13
"""Tokens that a job learns from at most, each pass counted."""
_ID = re.compile(r"[A-Za-z0-9](?:[\w.:/-]{0,198}[\w-])?", re.ASCII)
"""As providers call batches, files and jobs; some have a slash in them."""
LONGEST_ID = 100
"""Characters of an id that are shown."""


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
    counted : bool
        Whether it is told how many they are.
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
    counted: bool = False
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
    def known(self) -> bool:
        """Whether its state is one that there is."""
        return self.status in (*ENDED, *RUNNING)

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
    value = fields(batch)
    counts, usage = _dict(value.get("request_counts")), _dict(value.get("usage"))
    faults = _dict(value.get("errors")).get("data")
    first = _dict(faults[0]) if isinstance(faults, list) and faults else {}
    # A batch may have many requests, so its tokens may be more than those of one.
    tokens = [count(usage.get(f"{what}_tokens"), MOST_ROWS * MOST_TOKENS) for what in ("input", "output")]
    rows = {name: count(counts.get(name), MOST_ROWS) for name in ("total", "completed", "failed")}
    return Seen(
        id=_id(value.get("id")),
        status=_text(value.get("status")).lower(),
        input=_text(value.get("input_file_id")),
        output=_text(value.get("output_file_id")),
        errors=_text(value.get("error_file_id")),
        total=rows["total"] or 0,
        completed=rows["completed"] or 0,
        failed=rows["failed"] or 0,
        counted=bool(rows["total"]) and rows["completed"] is not None,
        usage=None if tokens[0] is None or tokens[1] is None else (tokens[0], tokens[1]),
        code=said(first.get("code")),
        reason=said(first.get("message")),
        line=count(first.get("line")) or 0,
        told={
            writable(name): writable(text)
            for name, text in _dict(value.get("metadata")).items()
            if isinstance(text, str)
        },
    )


JOB_ENDED = ("succeeded", "failed", "cancelled")
JOB_RUNNING = ("validating_files", "queued", "running", "paused", "pausing", "resuming", "cancelling", "pending")


@dataclass(frozen=True)
class SeenJob:
    """A fine-tuning job as the provider shows it; what it does not tell, or not as it should, is empty or None.

    Attributes
    ----------
    id, status : str
        Of the job.
    fine_tuned_model, model : str
        What came of it, and what it was tuned from.
    organization_id, training_file, validation_file : str or None
        Whose it is, and what it learns from.
    result_files : list of str
        What it left.
    hyperparameters : dict
        Texts and numbers.
    seed, trained_tokens : int or None
        Of the job.
    code, reason : str
        Why it failed.
    """

    id: str
    status: str
    fine_tuned_model: str = ""
    model: str = ""
    organization_id: str | None = None
    training_file: str | None = None
    validation_file: str | None = None
    result_files: list[str] = field(default_factory=list)
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    trained_tokens: int | None = None
    code: str = ""
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether its state is one that there is."""
        return self.status in (*JOB_ENDED, *JOB_RUNNING)


def seen_job(job: Any, name: str) -> SeenJob:
    """Read a job as the client gives it; whatever it calls itself, it is the one that was asked for by `name`."""
    value = fields(job)
    fault, files = _dict(value.get("error")), value.get("result_files")
    figures = _dict(value.get("hyperparameters"))
    return SeenJob(
        id=name,
        status=_text(value.get("status")).lower(),
        fine_tuned_model=_text(value.get("fine_tuned_model")),
        model=_text(value.get("model")),
        organization_id=_text(value.get("organization_id")) or None,
        training_file=_text(value.get("training_file")) or None,
        validation_file=_text(value.get("validation_file")) or None,
        result_files=[file for file in map(_text, files) if file] if isinstance(files, list) else [],
        hyperparameters={key: figure for key, figure in figures.items() if _is_plain(figure)},
        seed=count(value.get("seed"), 2**63),
        trained_tokens=count(value.get("trained_tokens"), MOST_TRAINED),
        code=said(fault.get("code")),
        reason=said(fault.get("message")),
    )


def _is_plain(figure: Any) -> bool:
    return figure is None or isinstance(figure, str) or count(figure, 10**9) is not None or _is_number(figure)


def _is_number(figure: Any) -> bool:
    return isinstance(figure, float) and math.isfinite(figure)


def shown_id(name: str) -> str:
    """Return a provider's id for people: signs that steer a terminal are spelled out, and it is not too long."""
    plain = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in name)
    return plain if len(plain) <= LONGEST_ID else f"{plain[:LONGEST_ID]}..."


def made_id(made: Any) -> str:
    """Return the id of what a call made; empty where it tells none, or one that nothing can be asked for by."""
    return _id(fields(made).get("id"))


def fields(made: Any) -> dict[str, Any]:
    """Return the fields of what the client gives as an object; none where it is none, as it gives whatever came."""
    return _dict(made.model_dump(warnings=False)) if isinstance(made, BaseModel) else {}


def _id(value: Any) -> str:
    name = _text(value)
    return name if _ID.fullmatch(name) and ".." not in name.split("/") else ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return writable(value) if isinstance(value, str) else ""
