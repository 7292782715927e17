import math

import numpy as np
import pytest

from catalog.messages import Completion, Request
from classify.joint import FEWEST, Joint

PATHS = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]


def asked(rows: int, model_right: float, *, seed: int = 0, logprobs: bool = True):
    """Rows whose retriever is right in about half, and whose model in `model_right`."""
    rng = np.random.default_rng(seed)
    requests, answers, said, labels = [], [], [], []
    for row in range(rows):
        order = [PATHS[at] for at in rng.permutation(4)]
        truth = order[0] if rng.random() < 0.5 else order[int(rng.integers(1, 4))]
        pick = truth if rng.random() < model_right else order[int(rng.integers(4))]
        requests.append(Request(str(row), [{"role": "user", "content": "?"}], order, [0.5, 0.2, 0.1, 0.1]))
        told = [math.log(0.85 if path == pick else 0.05) for path in order] if logprobs else None
        answers.append(Completion(str(row), "__".join(pick), told))
        said.append(pick)
        labels.append(truth)
    return requests, answers, said, labels


@pytest.mark.parametrize("logprobs", [True, False])
def test_a_good_model_is_followed(logprobs: bool) -> None:
    joint = Joint.fit(*asked(300, 0.95, logprobs=logprobs))
    assert joint.report["used"]
    assert joint.report["joint"] > joint.report["retriever"] + 0.2
    requests, answers, said, _ = asked(100, 0.95, seed=1, logprobs=logprobs)
    chosen = [
        request.candidates[int(joint.probabilities(request, answer, path).argmax())]
        for request, answer, path in zip(requests, answers, said, strict=True)
    ]
    assert np.mean([mine == path for mine, path in zip(chosen, said, strict=True)]) > 0.9


def test_a_bad_model_is_not_heard() -> None:
    joint = Joint.fit(*asked(300, 0.0))
    if not joint.report["used"]:
        assert joint.choice is None
    requests, answers, said, _ = asked(50, 0.0, seed=1)
    firsts = [
        joint.probabilities(request, answer, path).argmax() == 0
        for request, answer, path in zip(requests, answers, said, strict=True)
    ]
    assert np.mean(firsts) > 0.9


def test_where_the_answers_help_nothing_the_retriever_s_probabilities_stand() -> None:
    requests, answers, said, labels = asked(100, 1.0)
    labels = [request.candidates[0] for request in requests]  # the retriever cannot be beaten
    joint = Joint.fit(requests, answers, said, labels)
    assert joint.choice is None
    assert joint.report["retriever"] == 1.0
    assert joint.probabilities(requests[0], answers[0], said[0]).tolist() == requests[0].scores


def test_too_few_rows_teach_nothing() -> None:
    assert Joint.fit(*asked(FEWEST - 1, 0.9)) is None
    assert Joint.fit(*asked(FEWEST, 0.9)) is not None
