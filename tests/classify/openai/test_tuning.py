"""One fine-tuning job at a provider that stumbles."""

import base64

import pytest

from catalog.errors import ShelfmarkError
from classify.progress import silent
from classify.provider import tuning
from classify.provider.client import Provider
from classify.provider.following import follow, loss_curve, read_curve
from classify.provider.record import Record
from classify.provider.tuning import Order, attach, make_job

JOBS = "POST /v1/fine_tuning/jobs"
FILES = "POST /v1/files"
CSV = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,2.5,0.3,,\n2,1.5,0.5,1.75,0.4\n"


@pytest.fixture
def order(bench):
    lines = "".join(
        f'{{"messages": [{{"role": "user", "content": "{at}"}}, {{"role": "assistant", "content": "x"}}]}}\n'
        for at in range(12)
    )
    for name in ("train", "validation"):
        (bench.folder / f"{name}.jsonl").write_text(lines)
    files = {name: bench.folder / f"{name}.jsonl" for name in ("train", "validation")}
    return Order("gpt-4o-mini", {"n_epochs": 1}, "", 0, **files)


@pytest.fixture
def record(bench, order):
    made = Record(bench.folder)
    made.begin(order.wanted(bench.server.url), {})
    return made


@pytest.mark.parametrize("fault", ["after_500", "after_drop", "http_500", "http_drop", "http_429", "http_503"])
@pytest.mark.parametrize("route", [JOBS, FILES])
def test_it_is_made_once_whatever_the_answer(bench, order, record, fault, route):
    faults = bench.server.faults
    setattr(faults, fault, 2)
    faults.http_routes = faults.after_routes = [route]
    name = make_job(Provider(), record, order)
    assert [job.id for job in bench.jobs] == [name]
    assert len(bench.server.state.files) == 2
    assert make_job(Provider(), Record(bench.folder), order) == name
    assert len(bench.jobs) == 1


def test_a_list_that_lags_behind(bench, order, record, monkeypatch):
    faults = bench.server.faults
    faults.after_drop, faults.after_routes = 1, [JOBS]
    waits = []

    def later(seconds: float) -> None:
        waits.append(seconds)
        for job in bench.jobs:  # it shows after the third wait
            job.org = "org-loopback" if len(waits) > 3 else "org-hidden"

    monkeypatch.setattr(Provider, "sleep", staticmethod(later))
    make_job(Provider(), record, order)
    assert len(bench.jobs) == 1
    assert len(waits) == 4


@pytest.fixture
def late(bench, monkeypatch):
    """A job whose making nobody heard of shows only after another was refused for want of room."""
    faults = bench.server.faults
    faults.after_drop, faults.after_routes, faults.http_routes = 1, [JOBS], [JOBS]
    creates = bench.server.state.calls
    looks = 0

    def later(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            faults.http_429 = 1
        for job in bench.jobs:
            job.org = "org-loopback" if creates[JOBS] > 1 else "org-hidden"

    monkeypatch.setattr(Provider, "sleep", staticmethod(later))


def test_a_job_that_shows_after_another_was_refused(bench, order, record, late):
    name = make_job(Provider(), record, order)
    assert [job.id for job in bench.jobs] == [name]
    assert bench.server.state.calls[JOBS] == 2


@pytest.mark.parametrize(("did", "unheard"), [("a", True), ("ar", False), ("aar", True), ("ara", True), ("aam", False)])
def test_what_became_of_a_job_is_unheard(bench, order, record, did, unheard):
    names = {"a": "asked", "r": "refused", "m": "made"}
    for one in did:
        record.add(names[one], what="job", id="ftjob-1")
    assert record.unheard("job") == unheard
    other = {**record.wanted, "suffix": "other"}
    if unheard or "m" in did:
        with pytest.raises(ShelfmarkError, match="belongs to another fine-tune"):
            Record(bench.folder).begin(other, {})
    else:
        Record(bench.folder).begin(other, {})
    if unheard:
        with pytest.raises(ShelfmarkError, match="may have made a job of its own"):
            attach(Provider(), record, "ftjob-2")


def test_a_trouble_that_lasts_ends(bench, order, record):
    faults = bench.server.faults
    faults.http_500, faults.http_routes = 1e9, [JOBS]
    with pytest.raises(ShelfmarkError, match=r"HTTP 500.*nothing is lost"):
        make_job(Provider(), record, order)
    faults.http_500 = 0
    make_job(Provider(), Record(bench.folder), order)
    assert len(bench.jobs) == 1


def test_files_that_are_not_to_be_found_for_a_while(bench, order, record):
    bench.server.faults.hide_file = 4
    make_job(Provider(), record, order)
    assert len(bench.jobs) == 1
    assert bench.slept


def test_files_that_the_job_does_not_find_for_a_while(bench, order, record, monkeypatch):
    monkeypatch.setattr(tuning, "_await_file", lambda *arguments: None)
    bench.server.faults.hide_file = 2
    make_job(Provider(), record, order)
    assert bench.server.state.calls[JOBS] > 2
    assert len(bench.jobs) == 1


def test_a_clock_that_jumps(bench, order, record):
    faults = bench.server.faults
    faults.clock_offset, faults.clock_jump = -1e6, 5e4
    provider = Provider()
    job = follow(provider, make_job(provider, record, order), progress=silent, tell=print, folder="here")
    assert job.status == "succeeded"


def test_it_is_followed_to_its_end(bench, order, record):
    told, steps = [], []

    class Bar:
        def __init__(self, what: str, total: int) -> None:
            steps.append((what, total))

        def __enter__(self):
            return steps.append

        def __exit__(self, *error: object) -> None:
            steps.append("closed")

    bench.server.faults.slow_tune = 12
    provider = Provider()
    job = follow(provider, make_job(provider, record, order), progress=Bar, tell=told.append, folder="here")
    assert job.fine_tuned_model == bench.jobs[0].tuned
    assert len(told) == len(set(told)) == sum(event["type"] == "message" for event in bench.jobs[0].events)
    (_, total), *rest, closed = steps
    assert (sum(rest), closed) == (total, "closed")
    waits = bench.slept[-14:]
    assert waits[0] == 2
    assert max(waits) == 30
    assert waits == sorted(waits)
    assert loss_curve(provider, job)[-1]["step"] == total


def test_trouble_while_it_is_followed(bench, order, record):
    provider = Provider()
    name = make_job(provider, record, order)
    faults = bench.server.faults
    faults.http_500, faults.http_drop = 3, 2
    assert follow(provider, name, progress=silent, tell=print, folder="here").status == "succeeded"


def test_a_result_file_that_is_not_there(bench, order, record):
    provider = Provider()
    job = follow(provider, make_job(provider, record, order), progress=silent, tell=print, folder="here")
    for file in job.result_files:
        del bench.server.state.files[file]
    assert loss_curve(provider, job) == []


@pytest.mark.parametrize("content", [CSV.encode(), base64.b64encode(CSV.encode()), base64.encodebytes(CSV.encode())])
def test_curves_are_read_raw_and_in_base64(content):
    assert read_curve(content) == [
        {"step": 1, "train_loss": 2.5, "train_accuracy": 0.3},
        {"step": 2, "train_loss": 1.5, "train_accuracy": 0.5, "valid_loss": 1.75, "valid_mean_token_accuracy": 0.4},
    ]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\xfe", b"step\n", b"step,train_loss\nx,1\n"])
def test_what_is_no_curve(content):
    assert read_curve(content) == []


def test_a_torn_line_of_the_record_is_none(bench, record):
    with open(record.file, "a") as stream:
        stream.write('{"did": "made", "what": "jo')
    again = Record(bench.folder)
    assert again.events == record.events
    again.add("asked", what="train")
    assert [event["did"] for event in Record(bench.folder).events] == ["begun", "asked"]


def test_a_record_whose_text_has_other_ends_of_lines(bench):
    made = Record(bench.folder)
    made.begin({"suffix": "a\u2028b\x85c"}, {})
    assert Record(bench.folder).wanted == made.wanted


@pytest.mark.parametrize("fault", ["http_500", "http_drop"])
def test_events_that_cannot_be_had_end_nothing(bench, order, record, fault):
    provider = Provider()
    name = make_job(provider, record, order)
    faults = bench.server.faults
    setattr(faults, fault, 1e9)
    faults.http_routes = ["GET /v1/fine_tuning/jobs/{id}/events"]
    assert follow(provider, name, progress=silent, tell=print, folder="here").status == "succeeded"


def test_a_page_for_people_is_no_api(bench, monkeypatch):
    with pytest.raises(ShelfmarkError, match="no API answers there"):
        Provider().once(lambda api: "<html>")


@pytest.mark.parametrize("status", ["", None, 7, "dreaming"])
def test_a_job_in_no_state_that_there_is(bench, order, record, monkeypatch, status):
    provider = Provider()
    name = make_job(provider, record, order)
    real = type(bench.jobs[0]).as_object
    monkeypatch.setattr(type(bench.jobs[0]), "as_object", lambda job: {**real(job), "status": status})
    with pytest.raises(ShelfmarkError, match=f"{name}: the provider shows (no state|a state that there is not)"):
        follow(provider, name, progress=silent, tell=print, folder="here")
    assert len(bench.slept) < 40


def test_what_is_odd_beside_a_job(bench, order, record, monkeypatch):
    provider = Provider()
    name = make_job(provider, record, order)
    odd = {"trained_tokens": "many", "seed": [], "hyperparameters": "auto", "error": "none", "result_files": {"a": 1}}
    real = type(bench.jobs[0]).as_object
    monkeypatch.setattr(type(bench.jobs[0]), "as_object", lambda job: {**real(job), **odd, "id": "../E"})
    job = follow(provider, name, progress=silent, tell=print, folder="here")
    assert (job.id, job.status, job.trained_tokens, job.seed) == (name, "succeeded", None, None)
    assert (job.hyperparameters, job.result_files, loss_curve(provider, job)) == ({}, [], [])
