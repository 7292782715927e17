"""Fine-tuning jobs, and what the models answer."""

import base64
import re
from typing import Any

import pytest
from openai import APIStatusError, BadRequestError, OpenAI

from tests.openai_server import Server, count_tokens
from tests.openai_server.asking import (
    EXAMPLES,
    MODEL,
    as_lines,
    content,
    create,
    ended,
    lines,
    request,
    row,
    tune,
    upload,
)


def test_a_job(server: Server, client: OpenAI) -> None:
    held_out = upload(client, as_lines(EXAMPLES[:3]), "fine-tune")
    parameters = {"n_epochs": 2, "batch_size": 4}
    job = tune(
        client,
        validation_file=held_out.id,
        seed=7,
        metadata={"run": "1"},
        method={"type": "supervised", "supervised": {"hyperparameters": parameters}},
    )
    assert (job.status, job.seed, job.metadata, job.organization_id) == ("succeeded", 7, {"run": "1"}, "org-loopback")
    assert str(job.fine_tuned_model).startswith(f"ft:{MODEL}:loopback:mine:")
    assert (job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == (2, 4)
    tokens = sum(count_tokens(message["content"]) for line in EXAMPLES for message in line["messages"])
    assert job.trained_tokens == tokens * 2
    assert server.state.billed()["training"] == {
        "bills": 1,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "trained_tokens": tokens * 2,
    }
    table = base64.b64decode(content(client, job.result_files[0])).decode().splitlines()
    assert table[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert len(table) == 1 + 10
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=4))
    assert events[-1].message.startswith("Created")
    steps = [event.data["step"] for event in events if event.type == "metrics"]  # type: ignore[index]
    assert steps == list(range(10, 0, -1))
    assert client.fine_tuning.jobs.checkpoints.list(job.id).data == []
    assert client.models.retrieve(str(job.fine_tuned_model)).owned_by == "org-loopback"


def test_a_job_goes_on_as_it_is_polled(server: Server, client: OpenAI) -> None:
    server.faults.slow_tune = 2
    file = upload(client, as_lines(EXAMPLES), "fine-tune")
    job = client.fine_tuning.jobs.create(model=MODEL, training_file=file.id)
    assert (job.status, job.hyperparameters.n_epochs) == ("validating_files", "auto")
    seen = [client.fine_tuning.jobs.retrieve(job.id).status for _ in range(5)]
    assert seen == ["queued", "running", "running", "running", "succeeded"]


def test_a_model_answers_what_it_was_taught(client: OpenAI) -> None:
    model = str(tune(client).fine_tuned_model)
    answers = {"shoe red 7": "shoes > 7", "a blue boot, 7": "shoes > 7", "red": "shoes > 0", "?": "shoes > 0"}
    for user, answer in answers.items():
        assert client.chat.completions.create(**request(user, model=model)).choices[0].message.content == answer
    rows = [row(number, body=request(f"shoe red {number}", model=model)) for number in range(3)]
    batch = ended(client, create(client, upload(client, as_lines(rows)).id))
    out = lines(client, batch.output_file_id)
    assert [line["response"]["body"]["choices"][0]["message"]["content"] for line in out][2] == "shoes > 2"


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (EXAMPLES[:9], "at least 10"),
        ([*EXAMPLES, {"prompt": ""}], "Line 21"),
        ([{"messages": [{"role": "user", "content": ""}]}, *EXAMPLES], "Line 1 .*assistant"),
    ],
)
def test_a_bad_training_file(server: Server, client: OpenAI, examples: list[Any], message: str) -> None:
    job = tune(client, as_lines(examples))
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.code == "invalid_training_file"
    assert re.search(message, job.error.message)
    assert server.state.ledger == []


def test_jobs_are_listed_and_cancelled(server: Server, client: OpenAI) -> None:
    server.state.max_active_jobs = 2
    file = upload(client, as_lines(EXAMPLES), "fine-tune").id
    jobs = client.fine_tuning.jobs
    made = [jobs.create(model=MODEL, training_file=file, metadata={"n": str(number)}).id for number in range(2)]
    assert [job.id for job in jobs.list(limit=1)] == made[::-1]
    assert [job.id for job in jobs.list(metadata={"n": "0"})] == made[:1]
    with pytest.raises(APIStatusError, match="maximum number of active fine-tuning jobs") as refused:
        jobs.create(model=MODEL, training_file=file)
    assert refused.value.status_code == 429
    assert jobs.cancel(made[0]).status == "cancelled"
    with pytest.raises(BadRequestError):
        jobs.cancel(made[0])
    assert jobs.create(model=MODEL, training_file=file).status == "validating_files"


def test_a_job_that_cannot_be(client: OpenAI) -> None:
    file = upload(client, as_lines(EXAMPLES), "fine-tune").id
    for fields in ({"model": "nobody"}, {"suffix": "s" * 65}, {"training_file": "file-0"}, {"metadata": {"k": 1}}):
        with pytest.raises(BadRequestError):
            client.fine_tuning.jobs.create(**({"model": MODEL, "training_file": file} | fields))
