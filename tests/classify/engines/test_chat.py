import math

import pytest

from catalog.messages import Completion, Request
from catalog.taxonomy import Taxonomy
from classify.engines import chat
from classify.engines.base import ModelOptions
from classify.engines.forms import AnswerForm

ASKED = Request("1-a", [{"role": "user", "content": "milk?"}], [("food", "milk"), ("food", "tea")], [0.6, 0.4], 32)
FREE = Request("2-b", [{"role": "user", "content": "milk?"}])
TAXONOMY = Taxonomy(("group", "brand"), {("food", "milk"): 1, ("food", "tea"): 1})
FORM = AnswerForm(TAXONOMY, "path", "json")


def test_body_of_a_choice():
    options = ModelOptions(llm="m", temperature=0.5, seed=3)
    assert chat.body(ASKED, options, constrain="choice", logprobs=True) == {
        "model": "m",
        "messages": ASKED.messages,
        "max_tokens": 32,
        "temperature": 0.5,
        "seed": 3,
        "logprobs": True,
        "top_logprobs": 20,
        "structured_outputs": {"choice": ["food__milk", "food__tea"]},
    }


def test_body_of_json():
    value = chat.body(ASKED, ModelOptions(llm="m", max_tokens=9), constrain="json", logprobs=False)
    assert value["max_tokens"] == 9
    assert "logprobs" not in value
    assert value["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"] == [
        "food__milk",
        "food__tea",
    ]
    assert "JSON" in value["messages"][-1]["content"]


def test_body_without_candidates_is_free_but_for_its_form():
    usual = {"model", "messages", "max_tokens", "temperature", "seed"}
    for constrain in ("choice", "json", "off"):
        assert chat.body(FREE, ModelOptions(llm="m"), constrain=constrain, logprobs=False).keys() == usual
    value = chat.body(FREE, ModelOptions(llm="m"), constrain="json", logprobs=True, form=FORM)
    assert value.keys() == {*usual, "logprobs", "response_format"}  # and no alternatives
    schema = value["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["brand"] == {"type": "string", "enum": ["milk", "tea"]}
    joined = AnswerForm(TAXONOMY, "path", "joined")
    assert chat.body(FREE, ModelOptions(llm="m"), constrain="json", logprobs=False, form=joined).keys() == usual


def test_read_the_probability_of_a_whole_answer(loopback):
    body = loopback.answer("food__milk")
    tokens = [("food__", math.log(0.5)), ("milk", math.log(0.25))]
    body["choices"][0]["logprobs"] = {"content": [{"token": text, "logprob": value} for text, value in tokens]}
    done = chat.read(FREE, body, "off")
    assert done.logprob == pytest.approx(math.log(0.125), abs=1e-5)
    assert done.logprobs is None
    assert chat.read(ASKED, body, "choice").logprob is None
    assert Completion.from_dict(done.to_dict()) == done
    assert chat.read(FREE, loopback.answer("food__milk"), "off").logprob is None


def test_read_takes_the_first_choice_and_counts_tokens(loopback):
    body = loopback.answer("food__milk")
    body["choices"].append({"message": {"content": "food__tea"}, "finish_reason": "stop"})
    done = chat.read(ASKED, body, "choice")
    assert (done.id, done.text, done.prompt_tokens, done.completion_tokens) == ("1-a", "food__milk", 7, 3)
    assert done.logprobs is None


def test_read_logprobs(loopback):
    def token(text: str, **others: float) -> dict:
        top = [{"token": other, "logprob": logprob} for other, logprob in others.items()]
        return {"token": text, "logprob": others[text], "top_logprobs": top}

    body = loopback.answer("food__milk")
    body["choices"][0]["logprobs"] = {
        "content": [token("food__", food__=0.0), token("milk", milk=math.log(0.75), tea=math.log(0.25))]
    }
    done = chat.read(ASKED, body, "choice")
    assert done.logprobs == pytest.approx([math.log(0.75), math.log(0.25)], abs=1e-4)
    body["choices"][0]["logprobs"] = {"content": [{"token": None}]}
    assert chat.read(ASKED, body, "choice").logprobs is None


def test_read_cut_answers_and_refusals(loopback):
    assert chat.read(ASKED, loopback.answer("food__mi", "length"), "choice").text == "food__mi"
    assert chat.read(ASKED, loopback.answer(None, "content_filter"), "choice").error == "content filter"
    assert "length" in chat.read(ASKED, loopback.answer(None, "length"), "choice").error
    body = loopback.answer(None)
    body["choices"][0]["message"]["refusal"] = "No."
    assert chat.read(ASKED, body, "choice").error == "the model refused: No."


@pytest.mark.parametrize(
    "body", [None, [], "x", {}, {"choices": []}, {"choices": None}, {"choices": [{}]}, {"choices": [{"message": None}]}]
)
def test_read_no_answer(body: object):
    with pytest.raises(chat.NoAnswerError):
        chat.read(ASKED, body, "choice")


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        ({"error": {"code": "c", "message": "m"}}, "c", "m"),
        ({"error": {"code": 400, "message": "m"}}, "400", "m"),
        ({"error": "m"}, "", "m"),
        ({"detail": "m"}, "", "m"),
        ({"object": "error", "message": "m"}, "", "m"),
        ("m", "", "m"),
        (None, "", ""),
    ],
)
def test_problem(body: object, code: str, reason: str):
    assert chat.problem(body) == (code, reason)


@pytest.mark.parametrize(
    "token",
    [
        {"token": "food__milk", "logprob": None},
        {"token": None, "logprob": "x"},
        {"token": "food__milk", "logprob": math.nan},
        {"token": "food__milk", "logprob": -0.1, "top_logprobs": [{"token": "x"}]},
        7,
    ],
)
def test_odd_logprobs_are_none(loopback, token):
    body = loopback.answer("food__milk")
    body["choices"][0]["logprobs"] = {"content": [token]}
    found = chat.read(ASKED, body, "choice")
    assert (found.text, found.logprobs) == ("food__milk", None)


def test_half_a_sign_can_be_written(loopback):
    found = chat.read(ASKED, loopback.answer("food__milk \ud83d"), "off")
    assert found.text == "food__milk ?"
    found.text.encode()
