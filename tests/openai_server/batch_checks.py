"""What is checked of a batch's input file before its rows are worked on."""

import json
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.openai_server.chat import most_tokens, prompt_tokens
from tests.openai_server.state import State

MOST_ROWS, MOST_BYTES, MOST_ERRORS = 50_000, 200_000_000, 100


@dataclass
class Checked:
    """What the check found."""

    model: str | None = None
    rows: int = 0
    tokens: int = 0  # of prompts and the longest answers to them
    prompts: "array[int]" = field(default_factory=lambda: array("Q"))  # the tokens of each row's prompt
    offsets: "array[int]" = field(default_factory=lambda: array("Q"))  # where each row begins
    errors: list[dict[str, Any]] = field(default_factory=list)

    def fail(self, code: str, message: str, line: int | None = None, param: str | None = None) -> None:
        """Note an error."""
        if len(self.errors) < MOST_ERRORS:
            self.errors.append({"code": code, "message": message, "line": line, "param": param})


def check_file(state: State, org: str, path: Path, endpoint: str) -> Checked:
    """Check an input file as the API does."""
    found = Checked()
    if path.stat().st_size > MOST_BYTES:
        found.fail("file_too_large", "The input file is larger than the 200MB limit of the Batch API.")
        return found
    ids: set[str] = set()
    with path.open("rb") as file:
        offset = 0
        for number, line in enumerate(file, 1):
            if line.strip():
                found.rows += 1
                found.offsets.append(offset)
                check_row(found, ids, number, line, endpoint)
            offset += len(line)
    if not found.rows:
        found.fail("empty_file", "The input file is empty. Please ensure that the batch contains at least one request.")
    if found.rows > MOST_ROWS:
        message = f"The batch contains {found.rows} requests, but at most {MOST_ROWS} are allowed."
        found.fail("too_many_requests", message)
    if found.model is not None and not state.has_model(found.model, org):
        message = f"The provided model '{found.model}' is not supported by the Batch API."
        found.fail("model_not_found", message, 1, "body.model")
    return found


def check_row(found: Checked, ids: set[str], number: int, line: bytes, endpoint: str) -> None:
    """Check one row; what is wrong with a request beyond its model is left to the answer."""
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        return found.fail("invalid_json_line", "This line is not parseable as valid JSON.", number)
    for name in ("custom_id", "method", "url", "body"):
        if row.get(name) in (None, ""):
            message = f"Missing required parameter: '{name}'."
            return found.fail("missing_required_parameter", message, number, name)
    custom_id, body = row["custom_id"], row["body"]
    if not isinstance(custom_id, str):
        return found.fail("invalid_type", "Invalid type for 'custom_id': expected a string.", number, "custom_id")
    if custom_id in ids:
        message = (
            f"The custom_id '{custom_id}' for this request is a duplicate of another request. The custom_id parameter "
            "must be unique for each request in a batch."
        )
        return found.fail("duplicate_custom_id", message, number, "custom_id")
    ids.add(custom_id)
    if row["method"] != "POST":
        return found.fail("invalid_method", "The method of each request must be POST.", number, "method")
    if row["url"] != endpoint:
        message = "The URL provided for this request does not match the batch endpoint."
        return found.fail("mismatched_url", message, number, "url")
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        message = "Missing required parameter: 'body.model'."
        return found.fail("missing_required_parameter", message, number, "body.model")
    found.model = found.model or body["model"]
    if body["model"] != found.model:
        message = f"The model '{body['model']}' does not match the model of the first request, '{found.model}'."
        return found.fail("mismatched_model", message, number, "body.model")
    asked = 0
    with suppress(AttributeError, KeyError, TypeError):  # a malformed request is answered with an error later
        asked = prompt_tokens(body)
        found.tokens += asked + (most_tokens(body) or 0)
    found.prompts.append(asked)
    return None


def rows(path: Path, offsets: "array[int]", begin: int, end: int) -> Iterator[dict[str, Any]]:
    """Read some rows of a checked file."""
    if begin >= end:
        return
    with path.open("rb") as file:
        file.seek(offsets[begin])
        left = end - begin
        for line in file:
            if line.strip():
                yield json.loads(line)
                left -= 1
                if not left:
                    return
