"""Level by level: the supergroup first, then the group within it, and so on down to the brand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from rapidfuzz.distance import Indel

from catalog.foreign import one_line
from catalog.messages import Completion, LabelPath, Request
from catalog.schema import SEPARATOR
from catalog.taxonomy import Taxonomy
from classify.engines.base import Engine
from classify.engines.constraints import JSON_KEY
from classify.engines.forms import AnswerForm
from rag.prompts import Prompt
from rag.tokens import TokenCounter, estimate_tokens

AT_ONCE = 512
"""Requests that go down the levels together: as many as keep an engine busy, and what a killed process may lose."""
MOST_CHOICES = 500
LIKE_ENOUGH = 0.75
"""Likeness from which an answer is taken for a value that it does not spell: what half a value has, cut off."""


@dataclass
class _Descent:
    """How far one request has come."""

    request: Request
    messages: list[dict[str, str]]
    path: LabelPath = ()
    tokens: list[int] = field(default_factory=lambda: [0, 0])
    mass: dict[LabelPath, float] | None = None
    error: str | None = None
    stray: str = ""
    open: bool = True

    @property
    def ended(self) -> bool:
        """Whether no further level can be asked for."""
        return self.error is not None or bool(self.stray)


class LevelsEngine:
    """Asks another engine for one level after the other; a level with one possible value is not asked for.

    The values of a level are those of the request's candidates that agree with the answers so far; without candidates
    (zero-shot), those of the taxonomy.

    Parameters
    ----------
    engine : Engine
        What is asked.
    prompt : Prompt
        Words the question for a level.
    taxonomy : Taxonomy
        The valid label paths.
    count, limit : TokenCounter, int
        No question is longer than so many tokens: the last values of the list go.
    """

    def __init__(
        self,
        engine: Engine,
        prompt: Prompt,
        taxonomy: Taxonomy,
        *,
        count: TokenCounter = estimate_tokens,
        limit: int = 10**9,
    ) -> None:
        self._engine, self._prompt, self._taxonomy = engine, prompt, taxonomy
        self._count, self._limit = count, limit
        self.name, self.deterministic, self.needs = engine.name, engine.deterministic, engine.needs
        self.form: AnswerForm | None = None  # it asks with candidates alone

    @property
    def report(self) -> dict[str, Any]:
        """What the engine has to tell."""
        return self._engine.report

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion for each request: the joined path, with the tokens of all its levels."""
        waiting = iter(requests)
        while block := list(islice(waiting, AT_ONCE)):
            under_way = [_started(request) for request in block]
            for level in range(len(self._taxonomy.levels)):
                yield from self._ask(level, [descent for descent in under_way if descent.open])
            yield from (_finished(descent) for descent in under_way if descent.open)

    def _ask(self, level: int, descents: list[_Descent]) -> Iterator[Completion]:
        """Ask for one level; yield the completions of those that come to an end with it."""
        asked: dict[str, tuple[_Descent, Request]] = {}
        for descent in descents:
            values, scores = self._values(descent, level)
            if len(values) == 1:
                descent.path = (*descent.path, values[0])
                continue
            request = self._request(descent, level, values, scores)
            asked[request.id] = descent, request
        for answer in self._engine.complete(request for _, request in asked.values()):
            descent, request = asked[answer.id]
            _step_down(descent, request, answer)
            if descent.ended or len(descent.path) == len(self._taxonomy.levels):
                yield _finished(descent)

    def _request(self, descent: _Descent, level: int, values: list[str], scores: list[float]) -> Request:
        *before, last = descent.messages
        while True:
            question = self._prompt.level(self._taxonomy.levels[level], values)
            turns = [*before, {**last, "content": f"{last['content']}\n\n{question}".strip()}]
            if len(values) < 3 or self._count(turns) <= self._limit:
                break
            values = values[: len(values) * 9 // 10]
        paths: list[LabelPath] = [(value,) for value in values]
        return Request(f"{descent.request.id}/{level}", turns, paths, scores[: len(paths)], descent.request.max_tokens)

    def _values(self, descent: _Descent, level: int) -> tuple[list[str], list[float]]:
        scores: dict[str, float] = {}
        for path, score in zip(descent.request.candidates, descent.request.scores, strict=True):
            if path[:level] == descent.path:
                scores[path[level]] = min(scores.get(path[level], 0.0) + score, 1.0)
        if not scores:
            children = self._taxonomy.children(descent.path)[:MOST_CHOICES]
            scores = dict.fromkeys(children, 1 / max(len(children), 1))
        return list(scores), list(scores.values())


def _started(request: Request) -> _Descent:
    mass = None if not request.candidates else dict.fromkeys(request.candidates, 1.0)
    return _Descent(request, request.messages, mass=mass)


def _step_down(descent: _Descent, request: Request, answer: Completion) -> None:
    descent.tokens[0] += answer.prompt_tokens
    descent.tokens[1] += answer.completion_tokens
    if answer.error is not None:
        descent.error = answer.error
        return
    values = [path[0] for path in request.candidates]
    text = _plain(answer.text)
    likeness = [Indel.normalized_similarity(value.casefold(), text.casefold()) for value in values]
    value = values[likeness.index(max(likeness))]
    if max(likeness) < LIKE_ENOUGH:
        descent.stray = text or " "
        return
    level = len(descent.path)
    if answer.logprobs is None:
        descent.mass = None
    elif descent.mass is not None:
        chance = dict(zip(values, map(math.exp, answer.logprobs), strict=True))
        within = [path for path in descent.mass if path[:level] == descent.path]
        for path in within:
            # Beside the way taken, what a value got is shared out below it by the retriever's scores.
            descent.mass[path] *= chance.get(path[level], 0.0)
    descent.path = (*descent.path, value)
    descent.messages = [
        *request.messages,
        {"role": "assistant", "content": one_line(text)},
        {"role": "user", "content": ""},
    ]


def _plain(text: str) -> str:
    """Return the value of an answer that may be an object."""
    try:
        value = json.loads(text)
    except ValueError:
        return text.strip()
    return str(value.get(JSON_KEY, text)) if isinstance(value, dict) else text.strip()


def _finished(descent: _Descent) -> Completion:
    descent.open = False
    read, written = descent.tokens
    if descent.stray:
        return Completion(descent.request.id, SEPARATOR.join((*descent.path, descent.stray)), None, read, written)
    if descent.error is not None:
        return Completion(descent.request.id, prompt_tokens=read, completion_tokens=written, error=descent.error)
    logprobs = None
    if descent.mass is not None:
        mass = _shared(descent)
        logprobs = [round(math.log(mass[path]), 6) for path in descent.request.candidates]
    return Completion(descent.request.id, SEPARATOR.join(descent.path), logprobs, read, written)


def _shared(descent: _Descent) -> dict[LabelPath, float]:
    """Return the candidates' probabilities: below a value that was not taken, shared out by the retriever's scores."""
    assert descent.mass is not None
    scores = dict(zip(descent.request.candidates, descent.request.scores, strict=True))
    taken = descent.path
    groups: dict[LabelPath, list[LabelPath]] = {}
    for path in scores:
        depth = next(
            (at for at, (mine, theirs) in enumerate(zip(path, taken, strict=True)) if mine != theirs), len(path)
        )
        groups.setdefault(path[: depth + 1], []).append(path)
    mass = {}
    for members in groups.values():
        weights = [max(scores[path], 1e-6) for path in members]
        for path, weight in zip(members, weights, strict=True):
            mass[path] = max(descent.mass[path] * weight / sum(weights), 1e-6)
    total = sum(mass.values())
    return {path: value / total for path, value in mass.items()}
