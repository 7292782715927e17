"""Lines of batch files: whatever a provider writes into them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.messages import Request
from classify.engines.base import ModelOptions
from classify.engines.batch_files import Outcome, outcome, output_line, output_lines, request_line

ASKED = Request("1-a", [{"role": "user", "content": "milk?"}], [("food", "milk"), ("food", "tea")], [0.6, 0.4], 32)
FREE = Request("2-b", [{"role": "user", "content": "milk?"}])

NAMES = ("choices", "message", "content", "refusal", "finish_reason", "usage", "prompt_tokens", "completion_tokens",
         "logprobs", "token", "logprob", "top_logprobs", "error", "code", "message", "detail", "response", "body",
         "status_code", "custom_id")  # fmt: skip
WORDS = (
    "",
    "stop",
    "length",
    "content_filter",
    "batch_expired",
    "food__milk",
    '{"label": "food__milk"}',
    "\ud83c",
    "4",
)
NUMBERS = (0, 1, -1, 200, 429, 10**400, 1e308, float("inf"), float("-inf"), float("nan"))
PLAIN = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.sampled_from(WORDS) | st.text(max_size=4)
ANY = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=12,
)


def good() -> dict[str, Any]:
    """A line as it should be."""
    tokens = [{"token": text, "logprob": -0.5, "top_logprobs": [{"token": "x", "logprob": -2.0}]} for text in "ab"]
    choice = {"message": {"content": "ab", "refusal": None}, "finish_reason": "stop", "logprobs": {"content": tokens}}
    body = {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    return {"custom_id": "1-a", "response": {"status_code": 200, "body": body}, "error": None}


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each place in a JSON value: what it is in, and its key or number."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """Lines of which a part or two are something else."""
    line = good()
    for _ in range(draw(st.integers(1, 3))):
        inside, key = draw(st.sampled_from([one for one in places(line) if one[1] != "custom_id"]))
        inside[key] = draw(ANY)
    return line


def check(found: Outcome) -> None:
    """It can be written down, and is what its kind says."""
    written = json.dumps(found.completion.to_dict(), ensure_ascii=False, allow_nan=False).encode()
    assert json.loads(written)["id"] == found.completion.id
    assert (found.kind == "answer") == (found.completion.error is None)
    assert min(found.completion.prompt_tokens, found.completion.completion_tokens) >= 0


@settings(max_examples=300)
@given(damaged(), st.sampled_from(["json", "off"]), st.sampled_from([ASKED, FREE]))
def test_any_line_has_an_outcome(line: dict[str, Any], constrain: Any, request: Request) -> None:
    check(outcome(request, line, constrain))


ODD: dict[str, tuple[tuple[str | int, ...], Any]] = {
    "endless tokens": (("usage", "prompt_tokens"), float("inf")),
    "tokens below none": (("usage", "completion_tokens"), -3),
    "a number beyond a float": (("choices", 0, "logprobs", "content", 0, "logprob"), 10**400),
    "of no probability": (("choices", 0, "logprobs", "content", 0, "logprob"), float("-inf")),
    "of hardly any": (("choices", 0, "logprobs", "content", 1, "logprob"), -9999.0),
    "less than a float": (("choices", 0, "logprobs", "content"), [{"token": "a", "logprob": -1e308}] * 2),
    "half a sign": (("choices", 0, "message"), {"content": "a\ud83c"}),
    "half a sign in a refusal": (("choices", 0, "message"), {"content": None, "refusal": "\ud83c"}),
    "half a sign at the end": (("choices", 0), {"message": {"content": None}, "finish_reason": "\ud83c"}),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("request_", [ASKED, FREE])
def test_odd_answers(name: str, request_: Request) -> None:
    line = good()
    (*path, last), value = ODD[name]
    inside = line["response"]["body"]
    for key in path:
        inside = inside[key]
    inside[last] = value
    check(outcome(request_, line, "off"))


def test_half_a_sign_in_an_error() -> None:
    check(outcome(FREE, {"custom_id": "1-a", "error": {"code": "\ud83c", "message": "\ud83c"}}, "off"))
    check(outcome(FREE, {"custom_id": "1-a", "error": "\ud83c"}, "off"))


def test_a_label_that_was_written_though_it_is_most_unlikely() -> None:
    """OpenAI gives -9999 for a token that is none of the likeliest: its probability as a float is 0."""
    line = good()
    tokens = [{"token": "food__", "logprob": -9999.0}, {"token": "milk", "logprob": -9999.0}]
    choice = {"message": {"content": "food__milk"}, "finish_reason": "stop", "logprobs": {"content": tokens}}
    line["response"]["body"]["choices"] = [choice]
    found = outcome(ASKED, line, "off")
    check(found)
    assert found.completion.logprobs is not None
    assert found.completion.logprobs[0] > found.completion.logprobs[1]


@given(st.dictionaries(st.sampled_from(NAMES), ANY))
def test_any_json_has_an_outcome(line: dict[str, Any]) -> None:
    check(outcome(FREE, line, "off"))


@given(st.binary() | damaged().map(lambda line: json.dumps(line).encode()))
def test_any_bytes_are_a_line_or_none(text: bytes) -> None:
    line = output_line(text)
    assert line is None or isinstance(line["custom_id"], str)


@given(damaged(), st.data())
def test_any_part_of_a_line_is_none(line: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(line).encode()
    end = data.draw(st.integers(0, len(text) - 1))
    assert output_line(text[:end]) is None


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000, b"\xff\xfe", b'{"custom_id": "a"}',
     b'{"custom_id": 7, "error": null}', b'{"custom_id": null, "response": {}}', b"NaN", b"null"],
)  # fmt: skip
def test_what_is_no_line(text: bytes) -> None:
    assert output_line(text) is None


def test_lines_of_a_file(tmp_path) -> None:
    path = tmp_path / "output"
    good = b'{"custom_id": "a", "response": {}}'
    path.write_bytes(b"\n" + good + b"\r\n\n  \n" + good + b"\n" + good[:9] + b"\n\xff\n" + good)
    assert [line is not None for line in output_lines(path)] == [True, True, False, False, True]


def test_a_request_and_its_line() -> None:
    request = Request("é\u2028", [{"role": "user", "content": "納豆\n\x85"}], max_tokens=7)
    text = request_line(request, ModelOptions(llm="m", constrain="off"), None, logprobs=False)
    assert text.count(b"\n") == 1
    line = json.loads(text)
    assert (line["custom_id"], line["method"], line["url"]) == (request.id, "POST", "/v1/chat/completions")
    assert line["body"]["messages"] == request.messages
    assert line["body"]["max_tokens"] == 7


def answer(status: int = 200, **choice: Any) -> dict[str, Any]:
    body = {"choices": [{"message": {"content": "food__milk"}, "finish_reason": "stop"} | choice]}
    return {"custom_id": "2-b", "response": {"status_code": status, "body": body}, "error": None}


def failed(status: int, code: str = "", message: str = "") -> dict[str, Any]:
    body = {"error": {"code": code, "message": message}}
    return {"custom_id": "2-b", "response": {"status_code": status, "body": body}, "error": None}


def without(code: str) -> dict[str, Any]:
    return {"custom_id": "2-b", "response": None, "error": {"code": code, "message": "Sorry."}}


@pytest.mark.parametrize(
    ("line", "kind", "error"),
    [
        (answer(), "answer", None),
        (answer(finish_reason="length"), "answer", None),
        (answer(finish_reason="content_filter"), "refused", "content filter"),
        (answer(message={"content": None, "refusal": "No."}), "refused", "the model refused: No."),
        (answer(message={"content": ""}), "refused", "an answer without text (finish_reason stop)"),
        (answer(message=None), "refused", "an answer with no choices"),
        (failed(500, "", "Oh."), "missing", "Oh."),
        (failed(429, "rate_limit_exceeded", "Wait."), "missing", "rate_limit_exceeded Wait."),
        (failed(400, "invalid", "Too long."), "refused", "invalid Too long."),
        (failed(404, "model_not_found", "None."), "refused", "model_not_found None."),
        (failed(200), "refused", "an answer with no choices"),
        (without("batch_expired"), "missing", "batch_expired Sorry."),
        (without("batch_cancelled"), "missing", "batch_cancelled Sorry."),
        (without("moderation"), "refused", "moderation Sorry."),
        ({"custom_id": "2-b", "response": None, "error": None}, "silent", "no answer in the file"),
    ],
)
def test_outcomes(line: dict[str, Any], kind: str, error: str | None) -> None:
    found = outcome(FREE, line, "off")
    assert (found.kind, found.completion.error) == (kind, error)
    assert found.cut == ("length" in json.dumps(line))
