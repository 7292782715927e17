"""The OpenAI chat-completions dialect: a request as the body that is sent, an answer's body as a completion."""

from __future__ import annotations

import math
from typing import Any

from catalog.messages import Completion, Request
from classify.engines.base import Constrain, ModelOptions
from classify.engines.constraints import choices, json_schema, messages
from classify.engines.logprobs import ALTERNATIVES, Step, request_logprobs


class NoAnswerError(Exception):
    """A body that holds no answer, though the server calls it one; asked again, there may be one."""


def body(request: Request, options: ModelOptions, *, constrain: Constrain, logprobs: bool) -> dict[str, Any]:
    """Return what ``POST /chat/completions`` takes for a request.

    Parameters
    ----------
    request : Request
        What to ask.
    options : ModelOptions
        The model's name, temperature, seed and most tokens; its `constrain` is not looked at.
    constrain : {'choice', 'json', 'off'}
        How the answer is held to the candidates; a request without candidates is always free. ``choice`` is vLLM's
        ``structured_outputs``, ``json`` OpenAI's ``response_format``, which most servers know.
    logprobs : bool
        Whether to ask for the tokens' probabilities; not done for a request without candidates.

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
    if not request.candidates:
        return value
    if logprobs:
        value |= {"logprobs": True, "top_logprobs": ALTERNATIVES}
    if constrain == "choice":
        value["structured_outputs"] = {"choice": choices(request)}
    elif constrain == "json":
        schema = {"name": "answer", "strict": True, "schema": json_schema(request)}
        value["response_format"] = {"type": "json_schema", "json_schema": schema}
    return value


def read(request: Request, answer: Any, constrain: Constrain) -> Completion:
    """Return the completion that the body of an answer holds: its first choice.

    Parameters
    ----------
    request : Request
        What was asked.
    answer : JSON value
        The body.
    constrain : {'choice', 'json', 'off'}
        How the answer was held to the candidates.

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
        read_, written = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise NoAnswerError("no choices") from None
    if finish == "content_filter":
        return Completion(request.id, prompt_tokens=read_, completion_tokens=written, error="content filter")
    if not isinstance(text, str) or not text:
        why = f"the model refused: {refusal}" if refusal else f"an answer without text (finish_reason {finish})"
        return Completion(request.id, prompt_tokens=read_, completion_tokens=written, error=why)
    text = text.encode("utf-8", "replace").decode()  # half a sign, of an answer that was cut, can be written nowhere
    return Completion(request.id, text, _logprobs(request, choice, constrain), read_, written)


def problem(answer: Any) -> tuple[str, str]:
    """Return the code and the message of an error's body: OpenAI's, vLLM's, Ollama's or FastAPI's; empty where none."""
    value = answer
    if isinstance(value, dict):
        value = next((value[key] for key in ("error", "detail", "message") if value.get(key)), "")
    if isinstance(value, dict):
        return str(value.get("code") or ""), str(value.get("message") or "")
    return "", str(value or "")


def _logprobs(request: Request, choice: dict[str, Any], constrain: Constrain) -> list[float] | None:
    """Return each candidate's, or None where the server gave no tokens or none that can be read."""
    if not request.candidates:
        return None
    try:
        steps: list[Step] = []
        for token in choice["logprobs"]["content"]:
            every = [token, *(token.get("top_logprobs") or ())]
            steps.append([(str(one["token"]), float(one["logprob"])) for one in every])
    except (LookupError, TypeError, AttributeError, ValueError):
        return None
    if any(math.isnan(logprob) for step in steps for _, logprob in step):
        return None
    return request_logprobs(request, constrain, steps)
