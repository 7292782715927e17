"""How a request constrains its answer to its candidates, for engines that are language models."""

from __future__ import annotations

import json
from typing import Any

from catalog.messages import Request
from catalog.schema import SEPARATOR
from classify.engines.base import Constrain
from classify.engines.forms import AnswerForm, Answers

JSON_KEY = "label"
JSON_LINE = f'Answer as JSON: {{"{JSON_KEY}": "..."}}'


def choices(request: Request) -> list[str]:
    """Return the candidates as an answer writes them: joined labels, each once, best first."""
    return list(dict.fromkeys(SEPARATOR.join(path) for path in request.candidates))


def answers(request: Request, constrain: Constrain) -> list[str]:
    """Return every text that a constrained answer may be, in the order of `choices`; none where it is free."""
    if constrain == "off":
        return []
    if constrain == "choice":
        return choices(request)
    return [json.dumps({JSON_KEY: label}, ensure_ascii=False) for label in choices(request)]


def whole_answers(request: Request, constrain: Constrain, form: AnswerForm | None) -> Answers | None:
    """Return the texts that an answer is held to, letter by letter; None where it is free.

    Parameters
    ----------
    request : Request
        What is asked. Its candidates, where it has any, are what may be answered.
    constrain : {'choice', 'json', 'off'}
        How.
    form : AnswerForm or None
        What may be answered to a request without candidates; None where nothing is known of it.
    """
    if request.candidates:
        texts = answers(request, constrain)
        return Answers([""], texts) if texts else None
    if form is None or constrain == "off" or (constrain == "json" and form.writing != "json"):
        return None
    return form.answers


def json_schema(request: Request) -> dict[str, Any]:
    """Return the JSON schema of an answer: one key, whose value is one of the candidates."""
    return {
        "type": "object",
        "properties": {JSON_KEY: {"type": "string", "enum": choices(request)}},
        "required": [JSON_KEY],
        "additionalProperties": False,
    }


def messages(request: Request, constrain: Constrain) -> list[dict[str, str]]:
    """Return the request's chat turns; where JSON is wanted, the last one says so."""
    if constrain != "json" or not request.candidates:
        return request.messages
    *before, last = request.messages
    return [*before, {**last, "content": f"{last['content']}\n\n{JSON_LINE}"}]
