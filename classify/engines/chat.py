"""The OpenAI chat-completions dialect: a request as the body that is sent, an answer's body as a completion."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from catalog.messages import Completion, Request
from classify.engines import beside
from classify.engines.base import ApiOptions, Constrain, ModelOptions
from classify.engines.beside import Bound
from classify.engines.constraints import choices, json_schema, messages
from classify.engines.forms import AnswerForm
from classify.engines.logprobs import ALTERNATIVES, request_logprobs
from rag.tokens import estimate_tokens


class NoAnswerError(Exception):
    """A body that holds no answer, though the server calls it one; asked again, there may be one."""


def body(
    request: Request,
    options: ModelOptions,
    *,
    constrain: Constrain,
    logprobs: bool,
    form: AnswerForm | None = None,
) -> dict[str, Any]:
    """Return what ``POST /chat/completions`` takes for a request.

    Parameters
    ----------
    request : Request
        What to ask.
    options : ModelOptions
        The model's name, temperature, seed and most tokens; its `constrain` is not looked at.
    constrain : {'choice', 'json', 'off'}
        How the answer is held to the candidates. ``choice`` is vLLM's ``structured_outputs``, ``json`` OpenAI's
        ``response_format``, which most servers know. A request without candidates is held to `form` by ``json``, and
        free otherwise: all that may be answered would be megabytes.
    logprobs : bool
        Whether to ask for the tokens' probabilities; for those of other tokens only where there are candidates.
    form : AnswerForm or None
        What may be answered to a request without candidates; None where nothing is known of it.

    Returns
    -------
    dict
        JSON values.
    """
    value: dict[str, Any] = {
        "model": options.llm,
        "messages": messages(request, constrain),
        "max_tokens": options.max_tokens or request.max_tokens,
        "temperature": options.temperature,
        "seed": options.seed,
    }
    if isinstance(options, ApiOptions) and options.stop:
        value["stop"] = options.stop
    if logprobs:
        value["logprobs"] = True
    if logprobs and request.candidates:
        value["top_logprobs"] = ALTERNATIVES
    schema = None
    if request.candidates and constrain == "choice":
        value["structured_outputs"] = {"choice": choices(request)}
    elif constrain == "json":
        schema = json_schema(request) if request.candidates else form and form.json_schema()
    if schema:
        named = {"name": "answer", "strict": True, "schema": schema}
        value["response_format"] = {"type": "json_schema", "json_schema": named}
    return value


def read(
    request: Request,
    answer: Any,
    constrain: Constrain,
    *,
    most: Callable[[], Bound] | None = None,
    probabilities: bool = True,
) -> Completion:
    """Return the completion that the body of an answer holds: its first choice.

    Nothing that is told beside the answer (`beside`) keeps it from being one.

    Parameters
    ----------
    request : Request
        What was asked.
    answer : JSON value
        The body.
    constrain : {'choice', 'json', 'off'}
        How the answer was held to the candidates.
    most : callable, optional
        Gives the tokens that may have been read and written at most, for an answer that does not tell; by default an
        estimate by the request.
    probabilities : bool
        Whether those of the tokens are read.

    Returns
    -------
    Completion
        With an `error` where the model was kept from answering, or used up all tokens before the first of the answer.

    Raises
    ------
    NoAnswerError
        When there is no choice, or what is there is no chat completion.
    """
    choice = first_choice(answer)
    read_, written, unsure = beside.tokens(answer, most or (lambda: _most(request, constrain)))
    message, finish = choice["message"], choice.get("finish_reason")
    text, refusal = _text(message.get("content")), beside.said(message.get("refusal"))
    error = ""
    if finish == "content_filter":
        error = "content filter"
    elif not text:
        error = f"an answer without text (finish_reason {beside.said(finish) or 'unknown'})"
        error = f"the model refused: {refusal}" if refusal else error
    if error:
        return Completion(request.id, "", None, read_, written, error, unsure=unsure)
    steps = beside.steps(choice) if probabilities else None
    if request.candidates:
        logprobs = None if steps is None else request_logprobs(request, constrain, steps)
        return Completion(request.id, text, logprobs, read_, written, unsure=unsure)
    # Of the tokens that were written: what each step tells first.
    total = sum(step[0][1] for step in steps) if steps else -math.inf
    logprob = round(total, 6) if math.isfinite(total) else None
    return Completion(request.id, text, None, read_, written, logprob=logprob, unsure=unsure)


def first_choice(answer: Any) -> dict[str, Any]:
    """Return the first choice of the body of an answer, which has a message.

    Raises
    ------
    NoAnswerError
        When there is none.
    """
    try:
        choice: dict[str, Any] = answer["choices"][0]
        message = choice["message"]
    except (LookupError, TypeError):
        raise NoAnswerError("no choices") from None
    if not (isinstance(answer, dict) and isinstance(choice, dict) and isinstance(message, dict)):
        raise NoAnswerError("no choices")
    return choice


def problem(answer: Any) -> tuple[str, str]:
    """Return the code and the message of an error's body: OpenAI's, vLLM's, Ollama's or FastAPI's; empty where none."""
    value = answer
    if isinstance(value, dict):
        value = next((value[key] for key in ("error", "detail", "message") if value.get(key)), "")
    try:
        if isinstance(value, dict):
            return beside.writable(str(value.get("code") or "")), beside.writable(str(value.get("message") or ""))
        return "", beside.writable(str(value or ""))
    except RecursionError:
        return "", "an error nested too deep"


def _text(content: Any) -> str:
    """Return the text of a message: a string, or the texts among its parts, one after the other."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    return beside.writable(content) if isinstance(content, str) else ""


def _most(request: Request, constrain: Constrain) -> Bound:
    """Return the tokens that a request may take, at most: estimated on the high side."""
    turns = messages(request, constrain)
    schema = choices(request) if constrain == "json" else []
    return estimate_tokens([*turns, *({"content": text} for text in schema)]), request.max_tokens
