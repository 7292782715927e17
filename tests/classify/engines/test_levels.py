import math
from typing import ClassVar

import pytest

from catalog.messages import Completion, Request
from catalog.schema import Schema
from catalog.taxonomy import Taxonomy
from classify.engines.constraints import choices
from classify.engines.levels import LevelsEngine
from rag.prompts import Prompt

LEVELS = ("group", "module", "brand")
PATHS = {("a", "x", "1"): 3, ("a", "x", "2"): 2, ("a", "y", "1"): 1, ("b", "z", "1"): 5}
TAXONOMY = Taxonomy(LEVELS, PATHS)
PROMPT = Prompt(Schema("s", "id", ("text",), LEVELS), by_level=True)


class Scripted:
    """Answers each level with what it is told."""

    name, deterministic, needs = "scripted", False, None
    report: ClassVar[dict] = {}

    def __init__(self, *answers: str, logprobs: bool = True) -> None:
        self.answers, self.logprobs, self.asked = list(answers), logprobs, []

    def complete(self, requests):
        for request in requests:
            self.asked.append(request)
            text = self.answers.pop(0)
            if text == "!":
                yield Completion(request.id, error="time out", prompt_tokens=1)
                continue
            told = None
            if self.logprobs:
                rest = 0.2 / max(len(choices(request)) - 1, 1)
                told = [math.log(0.8 if label == text else rest) for label in choices(request)]
            yield Completion(request.id, text, told, 10, 2)


def asked(*paths: tuple[str, ...]) -> Request:
    scores = [0.5, 0.3, 0.1, 0.1][: len(paths)]
    return Request("7-h", [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], list(paths), scores)


def run(engine: Scripted, request: Request) -> Completion:
    (answer,) = LevelsEngine(engine, PROMPT, TAXONOMY).complete(iter([request]))
    assert answer.id == "7-h"
    return answer


def test_one_level_after_the_other() -> None:
    engine = Scripted("a", "x", "2")
    answer = run(engine, asked(*PATHS))
    assert answer.text == "a__x__2"
    assert (answer.prompt_tokens, answer.completion_tokens) == (30, 6)
    assert [choices(request) for request in engine.asked] == [["a", "b"], ["x", "y"], ["1", "2"]]
    first, second, _ = (request.messages for request in engine.asked)
    assert first[-1]["content"].startswith("u\n\nPossible values of group:\n- a\n- b")
    assert [turn["role"] for turn in second] == ["system", "user", "assistant", "user"]
    assert second[2]["content"] == "a"
    assert second[:2] == first
    assert second[3]["content"].startswith("Possible values of module")


def test_what_has_one_answer_is_not_asked() -> None:
    engine = Scripted("b")
    assert run(engine, asked(("a", "x", "1"), ("b", "z", "1"))).text == "b__z__1"
    assert len(engine.asked) == 1
    engine = Scripted()
    assert run(engine, asked(("a", "x", "1"))).text == "a__x__1"
    assert engine.asked == []


def test_the_candidates_probabilities_multiply_down_the_levels() -> None:
    answer = run(Scripted("a", "x", "2"), asked(*PATHS))
    chances = [math.exp(value) for value in answer.logprobs]
    assert sum(chances) == pytest.approx(1, abs=1e-4)
    assert chances == pytest.approx([0.8 * 0.8 * 0.2, 0.8**3, 0.8 * 0.2, 0.2], abs=1e-3)


def test_without_probabilities_there_are_none() -> None:
    assert run(Scripted("a", "x", "1", logprobs=False), asked(*PATHS)).logprobs is None


def test_without_candidates_the_taxonomy_is_asked() -> None:
    engine = Scripted("b", logprobs=False)
    assert run(engine, asked()).text == "b__z__1"
    assert choices(engine.asked[0]) == ["a", "b"]


def test_an_error_on_the_way_is_the_answer_s() -> None:
    answer = run(Scripted("a", "!"), asked(*PATHS))
    assert answer.error == "time out"
    assert (answer.prompt_tokens, answer.text) == (11, "")


@pytest.mark.parametrize("text", ['{"label": "b"}', "B", " b\n"])
def test_an_answer_that_is_near(text: str) -> None:
    assert run(Scripted(text, logprobs=False), asked(*PATHS)).text == "b__z__1"
