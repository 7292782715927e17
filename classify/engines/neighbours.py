"""No LLM: the candidate for which the retrieved products speak most is the answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from catalog.messages import Completion, Request
from catalog.schema import SEPARATOR
from classify.engines.base import EngineOptions
from classify.engines.forms import AnswerForm


class NeighboursEngine:
    """Answers with the most probable candidate of the request, whose scores are the neighbours' vote."""

    name = "neighbours"
    needs = None
    options_class = EngineOptions
    deterministic = True

    def __init__(self, options: EngineOptions) -> None:
        self.options = options
        self.form: AnswerForm | None = None
        self.report: dict[str, Any] = {}

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield the first candidate of each request, in order, with the logarithms of the scores."""
        for request in requests:
            if not request.candidates:
                yield Completion(request.id, error="no candidates")
                continue
            logprobs = [round(math.log(max(score, 1e-12)), 6) for score in request.scores]
            yield Completion(request.id, SEPARATOR.join(request.candidates[0]), logprobs)
