"""How many tokens requests will take, before any is asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from catalog.messages import LabelPath, Request
from catalog.schema import SEPARATOR
from classify.costs import Load
from classify.engines.base import Constrain, ModelOptions
from classify.engines.chat import body
from classify.engines.constraints import JSON_KEY
from classify.engines.forms import AnswerForm
from classify.token_counts import TokenCounts
from rag.tokens import Messages


def load_of(
    requests: Iterable[Request],
    counts: TokenCounts,
    written: float | None = None,
    max_tokens: int | None = None,
    *,
    constrain: Constrain = "off",
    form: AnswerForm | None = None,
) -> Load:
    """Return how many tokens requests take; they are gone through once, and none is kept.

    Parameters
    ----------
    requests : iterable of Request
        What is asked.
    counts : TokenCounts
        Counts.
    written : float or None
        Tokens expected of an answer (`answer_tokens`); None where nothing is known but the most.
    max_tokens : int or None
        The most tokens of an answer; None for what each request says.
    constrain : {'choice', 'json', 'off'}
        How answers are held to the candidates: with ``json`` the schema that goes along is read, and paid, too.
    form : AnswerForm or None
        What may be answered to requests without candidates.
    """
    options = ModelOptions()
    rows = most_read = most_written = 0
    read = expected = 0.0
    for request in requests:
        content = body(request, options, constrain=constrain, logprobs=False, form=form)
        prompt, most_prompt = counts.prompt(turns_read(content))
        most = max_tokens or request.max_tokens
        rows, read, most_read, most_written = rows + 1, read + prompt, most_read + most_prompt, most_written + most
        expected += most if written is None else min(written, most)
    return Load(rows, read, most_read, expected, most_written)


def turns_read(content: dict[str, Any]) -> Messages:
    """Return all that a model reads of the body of a request: its turns, and the schema of the answer as one more."""
    turns: Messages = content["messages"]
    if "response_format" not in content:
        return turns
    return [*turns, {"role": "system", "content": json.dumps(content["response_format"], ensure_ascii=False)}]


def answer_tokens(
    paths: Mapping[LabelPath, int], counts: TokenCounts, write: Callable[[LabelPath], str] = SEPARATOR.join
) -> tuple[float, int]:
    """Return the tokens of an answer: expected, where label paths come as often as they are counted, and at most.

    Parameters
    ----------
    paths : mapping of label path to int
        How often each comes; at least one.
    counts : TokenCounts
        Counts.
    write : callable
        How an answer writes a label path.
    """
    counted = {path: counts.answer(write(path)) for path in paths}
    total = sum(paths.values())
    # Where all counts are 0 nothing is known of how often they come.
    weighed = paths if total else Counter(paths.keys())
    expected = sum(counted[path][0] * times for path, times in weighed.items()) / sum(weighed.values())
    return expected, max(most for _, most in counted.values())


def answer_writing(candidates: bool, constrain: Constrain, form: AnswerForm | None) -> Callable[[LabelPath], str]:
    """Return how answers write a label path, where requests have candidates and where they have none."""
    if candidates and constrain == "json":
        return lambda path: json.dumps({JSON_KEY: SEPARATOR.join(path)}, ensure_ascii=False)
    return form.write if form else SEPARATOR.join
