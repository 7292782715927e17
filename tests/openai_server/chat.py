"""One chat completion: what a request may say, and what answers it."""

import zlib
from collections.abc import Sequence
from typing import Any

from tests.openai_server.answers import candidates
from tests.openai_server.errors import ApiError
from tests.openai_server.state import State
from tests.openai_server.taught import last_user, text_of
from tests.openai_server.tokens import count_tokens, cut, pieces

ARGUMENTS = frozenset(
    {
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    }
)
ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})
# Name, the least and the most of it, and whether it is a whole number.
NUMBERS = (
    ("temperature", 0, 2, False),
    ("top_p", 0, 1, False),
    ("frequency_penalty", -2, 2, False),
    ("presence_penalty", -2, 2, False),
    ("n", 1, 128, True),
    ("max_tokens", 1, 32768, True),
    ("max_completion_tokens", 1, 32768, True),
    ("top_logprobs", 0, 20, True),
)
REFUSAL = "I'm sorry, I can't help with that."


def invalid(message: str, param: str, code: str = "invalid_value") -> ApiError:
    return ApiError(400, message, code, param)


def check_body(body: Any, knows_choices: bool = False) -> None:
    """Refuse what the API refuses."""
    if not isinstance(body, dict):
        raise ApiError(400, "We could not parse the JSON body of your request.")
    for name in body:
        if name not in ARGUMENTS and not (knows_choices and name == "structured_outputs"):
            raise ApiError(400, f"Unrecognized request argument supplied: {name}")
    if not isinstance(body.get("model"), str):
        raise ApiError(400, "you must provide a model parameter")
    messages = body.get("messages")
    if messages is None:
        raise invalid("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not isinstance(messages, list):
        raise invalid("Invalid type for 'messages': expected an array of objects.", "messages", "invalid_type")
    if not messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        raise invalid(message, "messages", "empty_array")
    for place, message in enumerate(messages):
        at = f"messages[{place}]"
        if not isinstance(message, dict):
            raise invalid(f"Invalid type for '{at}': expected an object.", at, "invalid_type")
        if message.get("role") not in ROLES:
            raise invalid(f"Invalid value for '{at}.role': {message.get('role')!r}.", f"{at}.role")
        if not isinstance(message.get("content"), str | list) and message["role"] != "assistant":
            text = f"Invalid value for '{at}.content': expected a string or an array."
            raise invalid(text, f"{at}.content", "invalid_type")
    for name, least, most, whole in NUMBERS:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise invalid(f"Invalid type for '{name}': expected a number.", name, "invalid_type")
        if not least <= value <= most:
            raise invalid(f"Invalid '{name}': expected a value from {least} to {most}, but got {value}.", name)
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise invalid("The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", "top_logprobs")
    if body.get("stream"):
        raise invalid("This server does not stream.", "stream", "unsupported_value")
    if len(stops(body)) > 4 or not all(isinstance(stop, str) for stop in stops(body)):
        raise invalid("Invalid 'stop': expected up to 4 strings.", "stop")


def stops(body: dict[str, Any]) -> list[str]:
    stop = body.get("stop")
    return stop if isinstance(stop, list) else [] if stop is None else [stop]


def prompt_tokens(body: dict[str, Any]) -> int:
    """Return the tokens of all messages."""
    return sum(count_tokens(text_of(message.get("content"))) for message in body["messages"])


def most_tokens(body: dict[str, Any]) -> int | None:
    """Return how many tokens the answer may have."""
    limit = body.get("max_completion_tokens")
    return body.get("max_tokens") if limit is None else limit


def logprob(token: str, place: int) -> float:
    """Return a log-probability that depends on nothing but the token and its place."""
    return -(zlib.crc32(f"{place} {token}".encode(errors="replace")) % 1000) / 10000


def token_logprobs(tokens: list[str], top: int, may_be: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return an entry for each token, with the likeliest tokens in its place: itself, those that lead to another of
    the texts that it may be, then made-up ones."""

    def entry(token: str, value: float) -> dict[str, Any]:
        return {"token": token, "logprob": value, "bytes": list(token.encode(errors="replace"))}

    content = []
    for place, token in enumerate(tokens):
        value = logprob(token, place)
        before = "".join(tokens[:place])
        led = (pieces(text[len(before) :])[:1] for text in may_be if text.startswith(before))
        texts = dict.fromkeys(
            [token, *(first[0] for first in led if first), *(f"{token}{rank}" for rank in range(top))]
        )
        others = [entry(text, value - 2 * rank) for rank, text in enumerate(list(texts)[:top])]
        content.append({**entry(token, value), "top_logprobs": others})
    return content


def complete(state: State, org: str, body: Any, asked: int | None = None) -> dict[str, Any]:
    """Return the chat completion of a request, or raise what the API answers instead.

    `asked` are the tokens of its messages, where they are counted already.
    """
    check_body(body, state.knows_choices)
    answer = state.answerer(body["model"], org)
    user = last_user(body["messages"])
    refused, filtered = state.refused(user), state.filtered(user)
    text = "" if filtered else REFUSAL if refused else answer(body)
    if not refused:
        text = text[: min((text.find(stop) for stop in stops(body) if stop and stop in text), default=len(text))]
    limit, count, reason = most_tokens(body), count_tokens(text), "content_filter" if filtered else "stop"
    if limit is not None and count > limit:
        text, count, reason = cut(text, limit), limit, "length"
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    if refused and not filtered:
        message |= {"content": None, "refusal": text}
    logprobs = None
    if body.get("logprobs"):
        entries = token_logprobs(pieces(text), body.get("top_logprobs") or 0, candidates(body))
        logprobs = {"content": None, "refusal": entries} if refused else {"content": entries, "refusal": None}
    choices = body.get("n") or 1
    asked = prompt_tokens(body) if asked is None else asked
    given = count * choices
    return {
        "id": state.new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": state.now(),
        "model": body["model"],
        "choices": [
            {"index": index, "message": message, "logprobs": logprobs, "finish_reason": reason}
            for index in range(choices)
        ],
        "usage": {
            "prompt_tokens": asked,
            "completion_tokens": given,
            "total_tokens": asked + given,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": None,
    }
