"""Each fault alone, as the real client meets it."""

import json
import urllib.error
import urllib.request
from itertools import pairwise
from typing import Any

import pytest
from openai import (
    APIConnectionError,
    APIStatusError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OpenAI,
    RateLimitError,
)

from tests.openai_server import Faults, Server
from tests.openai_server.asking import (
    EXAMPLES,
    MODEL,
    as_lines,
    content,
    create,
    ended,
    ids,
    lines,
    request,
    row,
    run,
    tune,
    upload,
)

ALWAYS = 1e9


def codes(client: OpenAI, file_id: str | None) -> set[str]:
    return {line["error"]["code"] for line in lines(client, file_id)}


@pytest.mark.parametrize("share", [0, 0.5])
@pytest.mark.parametrize(("fault", "status"), [("expire", "expired"), ("cancel_batch", "cancelled")])
def test_a_batch_ends_early(server: Server, client: OpenAI, fault: str, status: str, share: float) -> None:
    server.faults.update({fault: 1, "expire_share": share, "cancel_share": share})
    batch = run(client)
    assert batch.status == status
    done = ids(lines(client, batch.output_file_id)) if share else []
    assert (batch.output_file_id is None) == (not share)
    left = ids(lines(client, batch.error_file_id))
    assert codes(client, batch.error_file_id) == {f"batch_{status}"}
    assert [*done, *left] == [f"row-{number}" for number in range(10)]
    assert server.state.billed()["batch"]["bills"] == len(done) == 10 * share
    assert run(client).status == "completed"


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_batch_fails(server: Server, client: OpenAI, share: float) -> None:
    server.faults.update({"fail_batch": 1, "fail_share": share, "fail_code": "oops", "fail_message": "No."})
    batch = run(client)
    assert batch.status == "failed"
    assert batch.errors is not None
    assert [(error.code, error.message) for error in batch.errors.data or []] == [("oops", "No.")]
    assert (len(lines(client, batch.output_file_id)) if share else 0) == 10 * share
    assert server.state.billed()["batch"]["bills"] == 10 * share


def test_too_many_tokens_wait(server: Server, client: OpenAI) -> None:
    rows = as_lines([row(number, body=request("shoe", max_tokens=9)) for number in range(10)])
    server.faults.enqueued_limit = 150
    first, second = (create(client, upload(client, rows).id) for _ in range(2))
    assert client.batches.retrieve(first.id).status == "in_progress"
    second = client.batches.retrieve(second.id)
    assert second.status == "failed"
    assert second.errors is not None
    (error,) = second.errors.data or []
    assert error.code == "token_limit_exceeded"
    assert error.message == (
        f"Enqueued token limit reached for {MODEL} in organization org-loopback. Limit: 150 enqueued tokens. "
        "Please try again once some in_progress batches have been completed."
    )
    server.faults.enqueued_refuses = True
    with pytest.raises(RateLimitError, match="Enqueued token limit"):
        create(client, upload(client, rows).id)
    assert ended(client, first).status == "completed"
    assert ended(client, create(client, upload(client, rows).id)).status == "completed"


def test_no_output(server: Server, client: OpenAI) -> None:
    server.faults.no_output = 1
    batch = run(client)
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("completed", None, None)
    assert server.state.billed()["batch"]["bills"] == 10


def test_late_output(server: Server, client: OpenAI) -> None:
    server.faults.late_output = 1
    batch = run(client)
    seen = [batch.output_file_id, *(client.batches.retrieve(batch.id).output_file_id for _ in range(2))]
    assert [file is None for file in seen] == [True, True, False]


def test_only_errors(server: Server, client: OpenAI) -> None:
    server.faults.only_errors = 1
    batch = run(client)
    assert (batch.status, batch.output_file_id) == ("completed", None)
    assert {line["response"]["status_code"] for line in lines(client, batch.error_file_id)} == {500}
    assert server.state.ledger == []


def test_errors_of_rows(server: Server, client: OpenAI) -> None:
    server.faults.row_errors = 0.5
    batch = run(client, 40)
    done, errors = lines(client, batch.output_file_id), lines(client, batch.error_file_id)
    assert {line["response"]["status_code"] for line in errors} == {429, 500}
    assert len(done) + len(errors) == 40
    assert server.state.billed()["batch"]["bills"] == len(done)


def test_no_usage_and_no_metadata(server: Server, client: OpenAI) -> None:
    server.faults.no_usage, server.faults.legacy = 1, True
    batch = run(client, metadata={"part": "1"})
    assert (batch.usage, batch.metadata) == (None, None)
    assert client.batches.list().data[0].metadata is None
    server.faults.legacy = False
    assert run(client, metadata={"part": "1"}).metadata == {"part": "1"}


def damaged(server: Server, client: OpenAI, **faults: float) -> bytes:
    """Return the output of a batch whose rows are all billed."""
    server.faults.update(faults)
    out = content(client, run(client, 40).output_file_id)
    assert server.state.summary()["times"] == {1: 40}
    return out


def test_lines_out_of_order(server: Server, client: OpenAI) -> None:
    found = ids([json.loads(line) for line in damaged(server, client, shuffle=1).splitlines()])
    asked = [f"row-{number}" for number in range(40)]
    assert found != asked
    assert sorted(found) == sorted(asked)


@pytest.mark.parametrize(("fault", "count"), [("repeat", 43), ("drop", 37), ("unknown", 43), ("blank", 43)])
def test_lines_too_many_or_too_few(server: Server, client: OpenAI, fault: str, count: int) -> None:
    found = damaged(server, client, **{fault: 3}).splitlines()
    known = {json.loads(line)["custom_id"] for line in found if line} & {f"row-{number}" for number in range(40)}
    assert (len(found), len(known)) == (count, 37 if fault == "drop" else 40)
    assert getattr(server.faults, fault) == 0


def test_line_ends(server: Server, client: OpenAI) -> None:
    assert damaged(server, client, crlf=0.5).count(b"}\r\n") in range(5, 36)


def test_corrupt_lines(server: Server, client: OpenAI) -> None:
    found = {"good": 0, "shape": 0, "cut": 0, "bytes": 0}
    for line in damaged(server, client, corrupt=0.5).split(b"\n")[:-1]:
        try:
            row = json.loads(line)
            found["good" if isinstance(row, dict) and isinstance(row["custom_id"], str) else "shape"] += 1
        except UnicodeDecodeError:
            found["bytes"] += 1
        except ValueError:
            found["cut"] += 1
    assert all(found.values())
    assert sum(found.values()) == 40


def test_error_files_may_be_damaged(server: Server, client: OpenAI) -> None:
    server.faults.update({"only_errors": ALWAYS, "repeat": 2})
    assert len(lines(client, run(client).error_file_id)) == 10
    server.faults.damage_errors = True
    assert len(lines(client, run(client).error_file_id)) == 12


def test_a_download_ends_in_the_middle(server: Server, client: OpenAI) -> None:
    file = run(client).output_file_id
    server.faults.cut_file = 2
    for _ in range(2):
        with pytest.raises(APIConnectionError):
            content(client, file)
    assert len(lines(client, file)) == 10


def test_a_fresh_file_is_unknown_for_a_while(server: Server, client: OpenAI) -> None:
    server.faults.hide_file = 4
    file = upload(client, as_lines([row(0)]))
    server.faults.hide_file = 0
    for call in (client.files.retrieve, client.files.content):
        with pytest.raises(NotFoundError):
            call(file.id)
    assert client.files.list().data == []
    with pytest.raises(BadRequestError, match=f"Cannot find file {file.id}, or project .* does not have access to it"):
        create(client, file.id)
    assert create(client, file.id).input_file_id == file.id


def test_a_fresh_batch_is_unknown_for_a_while(server: Server, client: OpenAI) -> None:
    server.faults.hide_batch = 2
    batch = create(client, upload(client, as_lines([row(0)])).id)
    assert client.batches.list().data == []
    with pytest.raises(NotFoundError):
        client.batches.retrieve(batch.id)
    assert client.batches.list().data[0].id == batch.id


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("http_429", RateLimitError),
        ("http_500", InternalServerError),
        ("http_503", InternalServerError),
        ("http_drop", APIConnectionError),
    ],
)
def test_calls_fail_before_the_work(server: Server, client: OpenAI, fault: str, error: type[Exception]) -> None:
    data = as_lines([row(0)]) * 20_000
    server.faults.update({fault: 2, "retry_after": 0.01, "http_routes": ["POST /v1/files"]})
    client.models.list()
    for _ in range(2):
        with pytest.raises(error) as failed:
            upload(client, data)
        if isinstance(failed.value, APIStatusError) and fault != "http_500":
            assert failed.value.response.headers["retry-after"] == "0.01"
    assert server.state.files == {}
    assert upload(client, data).bytes == len(data)
    assert server.state.calls["POST /v1/files"] == 3


def test_a_client_that_retries_comes_through(server: Server, client: OpenAI) -> None:
    server.faults.update({"http_429": 1, "http_drop": 1, "retry_after": 0.01})
    assert client.with_options(max_retries=2).models.list().data


@pytest.mark.parametrize(("fault", "error"), [("after_500", InternalServerError), ("after_drop", APIConnectionError)])
def test_calls_fail_after_the_work(server: Server, client: OpenAI, fault: str, error: type[Exception]) -> None:
    server.faults.update({fault: 1, "after_routes": ["POST /v1/batches"]})
    file = upload(client, as_lines([row(0)]))
    with pytest.raises(error):
        create(client, file.id)
    assert [batch.input_file_id for batch in client.batches.list()] == [file.id]
    server.faults.update({fault: 2, "after_routes": ["POST /v1/files", "POST /v1/fine_tuning/jobs"]})
    with pytest.raises(error):
        upload(client, as_lines(EXAMPLES), "fine-tune")
    (made,) = client.files.list(purpose="fine-tune").data
    with pytest.raises(error):
        client.fine_tuning.jobs.create(model=MODEL, training_file=made.id)
    assert len(client.fine_tuning.jobs.list().data) == 1


def test_a_job_fails(server: Server, client: OpenAI) -> None:
    server.faults.update({"fail_tune": 1, "fail_tune_code": "oops", "fail_tune_message": "No."})
    job = tune(client)
    assert job.error is not None
    assert (job.status, job.error.code, job.error.message) == ("failed", "oops", "No.")
    assert server.state.ledger == []
    assert tune(client).status == "succeeded"


def test_the_clock(server: Server, client: OpenAI) -> None:
    server.faults.clock_offset = -1_000_000
    early = upload(client, b"{}").created_at
    server.faults.update({"clock_offset": 0, "clock_jump": 100})
    times = [upload(client, b"{}").created_at for _ in range(3)]
    assert early < times[0] - 900_000
    assert all(later - earlier >= 100 for earlier, later in pairwise(times))


def control(server: Server, route: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(server.url.replace("/v1", f"/control/{route}"), data) as answer:
        return json.load(answer)


def test_faults_over_http(server: Server, client: OpenAI) -> None:
    assert control(server, "faults", {"expire": 1, "corrupt": 0.5})["corrupt"] == 0.5
    assert control(server, "faults") == Faults(expire=1, corrupt=0.5).as_dict()
    for wrong in ({"expires": 1}, {"expire": "often"}, [1]):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            control(server, "faults", wrong)
    assert run(client, metadata={"part": "1"}).status == "expired"
    state = control(server, "state")
    assert [(one["status"], one["metadata"]) for one in state["batches"]] == [("expired", {"part": "1"})]
    assert (state["times"], state["billed"]["batch"]["bills"]) == ({"1": 5}, 5)
    assert (state["calls"]["POST /v1/batches"], state["files"]["count"]) == (1, 3)


def test_a_seed_gives_the_same_faults() -> None:
    def drawn(seed: int) -> list[Any]:
        faults = Faults(seed=seed, drop=0.5)
        return [faults.hit("drop") for _ in range(30)]

    assert drawn(1) == drawn(1) != drawn(2)
