"""The lines of batch files, requests in and answers out: those of the OpenAI Batch API and of vLLM's run-batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from catalog.messages import Completion, Request
from classify.engines import beside, retry
from classify.engines.base import Constrain, ModelOptions
from classify.engines.beside import Bound
from classify.engines.chat import NoAnswerError, body, first_choice, problem, read
from classify.engines.forms import AnswerForm

MOST_ROWS, MOST_BYTES = 50_000, 200_000_000
"""Of one file of the Batch API."""
URL: Final = "/v1/chat/completions"

Kind = Literal["answer", "refused", "missing", "silent"]
"""``answer``: there is one, if only a beginning; ``refused``: there will be none; ``missing``: it was not done, as the
provider says, so there may be one yet; ``silent``: nothing is said."""

UNFINISHED = ("batch_expired", "batch_cancelled")
"""Codes of rows that a batch ended without."""


@dataclass(frozen=True)
class Outcome:
    """What a batch says of one request.

    Attributes
    ----------
    kind : str
        One of `Kind`.
    completion : Completion
        The answer, or the error.
    cut : bool
        Whether the answer used up all its tokens.
    """

    kind: Kind
    completion: Completion
    cut: bool = False


def request_line(request: Request, options: ModelOptions, form: AnswerForm | None, *, logprobs: bool = True) -> bytes:
    """Return the line that asks for a request, with its end."""
    content = body(request, options, constrain=options.constrain, logprobs=logprobs, form=form)
    line = {"custom_id": request.id, "method": "POST", "url": URL, "body": content}
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def outcome(
    request: Request,
    line: dict[str, Any],
    constrain: Constrain,
    *,
    most: Callable[[], Bound] | None = None,
    probabilities: bool = True,
) -> Outcome:
    """Return what a line of an output or error file says of the request that it names.

    Parameters
    ----------
    request : Request
        What was asked.
    line : dict
        With ``response`` or ``error``.
    constrain : {'choice', 'json', 'off'}
        How the answer was held to the candidates.
    most : callable, optional
        As of `chat.read`.
    probabilities : bool
        Whether those of the answer's tokens are read, which takes most of the time.
    """
    response = line.get("response") or {}
    content = response.get("body") if isinstance(response, dict) else None
    status = response.get("status_code") if isinstance(response, dict) else None
    status = status if isinstance(status, int) and 100 <= status < 600 else 200
    answered = isinstance(content, dict) and "choices" in content and status < 400  # then an error beside it is odd
    if not isinstance(content, dict) or status >= 400 or (line.get("error") and not answered):
        code, message = problem({"error": line["error"]} if line.get("error") else content)
        told = beside.said(f"{code} {message}")
        failed = Completion(request.id, error=told or "no answer in the file")
        if not told and status < 400:
            return Outcome("silent", failed)
        not_done = code in UNFINISHED or (status >= 400 and retry.again(status))
        return Outcome("missing" if not_done else "refused", failed)
    try:
        completion = read(request, content, constrain, most=most, probabilities=probabilities)
        cut = first_choice(content).get("finish_reason") == "length"
    except NoAnswerError as error:
        # It was done, and is paid.
        read_, written, unsure = beside.tokens(content, most or (lambda: (0, request.max_tokens)))
        nothing = Completion(request.id, "", None, read_, written, f"an answer with {error}", unsure=unsure)
        return Outcome("refused", nothing)
    return Outcome("answer" if completion.error is None else "refused", completion, cut)


def output_line(text: bytes | str) -> dict[str, Any] | None:
    """Return a line of an output or error file; None for one that is none, as a torn one is."""
    try:
        line = beside.decode(text)
    except ValueError:  # no JSON, no UTF-8, or nested without end
        return None
    if not isinstance(line, dict) or not isinstance(line.get("custom_id"), str):
        return None
    return line if line.keys() & {"response", "error"} else None


def output_lines(path: Path) -> Iterator[dict[str, Any] | None]:
    """Yield the lines of a file that was downloaded, blank ones left out; None for each that is none."""
    with open(path, "rb") as stream:
        for text in stream:
            if text.strip():
                yield output_line(text)
