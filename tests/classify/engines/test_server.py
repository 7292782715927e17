import asyncio
import email.utils
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from pydantic import ValidationError

from catalog.errors import ShelfmarkError
from catalog.messages import Completion, Request
from catalog.taxonomy import Taxonomy
from classify.engines.forms import AnswerForm
from classify.engines.server import MORE_FAILURES, ServerEngine, ServerOptions

KEY = "sk-secret-1234567890"
CANDIDATES = [("food", "milk"), ("food", "tea")]


def requests(count: int, candidates: list | None = None) -> list[Request]:
    paths = CANDIDATES if candidates is None else candidates
    scores = [1 / len(paths)] * len(paths) if paths else []
    return [Request(f"{row}-x", [{"role": "user", "content": f"answer {row}"}], paths, scores) for row in range(count)]


class Patience:
    """In place of sleeping: how long it would have been."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def engine(loopback) -> Callable[..., ServerEngine]:
    def make(**options: object) -> ServerEngine:
        made = ServerEngine(ServerOptions(**{"base_url": loopback.url, "llm": "first", "timeout": 60.0, **options}))
        made.sleep = Patience()
        return made

    return make


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name != "loopback"}


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = threads()
    yield
    assert threads() == before


def done(engine: ServerEngine, asked: list[Request]) -> list[Completion]:
    """All completions, in the order of the requests; the key is in none of them."""
    completions = list(engine.complete(asked))
    assert sorted(completion.id for completion in completions) == sorted(request.id for request in asked)
    assert KEY not in f"{completions}{engine.report}"
    return sorted(completions, key=lambda completion: int(completion.id.split("-")[0]))


def said(body: dict) -> str:
    return body["messages"][-1]["content"]


def refused(engine: ServerEngine, asked: list[Request]) -> str:
    with pytest.raises(ShelfmarkError) as error:
        list(engine.complete(asked))
    assert KEY not in f"{error.value}{engine.report}"
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_request_gets_its_own_answer(loopback, engine):
    made = engine()
    assert [completion.text for completion in done(made, requests(200))] == [f"answer {row}" for row in range(200)]
    assert made.report == {
        "retries": 0,
        "server errors": {},
        "model": "first",
        "constrained by": "choice",
        "logprobs asked for": True,
    }
    assert loopback.bodies[0]["structured_outputs"] == {"choice": ["food__milk", "food__tea"]}
    assert f"Bearer {KEY}" in loopback.headers[0]


def test_nothing_is_asked_where_there_is_nothing_to_ask(loopback, engine):
    assert list(engine().complete([])) == []
    assert loopback.connections == 0


def test_without_a_key_none_is_sent(loopback, engine, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    done(engine(), requests(1))
    assert "authorization" not in loopback.headers[0].lower()


def test_the_first_model_is_the_default(loopback, engine):
    made = engine(llm="")
    done(made, requests(3))
    assert {body["model"] for body in loopback.bodies} == {"first"}
    assert loopback.paths.count("/v1/models") == 1
    assert made.report["model"] == "first"


def test_a_server_without_models(loopback, engine):
    loopback.models = loopback.reply(value={"data": []})
    assert "choose one with --llm" in refused(engine(llm=""), requests(1))


def test_the_address_from_the_environment(monkeypatch):
    assert ServerOptions().base_url == "http://localhost:8000/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://there/v1")
    assert ServerOptions().base_url == "http://there/v1"


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://x/v1", "http://", "nonsense"])
def test_no_address(url: str):
    with pytest.raises(ShelfmarkError, match="no address"):
        ServerEngine(ServerOptions(base_url=url))


def test_a_password_in_the_address_is_not_repeated():
    with pytest.raises(ShelfmarkError) as error:
        ServerEngine(ServerOptions(base_url="http://me:hush@host/v1"))
    assert "hush" not in str(error.value)


# Concurrency.


def test_no_more_than_so_many_at_once_over_connections_that_are_used_again(loopback, engine):
    loopback.full_at = 4

    def script(number, body):
        text = body["messages"][-1]["content"]
        return loopback.reply(value=loopback.answer(text), full=1 < number <= 5)

    loopback.script = script
    drawn = yielded = 0

    def draw() -> Iterator[Request]:
        nonlocal drawn
        for request in requests(40):
            drawn += 1
            assert drawn - yielded <= 4
            yield request

    for _ in engine(concurrency=4).complete(draw()):
        yielded += 1
    assert yielded == 40
    assert loopback.most == 4
    assert loopback.connections == 4


def test_the_first_request_goes_alone(loopback, engine):
    drawn = []
    loopback.script = lambda number, body: loopback.reply(status=401, value={})
    refused(engine(), (drawn.append(request) or request for request in requests(50)))
    assert len(drawn) == 1


def hanging_after(loopback, answers: int) -> None:
    loopback.script = lambda number, body: None if number <= answers else loopback.reply(hang=True)


def test_closing_early_cancels_all(loopback, engine):
    hanging_after(loopback, 2)
    before = threads()
    completions = engine(concurrency=8).complete(requests(100))
    next(completions)
    next(completions)
    assert threads() - before == {"shelfmark-background"}
    completions.close()
    assert threads() == before
    assert len(loopback.bodies) <= 1 + 8


def test_a_consumer_that_raises_leaves_nothing(loopback, engine):
    hanging_after(loopback, 2)

    def work() -> None:
        for number, _ in enumerate(engine().complete(requests(100))):
            if number == 1:
                raise KeyError

    with pytest.raises(KeyError) as error:
        work()
    error.value.__traceback__ = None  # it holds the generator


def test_requests_that_raise_leave_nothing(engine):
    def draw() -> Iterator[Request]:
        yield from requests(3)
        raise KeyError

    with pytest.raises(KeyError):
        list(engine(concurrency=2).complete(draw()))


# Troubles that pass.


def first_time(loopback, reply):
    """Each request has this trouble once; then it is answered."""
    seen = set()

    def script(number, body):
        text = body["messages"][-1]["content"]
        if text in seen:
            return None
        seen.add(text)
        return reply

    loopback.script = script


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        ("HTTP 408", {"status": 408, "value": {}}),
        ("HTTP 409", {"status": 409, "value": {}}),
        ("HTTP 429", {"status": 429, "value": {"error": {"message": "slow down"}}}),
        ("HTTP 500", {"status": 500, "content": b"<h1>Oops</h1>"}),
        ("HTTP 503", {"status": 503, "value": {}}),
        ("connection lost", {"reset": True}),
        ("connection lost", {"content": b'{"choices": [', "headers": {"Content-Length": "999"}}),
        ("no JSON", {"content": b'{"choices": ['}),
        ("no choices", {"value": {"choices": []}}),
        ("no choices", {"value": None}),
    ],
)
def test_a_trouble_that_passes(loopback, engine, kind: str, reply: dict):
    first_time(loopback, loopback.reply(**reply))
    made = engine(concurrency=8)
    assert [completion.text for completion in done(made, requests(20))] == [f"answer {row}" for row in range(20)]
    # A connection that was closed may have been taken up once more before that was known.
    errors = made.report["server errors"]
    assert errors.keys() == {kind}
    assert made.report["retries"] == errors[kind] >= 20
    assert all(0 <= seconds <= 30 for seconds in made.sleep.waits)
    assert len(made.sleep.waits) == made.report["retries"]


def test_a_hang_ends_at_the_timeout(loopback, engine):
    loopback.script = lambda number, body: loopback.reply(hang=True) if number == 1 else None
    made = engine(timeout=0.5)
    assert [completion.text for completion in done(made, requests(1))] == ["answer 0"]
    assert made.report["server errors"]["timeout"] == made.report["retries"] >= 1


def test_retry_after_in_seconds_and_as_a_date(loopback, engine):
    in_a_minute = email.utils.formatdate(time.time() + 60, usegmt=True)
    after = ["7", in_a_minute, "100000"]

    def script(number, body):
        return loopback.reply(429, value={}, headers={"Retry-After": after[number - 1]}) if number <= 3 else None

    loopback.script = script
    made = engine()
    done(made, requests(1))
    seven, minute, bounded = made.sleep.waits
    assert 7 <= seven <= 7.5
    assert 30 < minute <= 60.5  # a machine may dawdle
    assert 120 <= bounded <= 120.5


def test_the_same_answer_twice_is_taken_once(loopback, engine):
    def script(number, body):
        return loopback.reply(value=loopback.answer(body["messages"][-1]["content"]), times=2)

    loopback.script = script
    completions = done(engine(concurrency=1), requests(20))
    assert [completion.text for completion in completions] == [f"answer {row}" for row in range(20)]


def test_a_trouble_that_stays_is_an_error_of_that_request(loopback, engine):
    def script(number, body):
        return loopback.reply(500, value={"error": KEY}) if body["messages"][-1]["content"] == "answer 1" else None

    loopback.script = script
    made = engine(retries=2)
    first, second, third = done(made, requests(3))
    assert (first.error, third.error) == (None, None)
    assert second == Completion("1-x", error="HTTP 500: ***, after 2 retries")
    assert made.report["retries"] == 2
    assert made.report["server errors"] == {"HTTP 500": 3}


# A server that is gone, or was never there.


def test_no_server(engine):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        made = engine(base_url=url, retries=2)
        told = refused(made, requests(5))
    assert told.startswith(f"{url}: no server answers (no connection")
    assert "--base-url" in told
    assert made.report == {"retries": 2, "server errors": {"no connection": 3}, "model": "first"}


def test_a_server_that_never_answers(loopback, engine):
    loopback.script = lambda number, body: loopback.reply(reset=True)
    assert "no server answers (connection lost" in refused(engine(retries=1), requests(5))


def until_it_dies(loopback, engine, rows: int, answers: int) -> list[Completion]:
    got: list[Completion] = []

    def work() -> None:
        for completion in engine.complete(requests(rows)):
            got.append(completion)
            if len(got) == answers:
                loopback.die()

    with pytest.raises(ShelfmarkError, match=r"Recorded answers are kept: classify resume RUN carries on"):
        work()
    return got


def test_a_server_that_dies_in_the_middle(loopback, engine):
    got = until_it_dies(loopback, engine(concurrency=3, retries=2), 1000, 10)
    # What failed because nobody was there is not recorded: a resumed run asks it.
    assert all(completion.error is None for completion in got)
    assert 10 <= len(got) < 15


def test_a_server_that_dies_near_the_end(loopback, engine):
    got = until_it_dies(loopback, engine(concurrency=1, retries=1), 6, 3)
    assert [completion.error for completion in got] == [None] * 3


def test_a_server_that_answers_nothing_any_more(loopback, engine):
    loopback.script = lambda number, body: None if number <= 5 else loopback.reply(500, value={})
    drawn = []
    asked = (drawn.append(request) or request for request in requests(1000))
    told = refused(engine(concurrency=2, retries=1), asked)
    assert f"{2 + MORE_FAILURES} requests in a row failed" in told
    assert len(drawn) <= 5 + 2 + MORE_FAILURES + 2


# Troubles that stay.


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key(loopback, engine, status: int):
    loopback.script = lambda number, body: loopback.reply(status, value={"error": {"message": f"bad key {KEY}"}})
    made = engine()
    told = refused(made, requests(5))
    assert f"HTTP {status}; check the key in OPENAI_API_KEY; the server says: bad key ***" in told
    assert made.report["retries"] == 0


@pytest.mark.parametrize("row", [0, 7, 19])
def test_one_forbidden_request_costs_no_other_its_answer(loopback, engine, row: int):
    refusal = loopback.reply(403, value={"error": {"message": "flagged"}})
    loopback.script = lambda number, body: refusal if said(body) == f"answer {row}" else None
    completions = done(engine(concurrency=4), requests(20))
    assert [completion.error is None for completion in completions] == [number != row for number in range(20)]
    assert "flagged" in completions[row].error
    assert len(loopback.bodies) == 20


def test_what_is_in_flight_is_taken_before_a_useless_server_is_told_of(loopback, engine):
    answered = []

    def script(number: int, body: dict):
        if number == 9:
            return loopback.reply(402, value={"error": {"message": "no money"}})
        answered.append(number)
        return None

    loopback.script = script
    taken = []
    with pytest.raises(ShelfmarkError, match="no money"):
        taken.extend(engine(concurrency=8).complete(requests(200)))  # those before the error stay
    assert len(taken) == len(answered) > 8
    assert len(answered) < 40


@pytest.mark.parametrize("status", [200, 201, 203, 206])
def test_an_answer_is_one_whatever_stands_beside_or_behind_it(loopback, engine, status: int):
    def script(number: int, body: dict):
        return loopback.reply(status, content=json.dumps(loopback.answer(said(body))).encode() + b" \xff\n\0{}")

    loopback.script = script
    assert [completion.text for completion in done(engine(), requests(3))] == [f"answer {row}" for row in range(3)]
    assert len(loopback.bodies) == 3


def test_no_key_where_one_is_needed(loopback, engine, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    loopback.script = lambda number, body: loopback.reply(401, value={})
    made = engine()
    with pytest.raises(ShelfmarkError, match="OPENAI_API_KEY, which is not set"):
        list(made.complete(requests(1)))


def test_no_credit(loopback, engine):
    loopback.script = lambda number, body: loopback.reply(429, value={"error": {"code": "insufficient_quota"}})
    made = engine()
    assert "HTTP 429" in refused(made, requests(5))
    assert made.report["retries"] == 0


def test_a_wrong_model(loopback, engine):
    loopback.script = lambda number, body: loopback.reply(404, value={"error": {"message": "no such model"}})
    told = refused(engine(llm="secnd"), requests(5))
    assert "--llm secnd: unknown there (did you mean 'second'?); there are: first, second" in told


def test_a_wrong_address(loopback, engine):
    loopback.script = lambda number, body: loopback.reply(404, value={"detail": "Not Found"})
    loopback.models = loopback.reply(404, value={"detail": "Not Found"})
    assert "check --llm and --base-url, which mostly ends in /v1" in refused(engine(), requests(5))


def test_a_redirect(loopback, engine):
    loopback.script = lambda number, body: loopback.reply(301, content=b"", headers={"Location": "/v2"})
    assert "HTTP 301, so this API is not there; check --base-url" in refused(engine(), requests(5))


@pytest.mark.parametrize(
    "reply",
    [
        {"status": 200, "value": {"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]}},
        {"status": 400, "value": {"error": {"code": "content_filter", "message": "filtered"}}},
    ],
)
def test_a_content_filter(loopback, engine, reply: dict):
    loopback.script = lambda number, body: loopback.reply(**reply) if number == 2 else None
    made = engine(concurrency=1)
    assert [completion.error for completion in done(made, requests(3))] == [None, "content filter", None]
    assert made.report["retries"] == 0
    assert len(loopback.bodies) == 3


def test_a_content_filter_at_once(loopback, engine):
    reply = loopback.reply(400, value={"error": {"code": "content_filter"}})
    loopback.script = lambda number, body: reply if number == 1 else None
    made = engine(concurrency=1)
    assert [completion.error for completion in done(made, requests(2))] == ["content filter", None]
    assert made.report["constrained by"] == "choice"


def test_several_choices(loopback, engine):
    body = loopback.answer("one")
    body["choices"].append({"message": {"content": "two"}, "finish_reason": "stop"})
    loopback.script = lambda number, _: loopback.reply(value=body)
    assert [completion.text for completion in done(engine(), requests(1))] == ["one"]


# What servers know.


def refusing(loopback, *words: str):
    """The server refuses a body in which one of these stands."""

    def script(number, body):
        found = [word for word in words if word in body]
        return loopback.reply(400, value={"error": {"message": f"unknown: {found}"}}) if found else None

    loopback.script = script


@pytest.mark.parametrize(
    ("words", "constrain", "by", "logprobs"),
    [
        ((), "choice", "choice", True),
        (("logprobs",), "choice", "choice", False),
        (("structured_outputs",), "choice", "json", True),
        (("structured_outputs", "logprobs"), "choice", "json", False),
        (("structured_outputs", "response_format"), "choice", "off", True),
        (("structured_outputs", "response_format", "logprobs"), "choice", "off", False),
        (("logprobs",), "json", "json", False),
        (("response_format",), "json", "off", True),
        (("logprobs",), "off", "off", False),
    ],
)
def test_a_server_that_refuses_what_it_does_not_know(loopback, engine, words, constrain, by, logprobs):
    refusing(loopback, *words)
    made = engine(constrain=constrain)
    completions = done(made, requests(20))
    assert all(completion.error is None for completion in completions)
    assert (made.report["constrained by"], made.report["logprobs asked for"]) == (by, logprobs)
    assert len(loopback.bodies) <= 20 + 5  # the first alone finds out


def test_many_find_out_at_once(loopback, engine):
    """The first request is hopeless, so that it tells nothing: those after it are in flight together."""
    loopback.full_at = 4

    def script(number, body):
        if body["messages"][-1]["content"].startswith("answer 0") or "structured_outputs" in body:
            return loopback.reply(422, value={"detail": "no"}, full=7 <= number <= 9)
        return None

    loopback.script = script
    made = engine(concurrency=4)
    first, *others = done(made, requests(20))
    assert first.error == "HTTP 422: no"
    assert [completion.error for completion in others] == [None] * 19
    assert made.report["constrained by"] == "json"


def test_a_refusal_once_it_is_known_what_works_is_of_that_request(loopback, engine):
    reply = loopback.reply(400, value={"error": {"message": f"too many signs {KEY}"}})
    loopback.script = lambda number, body: reply if number == 2 else None
    made = engine(concurrency=1)
    first, second, third = done(made, requests(3))
    assert second.error == "HTTP 400: too many signs ***"
    assert (first.error, third.error) == (None, None)
    assert made.report["constrained by"] == "choice"
    assert made.report["retries"] == 0


def test_requests_without_candidates_and_without_a_form_are_free(loopback, engine):
    made = engine()
    done(made, requests(2, candidates=[]))
    assert made.report["constrained by"] == "off"
    assert all(not {"structured_outputs", "top_logprobs"} & body.keys() for body in loopback.bodies)


@pytest.mark.parametrize(
    ("words", "constrain", "writing", "by", "logprobs"),
    [
        ((), "choice", "json", "json", True),
        ((), "choice", "joined", "off", True),
        ((), "off", "json", "off", True),
        (("logprobs",), "choice", "json", "json", False),
        (("response_format",), "choice", "json", "off", True),
        (("response_format", "logprobs"), "json", "json", "off", False),
        (("logprobs",), "choice", "joined", "off", False),
    ],
)
def test_requests_without_candidates_find_out_for_themselves(loopback, engine, words, constrain, writing, by, logprobs):
    refusing(loopback, *words)
    made = engine(constrain=constrain)
    made.form = AnswerForm(Taxonomy(("group", "brand"), dict.fromkeys(CANDIDATES, 1)), "path", writing)
    completions = done(made, requests(20, candidates=[]))
    assert all(completion.error is None for completion in completions)
    assert (made.report["constrained by"], made.report["logprobs asked for"]) == (by, logprobs)
    assert len(loopback.bodies) <= 20 + 3
    loopback.bodies.clear()
    refusing(loopback)
    done(made, requests(2))
    # What was found out of the ones says nothing of the others.
    assert ("structured_outputs" in loopback.bodies[0]) == (constrain == "choice")


def test_a_long_answer_of_a_server_is_cut(loopback, engine):
    loopback.script = lambda number, body: loopback.reply(422, value={"detail": f"{KEY}\n" * 500})
    (completion,) = done(engine(constrain="off"), requests(1, candidates=[]))
    assert len(completion.error) < 330
    assert re.fullmatch(r"HTTP 422: (\*\*\* ?)+\**\.\.\.", completion.error)


def test_no_wait_is_endless():
    with pytest.raises(ValidationError):
        ServerOptions(timeout=float("inf"))
