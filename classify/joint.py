"""The joint decision: how far a language model's answer is trusted beside the retriever, learned on held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.messages import Completion, LabelPath, Request
from classify.choice import Choice, Figures, left_out_best, source_figures

FEWEST = 30
"""With fewer held-out rows nothing can be learned of an engine: its answers are taken as they are."""


@dataclass(frozen=True)
class Joint:
    """Chooses among a request's candidates by what both the retriever and the model say.

    Attributes
    ----------
    choice : Choice or None
        How the two are weighed; None where the model's answers made held-out rows no better: then the retriever's
        answer stands.
    report : dict
        ``rows`` (held out), the item accuracy on them of the ``retriever``, of the ``answers`` and of both, ``joint``
        (each row by weights fitted on others), and ``used``: whether the answers are.
    """

    choice: Choice | None
    report: dict[str, Any] = field(default_factory=dict)

    def probabilities(self, request: Request, answer: Completion, path: LabelPath | None) -> NDArray[np.float64]:
        """Return the probability that each candidate is the right one, shape (candidates,).

        Parameters
        ----------
        request, answer : Request, Completion
            What was asked, with at least one candidate, and what came back.
        path : label path or None
            What the answer says; None where it says nothing, or no candidate.
        """
        if self.choice is None:
            return np.array(request.scores)
        return self.choice.probabilities(evidence(request, answer, path))

    @classmethod
    def fit(
        cls,
        requests: Sequence[Request],
        answers: Sequence[Completion],
        paths: Sequence[LabelPath | None],
        labels: Sequence[LabelPath],
    ) -> Joint | None:
        """Learn from held-out rows; None where there are fewer than `FEWEST`.

        Parameters
        ----------
        requests, answers : sequences of Request and Completion
            Each with at least one candidate, and without an error.
        paths : sequence of (label path or None)
            What each answer says.
        labels : sequence of label paths
            What would have been right.
        """
        if len(requests) < FEWEST:
            return None
        rows = [evidence(*one) for one in zip(requests, answers, paths, strict=True)]
        right = [_place(label, request) for label, request in zip(labels, requests, strict=True)]
        said = [max(_place(path, request), 0) for path, request in zip(paths, requests, strict=True)]
        both = left_out_best(rows, right)
        hits = {
            "retriever": _share([place == 0 for place in right]),
            "answers": _share([mine == place for mine, place in zip(said, right, strict=True)]),
            "joint": _share([mine == place for mine, place in zip(both, right, strict=True)]),
        }
        used = hits["joint"] > hits["retriever"]
        return cls(Choice.fit(rows, right) if used else None, {"rows": len(rows), **hits, "used": used})


def evidence(request: Request, answer: Completion, path: LabelPath | None) -> Figures:
    """Return the features of each candidate: the retriever's probability, the model's, and whether it is the answer."""
    chances = [None] * len(request.candidates) if answer.logprobs is None else np.exp(answer.logprobs).tolist()
    is_answer = np.array([[float(candidate == path)] for candidate in request.candidates])
    return np.concatenate([source_figures(request.scores), source_figures(chances), is_answer], axis=1)


def _place(path: LabelPath | None, request: Request) -> int:
    return request.candidates.index(path) if path in request.candidates else -1


def _share(hits: Sequence[bool]) -> float:
    return round(float(np.mean(hits)), 6)
