"""From completions to predictions: parse, snap, and fall back on the best candidate where there is no usable answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from catalog.messages import Completion, Prediction, Request, Status
from catalog.products import Products
from catalog.taxonomy import Policy, Taxonomy
from postprocess import Snapper


class AnswerReader:
    """Reads an engine's answers.

    Parameters
    ----------
    taxonomy : Taxonomy
        The valid label paths.
    policy : {'path', 'brand-free'}
        What is valid.
    """

    def __init__(self, taxonomy: Taxonomy, policy: Policy) -> None:
        self._snapper = Snapper(taxonomy, policy)
        self._frequent = max(taxonomy.counts.items(), key=lambda item: item[1])[0]

    def read(
        self, products: Products, requests: Sequence[Request], completions: Mapping[str, Completion]
    ) -> list[Prediction]:
        """Return one prediction for each product.

        An answer that is not among a request's candidates counts as no answer: the best candidate takes its place,
        with status ``fallback``. After an error, or where nothing was recorded, the status is ``failed``. The
        confidence is the engine's probability of the path where it gives one, else the candidate's score.

        Parameters
        ----------
        products : Products
            The rows, in the order of `requests`.
        requests : sequence of Request
            One for each product.
        completions : mapping of request id to Completion
            What is recorded.
        """
        missing = Completion("", error="no answer recorded")
        answers = [completions.get(request.id, missing) for request in requests]
        snapped = self._snapper.snap_all(
            [answer.text for answer in answers],
            texts=products.texts,
            retailers=products.retailers,
            candidates=[request.candidates for request in requests],
        )
        predictions = []
        for row, (request, answer, found) in enumerate(zip(requests, answers, snapped, strict=True)):
            path = found.path
            status: Status = "exact" if found.status == "exact" else "repaired"
            if answer.error is not None:
                path, status = None, "failed"
            elif path is None or (request.candidates and path not in request.candidates):
                path, status = None, "fallback"
            if path is None:
                path = request.candidates[0] if request.candidates else self._frequent
            if path not in request.candidates:
                confidence = found.sureness if found.path is not None else 0.0
            else:
                place = request.candidates.index(path)
                confidence = request.scores[place] if answer.logprobs is None else math.exp(answer.logprobs[place])
            predictions.append(Prediction(products.ids[row], path, confidence, status))
        return predictions
