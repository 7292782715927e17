"""Batches: what the API says of one, and how it is moved on."""

import json
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.openai_server.batch_checks import check_file, rows
from tests.openai_server.chat import complete
from tests.openai_server.damage import damage
from tests.openai_server.errors import ApiError, rate_limited, server_error
from tests.openai_server.ledger import Bill
from tests.openai_server.paging import checked_metadata
from tests.openai_server.state import State
from tests.openai_server.storage import StoredFile

ENDPOINT, WINDOW = "/v1/chat/completions", "24h"
DAY = 24 * 60 * 60
ENDED = ("completed", "failed", "expired", "cancelled")
LEFT = {
    "expired": "This request could not be executed before the completion window expired.",
    "cancelled": "This request was not executed because the batch was cancelled.",
}


@dataclass
class Batch:
    """One batch. `fate` is the status that it ends with, after `share` of its rows."""

    id: str
    org: str
    key: str
    input: StoredFile
    created_at: int
    metadata: dict[str, str] | None
    keep_output: int | None  # seconds
    fate: str = "completed"
    share: float = 1
    no_output: bool = False
    only_errors: bool = False
    no_usage: bool = False
    no_counts: bool = False
    late: int = 0
    hidden: int = 0
    end_error: tuple[str, str] | None = None

    status: str = "validating"
    times: dict[str, int] = field(default_factory=dict)  # by status
    step: int = 0
    model: str | None = None
    tokens: int = 0
    offsets: "array[int]" = field(default_factory=lambda: array("Q"))
    prompts: "array[int]" = field(default_factory=lambda: array("Q"))
    done: int = 0
    completed: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    output: str | None = None
    error: str | None = None
    written: dict[str, Path] = field(default_factory=dict)  # where the output and errors are being written

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def seen(self) -> bool:
        """Return whether this look at the batch finds it."""
        if self.hidden:
            self.hidden -= 1
            return False
        return True

    def move(self, status: str, now: int) -> None:
        """Change the status."""
        self.status = status
        self.times.setdefault(status, now)

    def usage(self) -> dict[str, Any]:
        """Return the tokens of the rows that are done."""
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.input_tokens + self.output_tokens,
        }

    def counts(self) -> dict[str, int]:
        return {"total": len(self.offsets), "completed": self.completed, "failed": self.failed}

    def as_object(self, *, legacy: bool = False) -> dict[str, Any]:
        """Return the batch as the API shows it."""
        statuses = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": ENDPOINT,
            "model": self.model,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "input_file_id": self.input.id,
            "completion_window": WINDOW,
            "status": self.status,
            "output_file_id": None if self.late else self.output,
            "error_file_id": None if self.late else self.error,
            "created_at": self.created_at,
            "expires_at": self.created_at + DAY,
            **{f"{status}_at": self.times.get(status) for status in statuses},
            "request_counts": None if self.no_counts else self.counts(),
            "metadata": None if legacy else self.metadata,
            **({} if self.no_usage else {"usage": self.usage()}),
        }

    def summary(self) -> dict[str, Any]:
        """Return what the control route shows."""
        return {
            "id": self.id,
            "org": self.org,
            "status": self.status,
            "metadata": self.metadata,
            "input_file_id": self.input.id,
            "output_file_id": self.output,
            "error_file_id": self.error,
            "request_counts": self.counts(),
            "usage": self.usage(),
        }


def create_batch(state: State, org: str, key: str, body: dict[str, Any]) -> Batch:
    """Make a batch of a file, and decide what will go wrong with it."""
    metadata = checked_metadata(body.get("metadata"))
    if body.get("endpoint") != ENDPOINT:
        message = f"Invalid value: '{body.get('endpoint')}'. Supported values are: '{ENDPOINT}'."
        raise ApiError(400, message, "invalid_value", "endpoint")
    if body.get("completion_window") != WINDOW:
        message = f"Invalid value: '{body.get('completion_window')}'. Supported values are: '{WINDOW}'."
        raise ApiError(400, message, "invalid_value", "completion_window")
    file = state.file_to_use(org, body.get("input_file_id"), "input_file_id", "batch")
    faults = state.faults
    if faults.enqueued_refuses and faults.enqueued_limit is not None:
        checked = check_file(state, org, file.path, ENDPOINT)
        if over_limit(state, org, checked.model, checked.tokens):
            raise ApiError(429, limit_message(state, org, checked.model), "token_limit_exceeded", kind="tokens")
    keep = (body.get("output_expires_after") or {}).get("seconds")
    batch = Batch(state.new_id("batch_"), org, key, file, state.now(), metadata, keep, hidden=faults.hide_batch)
    if faults.hit("fail_batch"):
        batch.fate, batch.share = "failed", faults.fail_share
        batch.end_error = (faults.fail_code, faults.fail_message)
    elif faults.hit("expire"):
        batch.fate, batch.share = "expired", faults.expire_share
    elif faults.hit("cancel_batch"):
        batch.fate, batch.share = "cancelled", faults.cancel_share
    batch.no_output, batch.only_errors = faults.hit("no_output"), faults.hit("only_errors")
    batch.no_usage, batch.no_counts = faults.hit("no_usage"), faults.hit("no_counts")
    batch.late = faults.late_output_steps if faults.hit("late_output") else 0
    state.batches[batch.id] = batch
    return batch


def over_limit(state: State, org: str, model: str | None, tokens: int) -> bool:
    """Return whether so many tokens more are too many."""
    limit = state.faults.enqueued_limit
    waiting = (one for one in state.batches.values() if one.org == org and one.model == model and not one.ended)
    return limit is not None and sum(one.tokens for one in waiting) + tokens > limit


def limit_message(state: State, org: str, model: str | None) -> str:
    limit = state.faults.enqueued_limit
    return (
        f"Enqueued token limit reached for {model} in organization {org}. Limit: {limit:,} enqueued tokens. "
        "Please try again once some in_progress batches have been completed."
    )


def cancel_batch(state: State, batch: Batch) -> None:
    """Begin to cancel a batch; its next step ends it."""
    if batch.ended:
        raise ApiError(409, f"Cannot cancel a batch with status '{batch.status}'.")
    batch.move("cancelling", state.now())


def advance(state: State, batch: Batch) -> None:
    """Move a batch one step on."""
    if batch.ended:
        batch.late = max(batch.late - 1, 0)
    elif batch.status == "cancelling":
        finish(state, batch, "cancelled")
    elif state.now() >= batch.created_at + DAY:
        finish(state, batch, "expired")
    elif batch.status != "validating" or validate(state, batch):
        batch.step += 1
        steps = state.steps_per_batch
        part = part_done(batch.step, steps)
        process(state, batch, int(len(batch.offsets) * batch.share * part))
        if batch.step >= steps:
            finish(state, batch, batch.fate)
        elif part == 1 and batch.fate == "completed":
            batch.move("finalizing", state.now())


def part_done(step: int, steps: int) -> float:
    """Return the share of the rows done after a step: the first step checks the file, the last ends the batch."""
    if step >= steps:
        return 1
    return (step - 1) / (steps - 2) if steps > 2 else 0


def validate(state: State, batch: Batch) -> bool:
    """Check the input file; what is wrong with it ends the batch."""
    checked = check_file(state, batch.org, batch.input.path, ENDPOINT)
    if batch.key in state.poor:
        checked.fail("billing_hard_limit_reached", "Billing hard limit has been reached.")
    elif not checked.errors and over_limit(state, batch.org, checked.model, checked.tokens):
        checked.fail("token_limit_exceeded", limit_message(state, batch.org, checked.model))
    if checked.errors:
        batch.errors = checked.errors
        batch.move("failed", state.now())
        return False
    batch.model, batch.tokens = checked.model, checked.tokens
    batch.offsets, batch.prompts = checked.offsets, checked.prompts
    batch.written = {"output": state.new_path(), "error": state.new_path()}
    batch.move("in_progress", state.now())
    return True


def process(state: State, batch: Batch, end: int) -> None:
    """Answer rows until so many are done, and bill those that are answered."""
    if end <= batch.done:
        return
    with batch.written["output"].open("ab") as output, batch.written["error"].open("ab") as errors:
        asked_rows = rows(batch.input.path, batch.offsets, batch.done, end)
        for row, tokens in zip(asked_rows, batch.prompts[batch.done : end], strict=True):
            try:
                if batch.only_errors:
                    raise server_error()
                if state.faults.hit("row_errors"):
                    raise state.faults.random().choice((server_error, rate_limited))()
                body = complete(state, batch.org, row["body"], tokens)
            except ApiError as error:
                batch.failed += 1
                errors.write(result(state, row["custom_id"], error.status, error.body()))
                continue
            batch.completed += 1
            asked, given = body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]
            batch.input_tokens += asked
            batch.output_tokens += given
            state.ledger.append(Bill(batch.org, "batch", batch.id, row["custom_id"], body["model"], asked, given))
            output.write(result(state, row["custom_id"], 200, state.made_odd(body)))
    batch.done = end


def result(state: State, custom_id: str, status: int, body: dict[str, Any]) -> bytes:
    """Return the line of a row that was worked on."""
    response = {"status_code": status, "request_id": state.new_id("req_"), "body": body}
    line = {"id": state.new_id("batch_req_"), "custom_id": custom_id, "response": response, "error": None}
    return json.dumps(line).encode() + b"\n"


def finish(state: State, batch: Batch, status: str) -> None:
    """End a batch: give out its files."""
    if status in LEFT and batch.written:
        error = {"code": f"batch_{status}", "message": LEFT[status]}
        with batch.written["error"].open("ab") as errors:
            for row in rows(batch.input.path, batch.offsets, batch.done, len(batch.offsets)):
                line = {"id": state.new_id("batch_req_"), "custom_id": row["custom_id"], "response": None}
                errors.write(json.dumps(line | {"error": error}).encode() + b"\n")
    if status == "cancelled":
        batch.move("cancelling", state.now())
    if status == "failed" and batch.end_error:
        code, message = batch.end_error
        batch.errors = [{"code": code, "message": message, "line": None, "param": None}]
    for kind, path in batch.written.items():
        if batch.no_output or not path.exists() or not path.stat().st_size:
            path.unlink(missing_ok=True)
            continue
        if state.faults.damages() and (kind == "output" or state.faults.damage_errors):
            damage(path, state.faults)
        file = state.add_file(batch.org, path, f"{batch.id}_{kind}.jsonl", "batch_output", batch.keep_output)
        setattr(batch, kind, file.id)
    batch.move(status, state.now())
