"""The batch engine over HTTP, with its provider's real client: each fault alone, then many at once."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import ShelfmarkError
from catalog.messages import Completion, Request, request_id
from classify.costs import Budget, load_prices
from classify.engines.batch import BatchEngine
from classify.engines.batch_options import BatchOptions
from classify.engines.ledger import Ledger
from tests.openai_server import Server, running
from tests.openai_server.driving import MODEL, RUN, Driven, at_once, check_books, drive, random_faults, some_requests

ALWAYS = 1e9
ROWS = 40
REFUSALS = 2
"""Of the made requests those that get no answer from anybody."""
MAKE = "POST /v1/batches"
Go = Callable[..., Driven]


@pytest.fixture
def go(tmp_path: Path) -> Go:
    """Drive the engine to its end, with faults by name, without leaving it in the middle."""

    def driven(*, rows: int = ROWS, **faults: Any) -> Driven:
        return drive(0, faults, rows, folder=tmp_path / "batches", leave=0)

    return driven


def batches(done: Driven) -> int:
    return done.statuses.total()


def test_nothing_goes_wrong(go: Go) -> None:
    done = go()
    assert done.report["batches"] == {"completed": 1}
    assert (done.calls["POST /v1/files"], done.calls[MAKE]) == (1, 1)
    assert done.report["estimate"][0] <= done.report["estimate"][1]
    assert done.report["cost"] <= done.report["estimate"][1]
    assert done.told[0].startswith("40 requests by batches, for about $0.000")
    assert (len(done.errors()), done.stops) == (REFUSALS, [])


FAULTS: dict[str, dict[str, Any]] = {
    "expired half": {"expire": 2},
    "expired at once": {"expire": 2, "expire_share": 0},
    "expired when all was done": {"expire": 1, "expire_share": 1},
    "failed": {"fail_batch": 2},
    "failed half": {"fail_batch": 2, "fail_share": 0.5},
    "no output": {"no_output": 2},
    "late files": {"late_output": ALWAYS, "late_output_steps": 3},
    "very late files": {"late_output": 1, "late_output_steps": 30},
    "errors alone": {"only_errors": 2},
    "errors of some rows": {"row_errors": 0.3},
    "no usage": {"no_usage": ALWAYS},
    "no usage, lines lost": {"no_usage": ALWAYS, "drop": 0.3},
    "no usage, no output": {"no_usage": 1, "no_output": 1},
    "no usage, failed half": {"no_usage": 1, "fail_batch": 1, "fail_share": 0.5},
    "shuffled": {"shuffle": ALWAYS},
    "repeated": {"repeat": 0.5},
    "dropped": {"drop": 0.3},
    "corrupt": {"corrupt": 0.3},
    "unknown": {"unknown": 0.5},
    "blank": {"blank": 0.5},
    "crlf": {"crlf": ALWAYS},
    "all damaged": {"drop": 0.1, "corrupt": 0.1, "unknown": 0.2, "blank": 0.2, "crlf": 0.5, "repeat": 0.2,
                    "shuffle": ALWAYS, "damage_errors": True, "expire": 1},
    "torn downloads": {"cut_file": 5},
    "hidden files": {"hide_file": 4},
    "hidden batches": {"hide_batch": 4},
    "legacy": {"legacy": True},
    "legacy, nobody heard": {"legacy": True, "after_500": 1, "after_routes": [MAKE]},
    "limit": {"enqueued_limit": 700},
    "limit below a chunk": {"enqueued_limit": 200},
    "limit that refuses": {"enqueued_limit": 700, "enqueued_refuses": True},
    "limit below a chunk that refuses": {"enqueued_limit": 200, "enqueued_refuses": True},
    "429": {"http_429": 0.3},
    "429 with a time": {"http_429": 3, "retry_after": 7.0},
    "500": {"http_500": 0.3},
    "503": {"http_503": 0.3},
    "dropped connections": {"http_drop": 0.3},
    "500 after the work": {"after_500": 0.3},
    "dropped after the work": {"after_drop": 0.3},
    "clock ahead": {"clock_jump": 9000},
    "clock back": {"clock_jump": -9000},
    "clock elsewhere": {"clock_offset": 1e8},
}  # fmt: skip


LOSSES = {name for name, faults in FAULTS.items() if {"no_output", "drop", "corrupt"} & faults.keys()} | {
    "very late files"
}
"""Faults in which answers that are paid do not come: only a person has them paid again."""


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_alone(go: Go, name: str) -> None:
    done = go(**FAULTS[name])
    assert all("--give-up" in stop for stop in done.stops)
    assert bool(done.stops) == (name in LOSSES)
    lost = [error for error in done.errors().values() if error.startswith("no answer in 4 batches")]
    refusals = len(done.errors()) - len(lost)
    # What happens to rows at random may happen to one four times; nothing else leaves one without an answer.
    at_random = {"row_errors", "drop", "corrupt"} & FAULTS[name].keys()
    assert len(lost) <= (3 if at_random else 0)
    assert REFUSALS - len(lost) <= refusals <= REFUSALS


@pytest.mark.parametrize("seed", range(36))
def test_many_faults_at_once(tmp_path: Path, seed: int) -> None:
    drive(seed, folder=tmp_path / "batches")


def test_what_is_in_flight_is_taken_in_before_more_is_refused(tmp_path: Path) -> None:
    """A run with a bound was killed, and begun again with some of it in flight and not enough for the rest."""
    with running() as server, at_once():
        server.faults.update({"expire": 1, "hide_batch": 0})
        how: dict[str, Any] = {"max_enqueued_tokens": 200}
        whole = Budget(None, load_prices().of(MODEL), batch=True)
        answers: Any = begin(server, tmp_path / "batches", **how).complete(some_requests(8))
        next(answers)
        answers.close()
        assert Ledger(tmp_path / "batches").unsettled
        engine = begin(server, tmp_path / "batches", begun=True, max_cost=whole.dollars(300, 128), **how)
        found = []
        with pytest.raises(ShelfmarkError, match="--max-cost"):
            found.extend(engine.complete(some_requests(80)))
        assert not Ledger(tmp_path / "batches").unsettled


@pytest.mark.parametrize("seed", range(100, 108))
@pytest.mark.parametrize("max_cost", [0.000297, 0.0004])
def test_the_bill_stays_within_the_bound_whatever_happens(tmp_path: Path, seed: int, max_cost: float) -> None:
    faults = {"expire": 0.5, "drop": 0.1, "row_errors": 0.1, **random_faults(seed)}
    done = drive(seed, faults, folder=tmp_path / "batches", max_cost=max_cost)
    assert done.billed["bills"] > 0


def test_no_more_than_may_be_spent(tmp_path: Path) -> None:
    done = drive(0, {}, folder=tmp_path / "batches", max_cost=0.000295, leave=0)
    assert done.too_dear
    assert done.stops[0].startswith("--max-cost 0.000295: 40 requests could cost $0.0003; raise --max-cost")
    assert done.calls.total() == 0 or not done.calls["POST /v1/files"]
    assert done.billed["bills"] == 0


def test_re_asks_count_on_the_bound(tmp_path: Path) -> None:
    """Rows are lost after they were paid: what is left does not pay for them again."""
    done = drive(0, {"no_output": 1}, folder=tmp_path / "batches", max_cost=0.0003, leave=0)
    assert done.too_dear
    assert done.stops[-1].startswith("--max-cost 0.0003: $0.0002 spent, and 40 requests could cost")
    assert batches(done) == 1
    more = drive(0, {"no_output": 1}, folder=tmp_path / "more", max_cost=0.00053, leave=0)
    assert not more.too_dear
    assert batches(more) == 2


def test_refusals_are_final_and_counted(go: Go) -> None:
    done = go(expire=1)
    assert sorted(done.errors().values()) == ["content filter", "the model refused: I'm sorry, I can't help with that."]
    assert done.report["refused"] == REFUSALS
    assert all(done.processed[name] == done.asked[name] == 1 for name in done.errors())


def test_answers_that_were_cut_are_kept_and_counted(tmp_path: Path) -> None:
    options = {"max_tokens": 3}
    done = drive(0, {}, folder=tmp_path / "batches", leave=0, options=options)
    assert done.report["cut"] == ROWS - REFUSALS + 1  # of a refusal too
    answers = [one.text for one in done.completions.values() if one.error is None]
    assert all(text.startswith("prod") for text in answers)
    assert max(done.processed.values()) == 1


def test_lines_in_another_order_twice_and_of_strangers(go: Go) -> None:
    done = go(shuffle=ALWAYS, repeat=ALWAYS, unknown=ALWAYS, crlf=ALWAYS, blank=ALWAYS)
    assert batches(done) == 1
    assert (done.report["repeated"], done.report["unknown"], done.report["damaged"]) == (ROWS, ROWS, 0)
    for request in done.requests:
        if request.id not in done.errors():
            assert done.completions[request.id].text == request.messages[-1]["content"]


LOST = {
    "lines damaged": ({"corrupt": 5}, 5),
    "lines lost": ({"drop": 3}, 3),
    "no file": ({"no_output": 1}, ROWS),
    "a file that is gone": ({"gone_output": ALWAYS}, ROWS),
    "a file that ends too soon": ({"cut_lines": ALWAYS}, ROWS // 2),
    "no file, and no counts": ({"no_output": 1, "no_counts": ALWAYS}, ROWS),
    "a cut file, and no counts": ({"cut_lines": ALWAYS, "no_counts": ALWAYS}, ROWS // 2),
    "a cut file of an expired batch": ({"cut_lines": ALWAYS, "expire": 1}, ROWS // 2),
}


@pytest.mark.parametrize("name", LOST)
def test_answers_that_are_paid_and_lost_are_not_paid_again(tmp_path: Path, name: str) -> None:
    """What is there is handed on, and one line names the batch, however often the command is given."""
    faults, lost = LOST[name]
    with running() as server, at_once():
        server.faults.update(faults)
        found: list[Completion] = []
        for start in range(3):
            left = [one for one in some_requests(ROWS) if one.id not in {known.id for known in found}]
            said = "done and billed, as the provider counts, and its files lack answers"
            with pytest.raises(ShelfmarkError, match=f"^batch batch_.*: {said}; {lost} requests are not asked again"):
                found.extend(begin(server, tmp_path / "batches", begun=start > 0).complete(left))
            assert len(found) == ROWS - lost
        assert set(server.state.processed().values()) == {1}
        assert not [one for one in found if one.error]


@pytest.mark.parametrize("fault", ["gone_output", "cut_lines"])
def test_a_file_that_was_short_is_fetched_again(tmp_path: Path, fault: str) -> None:
    with running() as server, at_once():
        server.faults.update({fault: 2})
        found = list(begin(server, tmp_path / "batches").complete(some_requests(ROWS)))
        assert len(found) == ROWS  # at once, where it is whole soon
        server.faults.update({fault: ALWAYS})
        engine = begin(server, tmp_path / "more", temperature=1.0)
        engine._run = "another"
        found = []
        with pytest.raises(ShelfmarkError, match="lack answers"):
            found.extend(engine.complete(some_requests(ROWS)))
        server.faults.update({fault: 0})
        left = [one for one in some_requests(ROWS) if one.id not in {known.id for known in found}]
        found.extend(begin(server, tmp_path / "more", temperature=1.0).complete(left))
        assert sorted(one.id for one in found) == sorted(one.id for one in some_requests(ROWS))
        assert [one.error for one in found] == [None] * ROWS
        assert set(server.state.processed().values()) == {2}  # once by each engine


def test_a_provider_that_loses_answers_is_sent_no_more(tmp_path: Path) -> None:
    with running() as server, at_once():
        server.faults.no_output = ALWAYS
        engine = begin(server, tmp_path / "batches", max_enqueued_tokens=150)
        with pytest.raises(ShelfmarkError, match="lack answers"):
            list(engine.complete(some_requests(ROWS)))
        assert len(server.state.batches) == 1
        assert len(Ledger(tmp_path / "batches").chunks) > 3


def test_what_a_person_gave_up_is_asked_again(tmp_path: Path) -> None:
    with running() as server, at_once():
        server.faults.drop = 3
        found: list[Completion] = []
        with pytest.raises(ShelfmarkError, match="lack answers"):
            found.extend(begin(server, tmp_path / "batches").complete(some_requests(6)))
        left = [one for one in some_requests(6) if one.id not in {known.id for known in found}]
        with Ledger.writing(tmp_path / "batches") as books:
            books.write("gave up", ids=[one.id for one in left])
        found.extend(begin(server, tmp_path / "batches", begun=True).complete(left))
        assert [one.error for one in found] == [None] * 6
        assert sorted(server.state.processed().values()) == [1, 1, 1, 2, 2, 2]
        check_books(tmp_path / "batches", server.state, again=[one.id for one in left])


@pytest.mark.parametrize("status", ["", "thinking", None, 7, ["completed"]])
def test_a_batch_in_no_state_that_there_is(tmp_path: Path, status: Any) -> None:
    """It is looked at for a while, then one line says so; nothing of it is lost."""
    with running() as server, at_once() as slept:
        server.faults.batch_fields = {"status": status}
        with pytest.raises(
            ShelfmarkError,
            match=r"^batch batch_\w+: the provider shows (no state|a state that there is not, thinking,) for long",
        ):
            list(begin(server, tmp_path / "batches").complete(some_requests(3)))
        assert len(slept) < 30
        server.faults.batch_fields = {}
        found = list(begin(server, tmp_path / "batches", begun=True).complete(some_requests(3)))
        assert [one.error for one in found] == [None] * 3
        assert set(server.state.processed().values()) == {1}


ODD_FIELDS: dict[str, dict[str, Any]] = {
    "usage as text": {"usage": "none"},
    "usage that is none": {"usage": {"input_tokens": "7", "output_tokens": None}},
    "usage below none": {"usage": {"input_tokens": -5, "output_tokens": -5}},
    "usage beyond all": {"usage": {"input_tokens": 10**400, "output_tokens": 1e300}},
    "usage of another kind": {"usage": [{}]},
    "counts as text": {"request_counts": "40"},
    "counts that are none": {"request_counts": {"total": "3", "completed": [], "failed": {}}},
    "counts beyond all": {"request_counts": {"total": 10**400, "completed": 10**400, "failed": -1}},
    "metadata of another kind": {"metadata": [["shelfmark", 1]]},
    "errors of another kind": {"errors": {"data": {"code": 1}}},
    "times of another kind": {"created_at": "yesterday", "expires_at": [], "completed_at": {"a": 1}},
    "the id of another": {"id": "batch_of_another"},
    "no id": {"id": None},
    "an id that is a number": {"id": 7},
    "a state in capitals": {"status": "COMPLETED"},
    "half a sign": {"model": "\ud83c", "endpoint": "\udc00"},
}


@pytest.mark.parametrize("name", ODD_FIELDS)
def test_what_is_odd_beside_a_batch_costs_nothing(tmp_path: Path, name: str) -> None:
    """Once it has ended, whatever the provider shows of it besides: its answers are taken in, each paid once."""
    with running() as server, at_once():
        server.faults.ended_fields = ODD_FIELDS[name]
        engine = begin(server, tmp_path / "batches")
        found = list(engine.complete(some_requests(3)))
        assert [one.error for one in found] == [None] * 3
        assert set(server.state.processed().values()) == {1}
        billed = server.state.billed()["batch"]
        assert engine.report["billed_tokens"][0] >= billed["prompt_tokens"]
        assert engine.report["cost"] < 0.001


@pytest.mark.parametrize("answer", [{"id": None}, {"id": ""}, {"id": 7}])
def test_a_batch_that_is_made_without_an_id_is_found(tmp_path: Path, answer: dict[str, Any]) -> None:
    with running() as server, at_once():
        server.faults.made_fields = answer
        found = list(begin(server, tmp_path / "batches").complete(some_requests(3)))
        assert [one.error for one in found] == [None] * 3
        assert len(server.state.batches) == 1


def test_why_a_row_was_given_up(go: Go) -> None:
    done = go(only_errors=ALWAYS, rows=4)
    assert all(why.startswith("no answer in 4 batches (") for why in done.errors().values())
    assert all("The server had an error" in why for why in done.errors().values())
    assert done.billed["bills"] == 0


def test_what_was_given_up_is_asked_again_on_request(tmp_path: Path) -> None:
    with running() as server:
        how: dict[str, Any] = {"folder": tmp_path / "batches", "leave": 0, "server": server, "rows": 4, "retries": 1}
        first = drive(0, {"only_errors": ALWAYS}, **how)
        assert all(why.startswith("no answer in 2 batches (") for why in first.errors().values())
        engine = begin(server, tmp_path / "batches", retries=1)
        server.faults.only_errors = 1
        with at_once():
            found = list(engine.complete(some_requests(4)))
        assert [one.error for one in found] == [None] * 4
        assert set(server.state.processed().values()) == {1}


def test_fewer_retries(tmp_path: Path) -> None:
    done = drive(0, {"only_errors": ALWAYS}, 4, folder=tmp_path / "batches", leave=0, retries=0)
    assert all(why.startswith("no answer in 1 batches (") for why in done.errors().values())
    assert batches(done) == 1


@pytest.mark.parametrize("fault", ["after_500", "after_drop"])
@pytest.mark.parametrize("hidden", [0, 3])
def test_a_batch_of_which_nobody_heard_is_found(go: Go, fault: str, hidden: int) -> None:
    done = go(**{fault: 1, "after_routes": [MAKE], "hide_batch": hidden})
    assert (batches(done), done.calls[MAKE]) == (1, 1)
    assert set(done.processed.values()) == {1}


def test_a_batch_that_shows_up_after_it_was_made_again_is_found_and_stopped(tmp_path: Path) -> None:
    """Listings lag longer than anybody waits: it is made twice, and the second is found; no answer is lost."""
    faults = {"after_500": 1, "after_routes": [MAKE], "hide_batch": 5}
    done = drive(0, faults, folder=tmp_path / "batches", leave=0)
    assert batches(done) == 2
    assert len(Ledger(tmp_path / "batches").known) == 2
    assert len(done.errors()) == REFUSALS


@pytest.mark.parametrize("fault", ["http_500", "http_drop", "http_503"])
def test_a_batch_that_was_not_made_is_made_again(go: Go, fault: str) -> None:
    done = go(**{fault: 2, "http_routes": [MAKE]})
    assert (batches(done), done.calls[MAKE]) == (1, 3)
    assert sum(done.slept) > 10  # it was looked for before


def test_a_busy_provider_made_no_batch(go: Go) -> None:
    done = go(http_429=2, http_routes=[MAKE])
    assert (batches(done), done.calls[MAKE]) == (1, 3)


def test_a_full_queue_is_waited_for(go: Go) -> None:
    done = go(enqueued_limit=700)
    assert "failed" in done.statuses
    assert set(done.processed.values()) == {1}
    assert done.report["resent"] == 0


@pytest.mark.parametrize("refuses", [True, False])
def test_a_request_beyond_the_queue(tmp_path: Path, refuses: bool) -> None:
    """No chunk is small enough: one line says so, and nothing is paid."""
    with running() as server, at_once() as slept:
        server.faults.update({"enqueued_limit": 20, "enqueued_refuses": refuses})
        with pytest.raises(ShelfmarkError, match=r"a request of about \d+ tokens is more than the provider lets wait"):
            list(begin(server, tmp_path / "batches").complete(some_requests(3)))
        assert server.state.billed()["batch"]["bills"] == 0
        assert slept
        assert not Ledger(tmp_path / "batches").unsettled


def test_chunks_keep_to_what_may_wait(tmp_path: Path) -> None:
    with running() as server:
        server.faults.enqueued_limit = 10_000
        done = drive(0, {}, folder=tmp_path / "batches", leave=0, server=server, options={"max_enqueued_tokens": 300})
        assert batches(done) > 3
        assert done.statuses == {"completed": batches(done)}


@pytest.mark.parametrize(
    ("code", "times"), [("internal_error", 4), ("billing_hard_limit_reached", 1), ("never_heard_of", 1)]
)
def test_a_batch_that_the_provider_fails_whatever_is_done(tmp_path: Path, code: str, times: int) -> None:
    with running() as server, at_once():
        server.faults.update({"fail_batch": ALWAYS, "fail_code": code, "fail_message": "No."})
        with pytest.raises(ShelfmarkError, match=f"{code}: No.; nothing of it was done or billed"):
            list(begin(server, tmp_path / "batches").complete(some_requests(3)))
        assert len(server.state.batches) == times
        server.faults.fail_batch = 0
        found = list(begin(server, tmp_path / "batches", begun=True).complete(some_requests(3)))
        assert [one.error for one in found] == [None] * 3
        assert len(server.state.batches) == times + 1
        check_books(tmp_path / "batches", server.state)


def test_a_batch_that_somebody_stopped(tmp_path: Path) -> None:
    """What is done is kept; the others are asked for once the run is resumed, however often that happened before."""
    done = drive(0, {"cancel_batch": 6}, folder=tmp_path / "batches", leave=0)
    assert len(done.stops) == 6
    assert done.stops[0].startswith("20 requests have no answer: a batch was stopped; what was done is kept")
    assert set(done.processed.values()) == {1}
    assert len(done.errors()) == REFUSALS


def test_no_answer_without_an_engine_that_keeps_books() -> None:
    with pytest.raises(ShelfmarkError, match="keeps books of what is paid"):
        next(BatchEngine(BatchOptions(llm=MODEL)).complete([]))


def test_no_model(tmp_path: Path) -> None:
    engine = BatchEngine(BatchOptions())
    engine.keep_books(tmp_path / "batches", RUN, Budget(None, None), begun=False)
    with pytest.raises(ShelfmarkError, match="--llm NAME"):
        next(engine.complete([]))


def test_another_question_is_asked_anew(tmp_path: Path) -> None:
    """Answers of another temperature are none, and stay."""
    with running() as server, at_once():
        list(begin(server, tmp_path / "batches").complete(some_requests(3)))
        list(begin(server, tmp_path / "batches", begun=True, temperature=1.0).complete(some_requests(3)))
        assert set(server.state.processed().values()) == {2}
        list(begin(server, tmp_path / "batches", begun=True).complete(some_requests(3)))
        assert set(server.state.processed().values()) == {2}


def test_requests_of_a_later_call_alone_are_sent(tmp_path: Path) -> None:
    with running() as server, at_once():
        list(begin(server, tmp_path / "batches").complete(some_requests(3)))
        found = list(begin(server, tmp_path / "batches", begun=True).complete(some_requests(5)))
        assert len(found) == 5
        assert set(server.state.processed().values()) == {1}


@pytest.mark.parametrize("left", range(6))
def test_left_in_the_middle_and_begun_again(tmp_path: Path, left: int) -> None:
    with running() as server, at_once():
        server.faults.expire = 1
        answers: Any = begin(server, tmp_path / "batches").complete(some_requests(6))
        first = [next(answers) for _ in range(left)]
        answers.close()
        rest = [request for request in some_requests(6) if request.id not in {one.id for one in first}]
        found = list(begin(server, tmp_path / "batches", begun=left > 0).complete(rest))
        assert len(found) + len(first) == 6
        assert set(server.state.processed().values()) == {1}
        check_books(tmp_path / "batches", server.state)


def test_odd_texts_come_back_as_they_are(tmp_path: Path) -> None:
    draw = random.Random(5)
    signs = ["\u2028", "\x85", "é", "納豆", "🍫", '"', "\\", "\x00", "\t", "a"]
    texts = ["".join(draw.choices(signs, k=9)) + str(row) for row in range(30)]
    turns = [[{"role": "user", "content": text}] for text in texts]
    requests = [Request(request_id(f"{row}\u2028é", turn), turn, max_tokens=99) for row, turn in enumerate(turns)]
    done = drive(0, {"shuffle": 1, "crlf": 0.5}, folder=tmp_path / "batches", leave=0, requests=requests)
    assert [done.completions[request.id].text for request in requests] == texts


def begin(
    server: Server,
    folder: Path,
    *,
    begun: bool = False,
    retries: int = 3,
    max_cost: float | None = None,
    **options: Any,
) -> BatchEngine:
    """Return an engine with its books in `folder`."""
    engine = BatchEngine(
        BatchOptions(llm=MODEL, base_url=server.url, poll=0.01, retries=retries, constrain="off", **options)
    )
    engine.keep_books(folder, RUN, Budget(max_cost, load_prices().of(MODEL), batch=True), begun=begun)
    return engine
