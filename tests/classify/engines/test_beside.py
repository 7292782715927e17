"""What is told beside an answer never costs the answer: by a server, by batches, from a file, of a search."""

import asyncio
import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.messages import Completion, Request
from classify.costs import Budget, load_prices
from classify.engines import beside, chat
from classify.engines.batch import BatchEngine
from classify.engines.batch_files import outcome
from classify.engines.batch_options import BatchOptions
from classify.engines.server import ServerEngine, ServerOptions
from classify.provider.seen import Seen, seen, seen_job, shown_id
from classify.search.base import SearchOptions
from classify.search.openai import OpenaiSearch
from tests.openai_server import Server, running
from tests.openai_server.driving import MODEL, at_once, some_requests

ASKED = Request("1-a", [{"role": "user", "content": "milk?"}], [("food", "milk"), ("food", "tea")], [0.6, 0.4], 32)
FREE = Request("2-b", [{"role": "user", "content": "milk?"}])
ROWS = 3

NUMBERS = (0, 1, -1, 7, True, 10**400, -(10**400), 1e308, math.inf, -math.inf, math.nan, 2.5)
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from(NUMBERS)
    | st.text(max_size=4)
    | st.sampled_from(["\ud83c", "7", "length"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)
USAGE = ANY | st.fixed_dictionaries({"prompt_tokens": ANY, "completion_tokens": ANY})
TOKEN = ANY | st.fixed_dictionaries(
    {"token": st.sampled_from(["food__", "milk", "tea"]) | ANY, "logprob": st.floats() | ANY, "top_logprobs": ANY}
)
LOGPROBS = ANY | st.fixed_dictionaries({"content": st.lists(TOKEN, max_size=4) | ANY})
MESSAGE = st.fixed_dictionaries({"content": st.just("food__milk")}, optional={"refusal": ANY, "tool_calls": ANY})
CHOICE = st.fixed_dictionaries(
    {"message": MESSAGE}, optional={"logprobs": LOGPROBS, "finish_reason": ANY, "index": ANY, "other": ANY}
)
BODY = st.fixed_dictionaries(
    {"choices": st.lists(CHOICE, min_size=1, max_size=3)},
    optional={"usage": USAGE, "model": ANY, "id": ANY, "created": ANY, "object": ANY},
)


def written(completion: Completion) -> None:
    """It can be written, read back, and is what its class says."""
    text = json.dumps(completion.to_dict(), ensure_ascii=False, allow_nan=False)
    text.encode()
    assert Completion.from_dict(json.loads(text)) == completion


@pytest.mark.parametrize("request_", [ASKED, FREE])
@given(body=BODY)
def test_a_good_answer_is_one_whatever_stands_beside_it(request_: Request, body: dict[str, Any]) -> None:
    found = chat.read(request_, body, "off")
    if found.error != "content filter":
        assert (found.text, found.error) == ("food__milk", None)
    found.check_answers(request_)
    written(found)
    line = {"custom_id": request_.id, "response": {"status_code": 200, "body": body}, "error": None}
    assert outcome(request_, line, "off").completion == found


@given(body=ANY | st.fixed_dictionaries({"choices": ANY | st.lists(ANY, max_size=2), "usage": USAGE}))
def test_whatever_is_no_answer_is_an_error(body: Any) -> None:
    line = {"custom_id": "1-a", "response": {"status_code": 200, "body": body}, "error": None}
    written(outcome(ASKED, line, "off").completion)
    with contextlib.suppress(chat.NoAnswerError):
        written(chat.read(ASKED, body, "off"))


class Shown:
    """What the client gives of an object."""

    def __new__(cls, **value: Any) -> Any:
        from openai.types import Batch

        return Batch.construct(**value)


FIELDS = ("id", "status", "input_file_id", "output_file_id", "error_file_id", "request_counts", "usage", "errors",
          "metadata", "created_at", "result_files", "error", "hyperparameters", "trained_tokens")  # fmt: skip


@given(value=st.dictionaries(st.sampled_from(FIELDS), ANY))
def test_any_object_is_seen(value: dict[str, Any]) -> None:
    batch, job = seen(Shown(**value)), seen_job(Shown(**value), "job-1")
    json.dumps([vars(batch), vars(job)], allow_nan=False, ensure_ascii=False).encode()
    assert batch.turned_away in (True, False)
    assert batch.usage is None or min(batch.usage) >= 0
    assert min(batch.total, batch.completed, batch.failed) >= 0
    assert shown_id(batch.id).isprintable()


@pytest.mark.parametrize("value", [None, [], "x", 7, {"id": "a"}])
def test_what_is_no_object_is_an_empty_one(value: Any) -> None:
    assert seen(value) == Seen("", "")


@given(st.binary() | st.text())
def test_decoding_raises_nothing_else(content: bytes | str) -> None:
    with contextlib.suppress(ValueError):
        beside.decode(content)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, b"[" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000, b"\xff", b"{", ""]
)
def test_what_cannot_be_decoded(content: bytes | str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        beside.decode(content)


def test_a_number_of_any_length_is_decoded() -> None:
    assert beside.decode(b'{"usage": ' + b"9" * 5000 + b', "a": 7}') == {"usage": math.inf, "a": 7}


ODD: dict[str, dict[str, Any]] = {
    "usage as text": {"usage": "plenty"},
    "no usage": {"usage": None},
    "usage as a list": {"usage": [7, 3]},
    "tokens as text": {"usage": {"prompt_tokens": "seven", "completion_tokens": "three"}},
    "tokens below none": {"usage": {"prompt_tokens": -7, "completion_tokens": -3}},
    "tokens beyond all": {"usage": {"prompt_tokens": 10**400, "completion_tokens": 10**400}},
    "tokens that are no number": {"usage": {"prompt_tokens": math.nan, "completion_tokens": math.inf}},
    "a model of another kind": {"model": {"a": 1}, "id": 7, "created": "today", "object": None},
}
ODD_CHOICES: dict[str, dict[str, Any]] = {
    "a reason of another kind": {"finish_reason": ["stop"]},
    "no reason": {"finish_reason": None},
    "log-probabilities of another kind": {"logprobs": "none"},
    "log-probabilities above none": {"logprobs": {"content": [{"token": "a", "logprob": 1e300}]}},
    "log-probabilities that are none": {"logprobs": {"content": [{"token": None, "logprob": math.nan}]}},
    "an index of another kind": {"index": "first"},
}
EVERY = [*ODD, *ODD_CHOICES]


@pytest.fixture
def server() -> Any:
    with running() as made, at_once():
        yield made


def make_odd(server: Server, name: str) -> None:
    server.state.odd_answer, server.state.odd_choice = ODD.get(name, {}), ODD_CHOICES.get(name, {})


@pytest.mark.parametrize("name", EVERY)
def test_a_server_is_asked_once(server: Server, name: str) -> None:
    make_odd(server, name)
    engine = ServerEngine(ServerOptions(llm=MODEL, base_url=server.url, constrain="off"))
    found = list(engine.complete(some_requests(ROWS)))
    assert [one.error for one in found] == [None] * ROWS
    assert server.state.billed()["chat"]["bills"] == ROWS
    billed = server.state.billed()["chat"]
    assert sum(one.prompt_tokens for one in found) >= billed["prompt_tokens"]
    assert sum(one.completion_tokens for one in found) >= billed["completion_tokens"]
    assert all(one.completion_tokens <= 16 for one in found)
    unsure = "usage" in name or "tokens" in name
    assert [one.unsure for one in found] == [unsure] * ROWS


@pytest.mark.parametrize("usage", [0, 1e9])
@pytest.mark.parametrize("name", EVERY)
def test_batches_are_paid_once(server: Server, tmp_path: Path, name: str, usage: float) -> None:
    make_odd(server, name)
    server.faults.no_usage = usage
    engine = BatchEngine(BatchOptions(llm=MODEL, base_url=server.url, poll=0.01, constrain="off"))
    budget = Budget(0.001, load_prices().of(MODEL), batch=True)
    engine.keep_books(tmp_path / "batches", "run", budget, begun=False)
    found = list(engine.complete(some_requests(ROWS)))
    assert [one.error for one in found] == [None] * ROWS
    assert set(server.state.processed().values()) == {1}
    billed = server.state.billed()["batch"]
    told = engine.report["billed_tokens"]
    assert told[0] >= billed["prompt_tokens"]
    assert told[1] >= billed["completion_tokens"]
    assert engine.report["unsure"] == (ROWS if usage and ("usage" in name or "tokens" in name) else 0)
    assert budget.spent < 0.001


@pytest.mark.parametrize("name", EVERY)
def test_a_search_is_paid_once(server: Server, name: str) -> None:
    make_odd(server, name)
    options = SearchOptions(search="openai", llm=MODEL, base_url=server.url, price_per_1000=10)

    async def once() -> Any:
        provider = OpenaiSearch(options)
        await provider.connection.open()
        try:
            return await provider.search("milk"), provider.most("milk")
        finally:
            await provider.connection.close()

    (snippets, dollars), most = asyncio.run(once())
    assert [snippet.text for snippet in snippets] == ["milk"]
    assert 0.01 <= dollars <= most


ANSWERS: dict[str, tuple[Any, str, str | None]] = {
    "parts": ({"content": [{"type": "text", "text": "food__"}, {"type": "text", "text": "milk"}]}, "food__milk", None),
    "odd parts": ({"content": [7, {"text": 7}, {"type": "image"}, {"text": "food__milk"}, None]}, "food__milk", None),
    "no parts": ({"content": []}, "", "an answer without text (finish_reason stop)"),
    "no content": ({"content": None}, "", "an answer without text (finish_reason stop)"),
    "calls of tools": ({"content": None, "tool_calls": [{}]}, "", "an answer without text (finish_reason stop)"),
    "content of another kind": ({"content": {"a": 1}}, "", "an answer without text (finish_reason stop)"),
    "a refusal of another kind": (
        {"content": None, "refusal": {"a": 1}},
        "",
        "an answer without text (finish_reason stop)",
    ),
    "a long refusal": ({"content": None, "refusal": "No. " * 999}, "", f"the model refused: {'No. ' * 74}No...."),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_content_of_all_kinds(name: str) -> None:
    message, text, error = ANSWERS[name]
    body = {"choices": [{"message": message, "finish_reason": "stop"}] * 300, "usage": {}}
    found = chat.read(ASKED, body, "off")
    assert found.text == text
    assert (found.error or "")[:300] == (error or "")[:300]
    written(found)
