"""What a model answers: well, badly, and now this, now that."""

import json
import re
import zlib
from collections.abc import Callable
from typing import Any

from tests.openai_server.taught import last_user

LISTED = re.compile(r"^Possible (?:labels|values of .*):\n((?:- .*\n)+)", re.MULTILINE)
KEY = "label"
NONSENSE = "xyzzy 42"


def candidates(body: dict[str, Any]) -> list[str]:
    """Return what a request lets its answer be, as it would be written: by a schema, a choice, or the question."""
    choice = (body.get("structured_outputs") or {}).get("choice")
    if choice:
        return list(choice)
    schema = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema") or {}
    labels = schema.get("properties", {}).get(KEY, {}).get("enum")
    if labels:
        return [json.dumps({KEY: label}, ensure_ascii=False) for label in labels]
    listed = LISTED.search(last_user(body["messages"]))
    return [line[2:] for line in listed[1].splitlines()] if listed else []


def good(body: dict[str, Any]) -> str:
    """Answer with a candidate, which hangs on nothing but the question; without any, with the last user message."""
    user, may_be = last_user(body["messages"]), candidates(body)
    return may_be[zlib.crc32(user.encode(errors="replace")) % len(may_be)] if may_be else user


def bad(body: dict[str, Any]) -> str:
    """Answer with what is no candidate and no label path."""
    del body
    return NONSENSE


def mixed(body: dict[str, Any]) -> str:
    """Answer well, with half of a good answer, with more than one, badly, and in another writing."""
    text = good(body)
    ways: list[Callable[[], str]] = [
        lambda: text,
        lambda: text[: len(text) // 2 + 1],
        lambda: f"{text}\n\nI hope this helps!",
        lambda: NONSENSE,
        lambda: json.dumps({KEY: text}),
        lambda: text.upper(),
    ]
    return ways[zlib.crc32(last_user(body["messages"])[-40:].encode(errors="replace")) % len(ways)]()
