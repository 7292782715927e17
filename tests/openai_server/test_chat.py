"""Chat completions, models and tokens."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import APIStatusError, BadRequestError, NotFoundError, OpenAI

from tests.openai_server import KEY, Server, count_tokens, pieces, running
from tests.openai_server.asking import client_of, request, row, run


@given(st.text() | st.text(st.characters(max_codepoint=127)))
def test_tokens_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert count_tokens(text) == len(pieces(text))


def test_a_base_model_answers(server: Server, client: OpenAI) -> None:
    assert client.chat.completions.create(**request("red shoe")).choices[0].message.content == "red shoe"
    server.state.answer = lambda body: f"{body['model']}: a > b > c"
    answer = client.chat.completions.create(**request())
    assert answer.choices[0].message.content == "gpt-4o-mini: a > b > c"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, count_tokens("gpt-4o-mini: a > b > c"))
    assert server.state.billed()["chat"]["bills"] == 2


def test_an_answer_is_cut(client: OpenAI) -> None:
    stopped = client.chat.completions.create(**request("a > b\nc", stop=["\n", "nothing"])).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == ("a > b", "stop")
    for name in ("max_tokens", "max_completion_tokens"):
        cut = client.chat.completions.create(**request("a > b\nc", **{name: 2})).choices[0]
        assert (cut.message.content, cut.finish_reason) == ("a >", "length")


def test_logprobs(client: OpenAI) -> None:
    asked = request("kāpēc > shoes", logprobs=True, top_logprobs=3)
    first, second = (client.chat.completions.create(**asked).choices[0] for _ in range(2))
    assert first.logprobs is not None
    assert first.logprobs == second.logprobs
    entries = first.logprobs.content or []
    assert "".join(entry.token for entry in entries) == "kāpēc > shoes"
    for entry in entries:
        assert bytes(entry.bytes or []).decode() == entry.token
        assert [len(entry.top_logprobs), entry.top_logprobs[0].token] == [3, entry.token]
        assert 0 >= entry.logprob > entry.top_logprobs[1].logprob


def test_refusals_and_filters(server: Server, client: OpenAI) -> None:
    server.state.refuses, server.state.filters = {"knife"}, lambda text: "poison" in text
    refused = client.chat.completions.create(**request("a knife")).choices[0]
    assert (refused.message.content, bool(refused.message.refusal), refused.finish_reason) == (None, True, "stop")
    assert client.chat.completions.create(**request("poison")).choices[0].finish_reason == "content_filter"


@pytest.mark.parametrize(
    "body", [{"stop": list("abcde")}, {"top_logprobs": 2}, {"max_tokens": 0}, {"stream": True}, {"messages": 7}]
)
def test_a_malformed_request(server: Server, client: OpenAI, body: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError):
        client.post("/chat/completions", body=request() | body, cast_to=object)
    assert server.state.ledger == []


def test_an_unknown_model_and_address(client: OpenAI) -> None:
    with pytest.raises(NotFoundError, match="does not exist") as missing:
        client.chat.completions.create(**request(model="nobody"))
    assert missing.value.code == "model_not_found"
    assert client.models.retrieve("gpt-4o").id in [model.id for model in client.models.list()]
    with pytest.raises(NotFoundError):
        client.models.retrieve("nobody")
    with pytest.raises(NotFoundError, match="Invalid URL"):
        client.get("/nowhere", cast_to=object)


def test_a_key_without_money() -> None:
    with running(poor={KEY}) as server:
        client = client_of(server.url)
        with pytest.raises(APIStatusError) as refused:
            client.chat.completions.create(**request())
        assert (refused.value.status_code, refused.value.code) == (429, "insufficient_quota")
        batch = run(client, 3)
        assert batch.status == "failed"
        assert batch.errors is not None
        assert "billing_hard_limit_reached" in batch.errors.to_json()
        file = client.files.create(file=("a.jsonl", str(row(0)).encode()), purpose="fine-tune")
        with pytest.raises(APIStatusError, match="quota"):
            client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id)
        assert server.state.ledger == []
