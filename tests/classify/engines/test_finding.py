"""Batches that nobody heard of, books that are lost or torn, people who stop what they pay for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from catalog.errors import ShelfmarkError
from catalog.messages import Completion
from classify.costs import Budget, load_prices
from classify.engines import retry
from classify.engines.batch import BatchEngine
from classify.engines.batch_options import BatchOptions
from classify.engines.ledger import Ledger
from classify.provider.client import Provider
from classify.provider.seen import seen
from tests.openai_server import KEY, Server, running
from tests.openai_server.driving import MODEL, RUN, at_once, check_books, drive, some_requests

ROWS = 12
MAKE = "POST /v1/batches"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)
    with at_once():
        yield


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as made:
        yield made


class Asking:
    """Has requests answered over one folder of books, as often as it is told to."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.requests = some_requests(ROWS)
        self.done: dict[str, Completion] = {}
        self.told: list[str] = []
        self.report: dict[str, Any] = {}

    def engine(self, begun: bool, tell: Any = None, cap: float | None = None, **options: Any) -> BatchEngine:
        made = BatchEngine(BatchOptions(llm=MODEL, base_url=self.server.url, poll=0.01, constrain="off", **options))
        budget = Budget(cap, load_prices().of(MODEL), model=MODEL, batch=True)
        made.keep_books(self.folder, RUN, budget, begun=begun, tell=tell or self.told.append)
        self.report = made.report
        return made

    def answers(self, begun: bool = True, **how: Any) -> Iterator[Completion]:
        todo = [request for request in self.requests if request.id not in self.done]
        for completion in self.engine(begun, **how).complete(iter(todo)):
            self.done[completion.id] = completion
            yield completion

    def go(self, begun: bool = True, **how: Any) -> None:
        for _ in self.answers(begun, **how):
            pass

    def leave_when(self, word: str) -> None:
        """Go away, as by a kill, when a line with `word` is told."""

        def tell(line: str) -> None:
            if word in line:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.go(begun=False, tell=tell)


@pytest.fixture
def asking(server: Server, tmp_path: Path) -> Asking:
    return Asking(server, tmp_path / "batches")


@pytest.mark.parametrize("hidden", [1, 5, 7, 9])
def test_a_batch_that_nobody_heard_of_is_found_however_late(tmp_path: Path, hidden: int):
    faults = {"after_drop": 1, "after_routes": [MAKE], "hide_batch": hidden}
    done = drive(0, faults, ROWS, folder=tmp_path / "batches", leave=0)
    assert set(done.completions) == {request.id for request in done.requests}  # and none is left at the provider


def test_doubt_outlives_a_process(server: Server, asking: Asking):
    server.faults.update({"after_drop": 1, "after_routes": [MAKE], "hide_batch": 7})
    asking.leave_when("sent")  # the second batch, for the first is not to be seen
    assert [chunk.doubt for chunk in Ledger(asking.folder)] == [True]
    list(server.state.batches.values())[1].hidden = 0
    asking.go()
    assert len(asking.done) == ROWS
    check_books(asking.folder, server.state, doubled=True)
    assert len(Ledger(asking.folder).known) == 2


def test_the_same_requests_in_a_chunk_that_was_dropped(server: Server, asking: Asking):
    asking.leave_when("sent")
    path = asking.folder / "ledger.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    chunk = next(event for event in events if event["event"] == "chunk")
    later = [event | {"number": 2} for event in events if event["event"] in ("chunk", "uploaded", "creating")]
    forged = [chunk, {"event": "dropped", "number": 1}, *later, {"event": "not created", "number": 2, "sure": True}]
    path.write_text("".join(json.dumps(event) + "\n" for event in forged))
    (asking.folder / "0002.requests.jsonl").write_bytes((asking.folder / "0001.requests.jsonl").read_bytes())
    asking.go()
    assert len(asking.done) == ROWS
    assert not [line for line in asking.told if "stopped" in line]
    assert [batch.status for batch in server.state.batches.values()] == ["completed"]


def test_requests_that_were_deleted_come_back(asking: Asking):
    asking.leave_when("sent")
    (asking.folder / "0001.requests.jsonl").unlink()
    asking.go()
    assert len(asking.done) == ROWS


def test_lost_books_count_at_what_their_requests_cost(server: Server, asking: Asking):
    asking.leave_when("sent")
    (asking.folder / "ledger.jsonl").unlink()
    asking.requests = some_requests(2 * ROWS)
    with pytest.raises(ShelfmarkError, match=r"--max-cost 0\.0001: .*12 requests could cost"):
        asking.go(cap=0.0001)  # it takes in what is paid, and sends nothing more
    assert (len(asking.done), len(server.state.batches)) == (ROWS, 1)
    assert asking.report["cost"] == pytest.approx(_paid(server), abs=1e-6)
    assert asking.report["estimate"][0] > 0


def test_what_waits_is_kept_and_sent_once(server: Server, asking: Asking):
    server.faults.update({"http_503": 1e9, "http_routes": [MAKE]})
    with pytest.raises(ShelfmarkError):
        asking.go(begun=False)
    server.faults.http_503 = 0
    asking.go()
    assert [chunk.number for chunk in Ledger(asking.folder)] == [1]
    assert server.state.calls["POST /v1/files"] <= 2


def test_what_waits_and_is_answered_elsewhere_is_not_sent(server: Server, asking: Asking):
    server.faults.update({"http_503": 1e9, "http_routes": [MAKE]})
    with pytest.raises(ShelfmarkError):
        asking.go(begun=False)
    server.faults.http_503 = 0
    asking.done = {request.id: Completion(request.id, "elsewhere") for request in asking.requests[:4]}
    asking.go()
    assert len(asking.done) == ROWS
    assert len(server.state.processed()) == ROWS - 4


@pytest.mark.parametrize("share", [0.5, 1])
def test_a_batch_that_is_stopped_stops_what_would_follow(server: Server, asking: Asking, share: float):
    server.faults.update({"cancel_batch": 1, "cancel_share": share})
    with pytest.raises(ShelfmarkError, match="a batch was stopped"):
        asking.go(begun=False, max_enqueued_tokens=130)
    assert len(server.state.batches) == 1
    asking.go()
    assert len(asking.done) == ROWS
    check_books(asking.folder, server.state)


def test_a_batch_that_is_stopped_from_elsewhere(server: Server, asking: Asking):
    def tell(line: str) -> None:
        if "sent" in line and len(server.state.batches) == 2:
            _client(server).batches.cancel(list(server.state.batches)[1])

    with pytest.raises(ShelfmarkError, match="a batch was stopped"):
        asking.go(begun=False, tell=tell, max_enqueued_tokens=130)
    assert len(server.state.batches) == 2
    asking.go()
    assert len(asking.done) == ROWS
    check_books(asking.folder, server.state)


def test_to_stop_a_batch_that_has_ended_is_no_fault(server: Server, asking: Asking):
    asking.go(begun=False)
    from classify.provider.batches import Batches

    (batch,) = server.state.batches
    Batches(Provider(server.url), RUN).cancel(batch)
    assert server.state.calls["POST /v1/batches/{id}/cancel"] == 1


def test_a_reader_of_the_books_passes_over_a_line_that_is_being_written(asking: Asking):
    asking.go(begun=False)
    path = asking.folder / "ledger.jsonl"
    whole = len(Ledger(asking.folder).known)
    with open(path, "a") as books:
        books.write('{"event": "ended", "numb')
    assert len(Ledger(asking.folder).known) == whole
    with open(path, "a") as books:
        books.write("\n{}\n")
    with pytest.raises(ShelfmarkError, match=r"line \d+: damaged; put it back"):
        Ledger(asking.folder)


def test_a_key_in_what_the_provider_says_is_masked(server: Server, asking: Asking, monkeypatch: pytest.MonkeyPatch):
    asking.leave_when("sent")
    from tests.openai_server import batches

    real = batches.result

    def leaking(state: Any, name: str, status: int, body: dict[str, Any]) -> bytes:
        return real(state, name, 400, {"error": {"code": "bad", "message": f"Incorrect API key provided: {KEY}"}})

    monkeypatch.setattr(batches, "result", leaking)
    asking.go()
    assert {one.error for one in asking.done.values()} == {"bad Incorrect API key provided: ***"}
    assert not [path for path in asking.folder.iterdir() if KEY.encode() in path.read_bytes()]


def test_others_fill_the_queue(server: Server, asking: Asking):
    waits = 0

    def tell(line: str) -> None:
        nonlocal waits
        waits += "queue is full" in line
        if waits == 8:
            server.faults.enqueued_limit = None  # the others are done

    server.faults.update({"enqueued_limit": 60_000, "enqueued_refuses": True})
    _fill(server, 70_000)
    asking.requests = asking.requests[:1]
    asking.go(begun=False, tell=tell)
    assert (waits, len(asking.done)) == (8, 1)


@pytest.mark.parametrize(
    "odd",
    [
        {"usage": {}},
        {"usage": []},
        {"usage": {"input_tokens": None, "output_tokens": "7"}},
        {"request_counts": {"total": None}},
        {"request_counts": 5},
        {"errors": {"data": [None]}},
        {"errors": {"data": "none"}},
        {"metadata": "x"},
        {"metadata": {"shelfmark": 7}},
        {"status": None},
        {"output_file_id": ["file"]},
    ],
)
def test_odd_batches_are_read_with_care(odd: dict[str, Any]):
    batch = seen(openai.types.Batch.construct(id="batch_1", **odd))
    assert batch.id == "batch_1"
    assert not batch.ended
    assert batch.usage in (None, (0, 0))


def _client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(api_key=KEY, base_url=server.url, max_retries=0)


def _fill(server: Server, tokens: int) -> None:
    """Have others' requests of so many tokens wait at the provider."""
    api = _client(server)
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": tokens - 10_000}
    line = {"custom_id": "other", "method": "POST", "url": "/v1/chat/completions", "body": body}
    limit, server.faults.enqueued_limit = server.faults.enqueued_limit, None
    file = api.files.create(file=("other.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = api.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    api.batches.retrieve(batch.id)
    server.faults.enqueued_limit = limit


def _paid(server: Server) -> float:
    billed, price = server.state.billed()["batch"], load_prices().of(MODEL)
    assert price is not None
    return price.dollars(billed["prompt_tokens"], billed["completion_tokens"], batch=True)


def test_a_tier_of_which_nothing_is_known(server: Server, asking: Asking):
    engine = BatchEngine(BatchOptions(llm="llama", tier=2, base_url=server.url))
    engine.keep_books(asking.folder, RUN, Budget(None, None, batch=True), begun=False)
    with pytest.raises(ShelfmarkError, match="--tier 2: what it lets wait of llama is not known"):
        next(engine.complete(asking.requests))
    assert not server.state.calls
