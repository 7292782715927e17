"""Batches and files without a fault."""

import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
from openai import APIStatusError, BadRequestError, ConflictError, NotFoundError, OpenAI

from tests.openai_server import KEY, Server, running
from tests.openai_server.asking import (
    as_lines,
    client_of,
    content,
    create,
    ended,
    ids,
    lines,
    request,
    row,
    run,
    upload,
)


def test_a_batch(server: Server, client: OpenAI) -> None:
    data = as_lines([row(number) for number in range(10)])
    file = upload(client, data, expires_after={"anchor": "created_at", "seconds": 3600})
    assert (file.bytes, file.purpose, file.expires_at) == (len(data), "batch", file.created_at + 3600)
    assert content(client, file.id) == data
    batch = create(client, file.id, metadata={"part": "1"})
    assert (batch.status, batch.metadata) == ("validating", {"part": "1"})
    assert [client.batches.retrieve(batch.id).status for _ in range(3)] == ["in_progress", "finalizing", "completed"]
    batch = client.batches.retrieve(batch.id)
    assert batch.error_file_id is None
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (10, 10, 0)
    out = lines(client, batch.output_file_id)
    assert ids(out) == [f"row-{number}" for number in range(10)]
    assert [line["response"]["body"]["choices"][0]["message"]["content"] for line in out][:2] == ["shoe 0", "shoe 1"]
    assert batch.usage is not None
    billed = server.state.billed()["batch"]
    assert billed["bills"] == 10
    assert billed["prompt_tokens"] == batch.usage.input_tokens
    assert billed["completion_tokens"] == batch.usage.output_tokens
    assert server.state.summary()["times"] == {1: 10}


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_rows_go_on_as_the_batch_is_polled(server: Server, client: OpenAI, steps: int) -> None:
    server.state.steps_per_batch = steps
    batch = create(client, upload(client, as_lines([row(number) for number in range(9)])).id)
    client.batches.list()
    seen = [client.batches.retrieve(batch.id) for _ in range(steps)]
    assert [one.status for one in seen].index("completed") == steps - 1
    counts = [one.request_counts.completed for one in seen if one.request_counts]
    assert counts == {1: [9], 2: [0, 9], 5: [0, 3, 6, 9, 9]}[steps]


@pytest.mark.parametrize(
    ("data", "code", "line"),
    [
        (b"", "empty_file", None),
        (as_lines([row(0)]) + b"{oops\n", "invalid_json_line", 2),
        (as_lines([row(0), row(1, custom_id="row-0")]), "duplicate_custom_id", 2),
        (as_lines([row(0, custom_id=None)]), "missing_required_parameter", 1),
        (as_lines([row(0), row(1, body=request(model="gpt-4o"))]), "mismatched_model", 2),
        (as_lines([row(0, body=request(model="nobody"))]), "model_not_found", 1),
        (as_lines([row(0, url="/v1/embeddings")]), "mismatched_url", 1),
    ],
)
def test_a_bad_file_fails_the_batch(client: OpenAI, data: bytes, code: str, line: int | None) -> None:
    batch = ended(client, create(client, upload(client, data).id))
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert [(error.code, error.line) for error in batch.errors.data] == [(code, line)]
    assert batch.output_file_id is None


def test_a_file_with_too_many_rows_or_bytes(client: OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.openai_server.batch_checks.MOST_ROWS", 5)
    codes = [run(client, rows).errors for rows in (5, 6)]
    assert codes[0] is None
    assert codes[1] is not None
    assert "too_many_requests" in codes[1].to_json()
    monkeypatch.setattr("tests.openai_server.batch_checks.MOST_BYTES", 5)
    errors = run(client, 1).errors
    assert errors is not None
    assert "file_too_large" in errors.to_json()


def test_a_malformed_request_is_an_error_of_its_row(server: Server, client: OpenAI) -> None:
    bad = [request(messages=[]), request(temperature=3), request(guided_json={}), request(messages=[{"role": "x"}])]
    rows = [row(0), *(row(number, body=body) for number, body in enumerate(bad, 1))]
    batch = ended(client, create(client, upload(client, as_lines(rows)).id))
    assert batch.status == "completed"
    assert ids(lines(client, batch.output_file_id)) == ["row-0"]
    errors = lines(client, batch.error_file_id)
    assert [line["response"]["status_code"] for line in errors] == [400] * 4
    assert server.state.billed()["batch"]["bills"] == 1


@pytest.mark.parametrize(
    "metadata", [{str(n): "" for n in range(17)}, {"k" * 65: ""}, {"k": "v" * 513}, {"k": 1}], ids=range(4)
)
def test_metadata_has_limits(client: OpenAI, metadata: dict[str, str]) -> None:
    file = upload(client, as_lines([row(0)]))
    with pytest.raises(BadRequestError, match="metadata"):
        create(client, file.id, metadata=metadata)
    assert create(client, file.id, metadata={"k" * 64: "v" * 512}).status == "validating"


def test_lists_have_pages(client: OpenAI) -> None:
    file = upload(client, as_lines([row(0)]))
    made = [create(client, file.id).id for _ in range(23)]
    first = client.batches.list()
    assert ([one.id for one in first.data], first.has_more) == (made[:2:-1], True)
    assert [one.id for one in client.batches.list(limit=7)] == made[::-1]
    with pytest.raises(BadRequestError, match="limit"):
        client.batches.list(limit=101)
    others = [upload(client, b"{}", "fine-tune").id for _ in range(3)]
    assert [one.id for one in client.files.list(purpose="fine-tune", limit=2)] == others[::-1]
    assert len(list(client.files.list())) == 4


def test_cancelling(server: Server, client: OpenAI) -> None:
    server.state.steps_per_batch = 4
    batch = create(client, upload(client, as_lines([row(number) for number in range(10)])).id)
    for _ in range(2):
        client.batches.retrieve(batch.id)
    assert client.batches.cancel(batch.id).status == "cancelling"
    batch = client.batches.retrieve(batch.id)
    assert batch.status == "cancelled"
    assert len(lines(client, batch.output_file_id)) == 5
    assert {line["error"]["code"] for line in lines(client, batch.error_file_id)} == {"batch_cancelled"}
    with pytest.raises(ConflictError):
        client.batches.cancel(batch.id)


def test_a_deleted_file_is_gone(server: Server, client: OpenAI) -> None:
    file = upload(client, as_lines([row(0)]))
    assert client.files.delete(file.id).deleted
    with pytest.raises(NotFoundError):
        client.files.retrieve(file.id)
    with pytest.raises(BadRequestError, match="Cannot find file"):
        create(client, file.id)
    assert list(server.state.folder.iterdir()) == []


def test_files_and_batches_expire_by_the_servers_clock(server: Server, client: OpenAI) -> None:
    batch = run(client, 2, output_expires_after={"anchor": "created_at", "seconds": 3600})
    waiting = create(client, batch.input_file_id)
    server.faults.clock_offset = 25 * 3600
    with pytest.raises(NotFoundError):
        content(client, batch.output_file_id)
    assert client.batches.retrieve(waiting.id).status == "expired"


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("rows.txt", {"purpose": "batch"}, "Must be .jsonl"),
        ("rows.jsonl", {"purpose": "other"}, "not one of"),
        ("rows.jsonl", {"purpose": "batch", "expires_after": {"anchor": "created_at", "seconds": 5}}, "expires_after"),
    ],
)
def test_a_bad_upload(server: Server, client: OpenAI, name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        client.files.create(file=(name, b"{}"), **fields)
    assert server.state.files == {}
    assert list(server.state.folder.iterdir()) == []


def half_sent(server: Server, body: bytes, length: int) -> bytes:
    """Send an upload whose body may end too early; return the answer."""
    address = urlsplit(server.url)
    head = f"POST /v1/files HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n"
    head += f"Content-Type: multipart/form-data; boundary=abc\r\nContent-Length: {length}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(head.encode() + body)
        if len(body) < length:
            connection.shutdown(socket.SHUT_WR)
        return connection.recv(10_000)


def test_an_upload_that_ends_in_the_middle(server: Server, client: OpenAI, capfd: pytest.CaptureFixture[str]) -> None:
    body = b'--abc\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    body += b'--abc\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{"custom'
    assert half_sent(server, body, 1_000_000) == b""
    assert b" 400 " in half_sent(server, b"rubbish", 7)
    assert client.files.list().data == []
    assert list(server.state.folder.iterdir()) == []
    assert capfd.readouterr().err == ""


def test_rows_done_twice_are_billed_twice(server: Server, client: OpenAI) -> None:
    for rows in (10, 4):
        run(client, rows)
    assert server.state.summary()["times"] == {1: 6, 2: 4}
    assert server.state.processed()["row-3"] == 2


def test_accounts_do_not_see_each_other() -> None:
    with running(keys={"sk-a": "org-a", "sk-a2": "org-a", "sk-b": "org-b"}) as server:
        one, same, other, nobody = (client_of(server.url, key) for key in ("sk-a", "sk-a2", "sk-b", "sk-nobody-1234"))
        batch = run(one)
        assert same.batches.retrieve(batch.id).id == batch.id
        assert other.batches.list().data == []
        for call in (lambda: other.batches.retrieve(batch.id), lambda: other.files.retrieve(batch.input_file_id)):
            with pytest.raises(NotFoundError):
                call()
        assert one.models.with_raw_response.list().headers["openai-organization"] == "org-a"
        with pytest.raises(APIStatusError) as refused:
            nobody.models.list()
        assert (refused.value.status_code, refused.value.code) == (401, "invalid_api_key")
        assert "sk-nobody-1234" not in str(refused.value)
