"""The OpenAI chat-completions dialect: a request as the body that is sent, an answer's body as a completion."""

from __future__ import annotations

import math
from typing import Any

from catalog.messages import Completion, Request
from classify.engines.base import ApiOptions, Constrain, ModelOptions
from classify.engines.constraints import choices, json_schema, messages
from classify.engines.forms import AnswerForm
from classify.engines.logprobs import ALTERNATIVES, Step, request_logprobs


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


def read(request: Request, answer: Any, constrain: Constrain, *, probabilities: bool = True) -> Completion:
    """Return the completion that the body of an answer holds: its first choice.

    Parameters
    ----------
    request : Request
        What was asked.
    answer : JSON value
        The body.
    constrain : {'choice', 'json', 'off'}
        How the answer was held to the candidates.
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
    try:
        choice = answer["choices"][0]
        text, finish = choice["message"].get("content"), choice.get("finish_reason")
        refusal = choice["message"].get("refusal")
        usage = answer.get("usage") or {}
        read_, written = (max(int(usage.get(f"{what}_tokens") or 0), 0) for what in ("prompt", "completion"))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        raise NoAnswerError("no choices") from None
    if finish == "content_filter":
        return Completion(request.id, prompt_tokens=read_, completion_tokens=written, error="content filter")
    if not isinstance(text, str) or not text:
        why = f"the model refused: {refusal}" if refusal else f"an answer without text (finish_reason {finish})"
        return Completion(request.id, prompt_tokens=read_, completion_tokens=written, error=_writable(why))
    text = _writable(text)
    steps = _steps(choice) if probabilities else None
    if request.candidates:
        logprobs = None if steps is None else request_logprobs(request, constrain, steps)
        return Completion(request.id, text, logprobs, read_, written)
    # Of the tokens that were written: what each step tells first.
    total = sum(step[0][1] for step in steps) if steps else -math.inf
    logprob = round(total, 6) if math.isfinite(total) else None
    return Completion(request.id, text, None, read_, written, logprob=logprob)


def problem(answer: Any) -> tuple[str, str]:
    """Return the code and the message of an error's body: OpenAI's, vLLM's, Ollama's or FastAPI's; empty where none."""
    value = answer
    if isinstance(value, dict):
        value = next((value[key] for key in ("error", "detail", "message") if value.get(key)), "")
    if isinstance(value, dict):
        return _writable(str(value.get("code") or "")), _writable(str(value.get("message") or ""))
    return "", _writable(str(value or ""))


def _writable(text: str) -> str:
    """Return the text without half signs, as those of an answer that was cut: they can be written nowhere."""
    return text.encode("utf-8", "replace").decode()


def _steps(choice: dict[str, Any]) -> list[Step] | None:
    """Return the answer token by token, or None where the server gave no tokens or none that can be read."""
    try:
        steps: list[Step] = []
        for token in choice["logprobs"]["content"]:
            every = [token, *(token.get("top_logprobs") or ())]
            steps.append([(str(one["token"]), float(one["logprob"])) for one in every])
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError):
        return None
    if any(math.isnan(logprob) for step in steps for _, logprob in step):
        return None
    return steps
