"""A fine-tuning job while it runs: its events, how it ends, and the curve that it leaves behind."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import math
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Any

from catalog.errors import ShelfmarkError
from classify.engines.beside import count, said
from classify.progress import Advance, Progress
from classify.provider.client import Provider, RefusedError
from classify.provider.seen import SeenJob, seen_job, shown_id

if TYPE_CHECKING:
    from openai.types.fine_tuning import FineTuningJobEvent

FIRST_POLL, LONGEST_POLL = 2.0, 30.0
"""Seconds between two looks at a job: fewer at first, when most mistakes show."""
MOST_STRANGE = 12
"""So many looks at a job that is in no state that there is."""
MOST_EVENTS = 100_000
"""Of one job; a list that does not end is none."""
PATIENCE = 5
"""So many looks more at what should be there and is not: a new job, a model's name, a result file."""


def follow(provider: Provider, name: str, *, progress: Progress, tell: Callable[[str], None], folder: str) -> SeenJob:
    """Return a job when it has succeeded.

    Parameters
    ----------
    provider : Provider
        Where it runs.
    name : str
        Its id.
    progress : Progress
        Opens a bar of its steps.
    tell : callable
        Is given each message of the job, once.
    folder : str
        What keeps it, for what is said when it fails.

    Raises
    ------
    ShelfmarkError
        When it failed, was cancelled, is not of this key's account, or the provider is away for long.
    """
    seen: set[str] = set()
    wait, nameless, strange = FIRST_POLL, 0, 0
    with ExitStack() as stack:
        advance: Advance | None = None
        steps = 0
        while True:
            job = look_up(provider, name)
            for event in _new_events(provider, name, seen):
                data = data_of(event)
                step, total = count(data.get("step")), count(data.get("total_steps"))
                if event.type == "metrics" or (step is not None and total is not None):
                    if step is not None and total is not None:
                        advance = advance or stack.enter_context(progress("tune", total))
                        advance(max(0, step - steps))
                        steps = max(steps, step)
                else:
                    tell(f"{shown_id(name)}: {provider.scrub(said(event.message))}")
            if job.status in ("failed", "cancelled"):
                raise _ended_badly(provider, job, folder)
            strange = 0 if job.known else strange + 1
            if strange > MOST_STRANGE:
                state = f"a state that there is not, {shown_id(job.status)}," if job.status else "no state"
                raise ShelfmarkError(
                    f"{shown_id(name)}: the provider shows {state} for long; the job is kept in mind, and the same "
                    "command looks at it again"
                )
            if job.status == "succeeded":
                if job.fine_tuned_model:
                    return job
                nameless += 1
                if nameless > PATIENCE:
                    raise ShelfmarkError(f"{name}: succeeded, but names no model; give the same command again later")
            provider.sleep(wait)
            wait = min(LONGEST_POLL, wait * 1.5)


def look_up(provider: Provider, name: str) -> SeenJob:
    """Return a job as it is now.

    Raises
    ------
    ShelfmarkError
        When this key's account has none of that id.
    """
    for tries in range(PATIENCE + 1):
        try:
            return seen_job(provider.again(lambda api: api.fine_tuning.jobs.retrieve(name)), name)
        except RefusedError as error:
            if error.status != 404:
                raise
            if tries == PATIENCE:
                raise ShelfmarkError(
                    f"{name}: unknown at {provider.url}; is it a job of another account than that of the key in "
                    "OPENAI_API_KEY?"
                ) from None
            provider.sleep(FIRST_POLL)  # one that was made a moment ago
    raise AssertionError


def events(provider: Provider, name: str, seen: set[str]) -> list[FineTuningJobEvent]:
    """Return the events of a job that are not among the ids in `seen`, the oldest first."""

    def fetch(api: Any) -> list[FineTuningJobEvent]:
        new = []
        every = api.fine_tuning.jobs.list_events(name, limit=100)  # the newest first, page by page
        for event in islice(every, MOST_EVENTS):
            if event.id in seen:
                break
            new.append(event)
        return new[::-1]

    return provider.again(fetch)


def data_of(event: FineTuningJobEvent) -> dict[str, Any]:
    """Return what an event tells in numbers."""
    return event.data if isinstance(event.data, dict) else {}


def _new_events(provider: Provider, name: str, seen: set[str]) -> list[FineTuningJobEvent]:
    try:
        new = events(provider, name, seen)
    except ShelfmarkError:
        return []  # they are told for convenience: where they cannot be had, the job goes on
    seen |= {event.id for event in new}
    return new


def _ended_badly(provider: Provider, job: SeenJob, folder: str) -> ShelfmarkError:
    again = f"to have another one, delete {folder} and give the command again"
    if job.status == "cancelled":
        return ShelfmarkError(f"{job.id}: somebody cancelled this fine-tune; {again}")
    reason = provider.scrub(job.reason or "no reason is given")
    return ShelfmarkError(
        f"{shown_id(job.id)}: the fine-tune failed ({job.code or 'no code'}): {reason}; mend that; {again}"
    )


def loss_curve(provider: Provider, job: SeenJob) -> list[dict[str, float]]:
    """Return the numbers of a job's result file, step by step; none where there is no such file."""
    for tries in range(PATIENCE + 1):
        for file in job.result_files:
            try:
                content = provider.again(lambda api, file=file: api.files.content(file).read())  # type: ignore[misc]
            except ShelfmarkError:
                continue  # the model is there and paid for: no curve is no reason to stop
            curve = read_curve(content)
            if curve:
                return curve
        if not job.result_files or tries == PATIENCE:
            return []
        provider.sleep(FIRST_POLL)
    return []


def read_curve(content: bytes) -> list[dict[str, float]]:
    """Read a result file: CSV, raw or in base64, with one row a step.

    Returns
    -------
    list of dict
        ``step``, ``train_loss``, ``valid_loss`` and what else has a number there; empty where it is no such file.
    """
    text = content.decode("utf-8", errors="replace")
    if "step" not in text.partition("\n")[0]:
        try:
            text = base64.b64decode("".join(text.split()), validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            return []
    rows = []
    for line in csv.DictReader(io.StringIO(text.lstrip("\ufeff"))):
        numbers = {name: number for name, value in line.items() if name and (number := _number(value)) is not None}
        if "step" in numbers:
            rows.append({**numbers, "step": int(numbers["step"])})
    return rows


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
