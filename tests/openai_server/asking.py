"""What the tests ask the server, with the real client."""

import json
from typing import Any

from openai import OpenAI
from openai.types import Batch, FileObject
from openai.types.fine_tuning import FineTuningJob

from tests.openai_server.state import KEY

MODEL = "gpt-4o-mini"


def client_of(url: str, key: str = KEY) -> OpenAI:
    return OpenAI(base_url=url, api_key=key, max_retries=0)


def request(text: str = "red shoe", **body: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **body}


def row(number: int, **fields: Any) -> dict[str, Any]:
    body = request(f"shoe {number}")
    return {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body} | fields


def as_lines(items: list[Any]) -> bytes:
    return "".join(json.dumps(item) + "\n" for item in items).encode()


def upload(client: OpenAI, data: bytes, purpose: Any = "batch", **fields: Any) -> FileObject:
    return client.files.create(file=("rows.jsonl", data), purpose=purpose, **fields)


def create(client: OpenAI, file_id: str, **fields: Any) -> Batch:
    endpoint: Any = "/v1/chat/completions"
    return client.batches.create(input_file_id=file_id, endpoint=endpoint, completion_window="24h", **fields)


def ended(client: OpenAI, batch: Batch) -> Batch:
    """Poll until the batch has ended."""
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        batch = client.batches.retrieve(batch.id)
    return batch


def run(client: OpenAI, rows: int = 10, **fields: Any) -> Batch:
    """Run a batch of plain rows."""
    return ended(client, create(client, upload(client, as_lines([row(n) for n in range(rows)])).id, **fields))


def content(client: OpenAI, file_id: str | None) -> bytes:
    assert file_id is not None
    return client.files.content(file_id).read()


def lines(client: OpenAI, file_id: str | None) -> list[Any]:
    return [json.loads(line) for line in content(client, file_id).splitlines()]


def ids(found: list[Any]) -> list[str]:
    return [line["custom_id"] for line in found]


def example(user: str, assistant: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]}


EXAMPLES = [example(f"shoe red {n}", f"shoes > {n}") for n in range(20)]


def tune(client: OpenAI, data: bytes = as_lines(EXAMPLES), **fields: Any) -> FineTuningJob:
    """Run a fine-tuning job to its end."""
    job = client.fine_tuning.jobs.create(
        model=MODEL, training_file=upload(client, data, "fine-tune").id, suffix="mine", **fields
    )
    while job.status not in ("succeeded", "failed", "cancelled"):
        job = client.fine_tuning.jobs.retrieve(job.id)
    return job
