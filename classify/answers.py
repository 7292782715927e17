"""From completions to predictions: parse, snap, weigh, and fall back on the best candidate where nothing is usable."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from catalog.messages import Completion, LabelPath, Prediction, Request, Status
from catalog.products import Products
from catalog.schema import Policy
from catalog.taxonomy import Taxonomy
from classify.joint import Joint
from classify.trust import Trust
from postprocess import Snapper

MISSING = Completion("", error="no answer recorded")


class AnswerReader:
    """Reads an engine's answers.

    Parameters
    ----------
    taxonomy : Taxonomy
        The valid label paths.
    policy : {'path', 'brand-free'}
        What is valid.
    joint : Joint or None
        Weighs answers and candidates; without it the answer counts.
    trust : Trust or None
        Calibrates the confidence of answers to requests without candidates; without it that of the answer counts.

    Attributes
    ----------
    outside : int
        Answers so far that named a path, but none of the candidates.
    overruled : int
        Answers so far that named a candidate, where another one was chosen.
    """

    def __init__(
        self, taxonomy: Taxonomy, policy: Policy, joint: Joint | None = None, trust: Trust | None = None
    ) -> None:
        self._snapper = Snapper(taxonomy, policy)
        self._frequent = max(taxonomy.counts.items(), key=lambda item: item[1])[0]
        self.joint, self.trust = joint, trust
        self.outside = self.overruled = 0

    def read(
        self, products: Products, requests: Sequence[Request], completions: Mapping[str, Completion]
    ) -> list[Prediction]:
        """Return one prediction for each product.

        A request without messages asked nothing: its candidate is the prediction. An answer that is not among a
        request's candidates counts as no answer: the best candidate takes its place, with status ``fallback``. After
        an error, or where nothing was recorded, the status is ``failed``. The confidence is the joint probability
        where there is one, else the engine's where it gives one, else the candidate's score.

        Where a request has no candidates, any valid path may be answered, and the most frequent one takes the place of
        an answer of no use, with a confidence of 0. That of the others is `confidence`, calibrated where there is a
        `trust`.

        Parameters
        ----------
        products : Products
            The rows, in the order of `requests`.
        requests : sequence of Request
            One for each product.
        completions : mapping of request id to Completion
            What is recorded.
        """
        answers = [completions.get(request.id, MISSING) for request in requests]
        for request, answer in zip(requests, answers, strict=True):
            answer.check_answers(request)
        read = self.paths(requests, answers, products.texts, products.retailers)
        return [
            self._prediction(products.ids[row], request, answer, *found)
            for row, (request, answer, found) in enumerate(zip(requests, answers, read, strict=True))
        ]

    def paths(
        self, requests: Sequence[Request], answers: Sequence[Completion], texts: Sequence[str], retailers: Sequence[str]
    ) -> list[tuple[LabelPath | None, Status, float]]:
        """Return what each answer says: a path, None where it is of no use; a status; and how sure the reading is."""
        snapped = self._snapper.snap_all(
            [answer.text for answer in answers],
            texts=texts,
            retailers=retailers,
            candidates=[request.candidates for request in requests],
        )
        read: list[tuple[LabelPath | None, Status, float]] = []
        for request, answer, found in zip(requests, answers, snapped, strict=True):
            if answer.error is not None:
                read.append((None, "failed", 0.0))
            elif found.path is None or (request.candidates and found.path not in request.candidates):
                self.outside += found.path is not None
                read.append((None, "fallback", 0.0))
            else:
                read.append((found.path, "exact" if found.status == "exact" else "repaired", found.sureness))
        return read

    def _prediction(
        self, row: int | str, request: Request, answer: Completion, path: LabelPath | None, status: Status, sure: float
    ) -> Prediction:
        if not request.messages:
            return Prediction(row, request.candidates[0], request.scores[0], "exact")
        if not request.candidates:
            chance = confidence(answer, sure)
            if path is not None and self.trust is not None:
                chance = self.trust.probability(chance)
            return Prediction(row, path or self._frequent, chance, status)
        if self.joint is not None and answer.error is None:
            chances = self.joint.probabilities(request, answer, path)
            place = int(chances.argmax())
            chosen = request.candidates[place]
            self.overruled += path is not None and chosen != path
            return Prediction(row, chosen, min(float(chances[place]), 1.0), status)
        place = request.candidates.index(path) if path is not None else 0
        told = answer.logprobs is not None and answer.error is None
        chance = math.exp(answer.logprobs[place]) if told and answer.logprobs else request.scores[place]
        return Prediction(row, request.candidates[place], chance, status)


def confidence(answer: Completion, sure: float) -> float:
    """Return how sure an answer to a request without candidates is, in [0, 1].

    Parameters
    ----------
    answer : Completion
        Its probability as a whole counts, where it is told.
    sure : float
        How sure the reading of it is, in [0, 1].
    """
    return sure if answer.logprob is None else math.exp(min(answer.logprob, 0.0)) * sure
