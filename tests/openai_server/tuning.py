"""Fine-tuning jobs: what the API says of one, and how it is moved on."""

import base64
import math
from dataclasses import dataclass, field
from typing import Any

from tests.openai_server.errors import ApiError, no_money
from tests.openai_server.ledger import Bill
from tests.openai_server.paging import checked_metadata
from tests.openai_server.state import State, Tuned
from tests.openai_server.storage import StoredFile
from tests.openai_server.taught import BadTrainingFileError, Taught, read_examples, read_training

ENDED = ("succeeded", "failed", "cancelled")
MOST_METRICS = 100  # events with metrics
EPOCHS, LEAST_ROWS, MOST_ROWS, MOST_EPOCHS = 3, 100, 25_000, 25  # of "auto"
AUTO = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}


@dataclass
class Job:
    """One fine-tuning job."""

    id: str
    org: str
    model: str
    training: StoredFile
    validation: StoredFile | None
    suffix: str
    seed: int
    created_at: int
    hyperparameters: dict[str, Any]
    metadata: dict[str, str] | None
    fault: tuple[str, str] | None = None  # code and message that it fails with
    slow: int = 0  # steps more

    status: str = "validating_files"
    finished_at: int | None = None
    error: dict[str, Any] | None = None
    tuned: str | None = None
    trained_tokens: int | None = None
    results: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    taught: Taught | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def as_object(self) -> dict[str, Any]:
        """Return the job as the API shows it."""
        return {
            "object": "fine_tuning.job",
            "id": self.id,
            "model": self.model,
            "created_at": self.created_at,
            "finished_at": self.finished_at,
            "fine_tuned_model": self.tuned,
            "organization_id": self.org,
            "result_files": self.results,
            "status": self.status,
            "validation_file": self.validation.id if self.validation else None,
            "training_file": self.training.id,
            "hyperparameters": self.hyperparameters,
            "trained_tokens": self.trained_tokens,
            "error": self.error,
            "user_provided_suffix": self.suffix or None,
            "seed": self.seed,
            "estimated_finish": None,
            "integrations": [],
            "metadata": self.metadata,
            "method": {"type": "supervised", "supervised": {"hyperparameters": self.hyperparameters}},
        }


def hyperparameters_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters that a job asks for."""
    method = body.get("method") or {"type": "supervised"}
    if method.get("type") != "supervised":
        raise ApiError(400, "This server knows only supervised fine-tuning.", "unsupported_value", "method.type")
    asked = (method.get("supervised") or {}).get("hyperparameters") or body.get("hyperparameters") or {}
    for name, value in asked.items():
        if name not in AUTO:
            raise ApiError(400, f"Unrecognized request argument supplied: {name}", param=name)
        if value != "auto" and (not isinstance(value, int | float) or isinstance(value, bool) or value <= 0):
            raise ApiError(400, f"Invalid value for '{name}': {value!r}.", "invalid_value", name)
    return AUTO | asked


def create_job(state: State, org: str, key: str, body: dict[str, Any]) -> Job:
    """Make a job, and decide what will go wrong with it."""
    metadata, hyperparameters = checked_metadata(body.get("metadata")), hyperparameters_of(body)
    model, suffix = body.get("model"), body.get("suffix") or ""
    if not isinstance(model, str) or not state.has_model(model, org):
        message = f"Model {model} is not available for fine-tuning or does not exist."
        raise ApiError(400, message, "model_not_available", "model")
    if not isinstance(suffix, str) or len(suffix) > 64:
        message = "Invalid 'suffix': string too long. Expected a string with maximum length 64."
        raise ApiError(400, message, "string_above_max_length", "suffix")
    if key in state.poor:
        raise no_money()
    active = sum(job.org == org and not job.ended for job in state.jobs.values())
    if state.max_active_jobs is not None and active >= state.max_active_jobs:
        message = "You've reached the maximum number of active fine-tuning jobs."
        raise ApiError(429, message, "rate_limit_exceeded")
    training = state.file_to_use(org, body.get("training_file"), "training_file", "fine-tune")
    validation = None
    if body.get("validation_file") is not None:
        validation = state.file_to_use(org, body["validation_file"], "validation_file", "fine-tune")
    name, faults = state.new_id("ftjob-"), state.faults
    seed = int(body.get("seed") or 42)
    job = Job(name, org, model, training, validation, suffix, seed, state.now(), hyperparameters, metadata)
    job.slow = faults.slow_tune
    if faults.hit("fail_tune"):
        job.fault = (faults.fail_tune_code, faults.fail_tune_message)
    state.jobs[job.id] = job
    say(state, job, f"Created fine-tuning job: {job.id}")
    say(state, job, f"Validating training file: {training.id}")
    return job


def say(state: State, job: Job, message: str, level: str = "info", data: dict[str, Any] | None = None) -> None:
    """Add an event."""
    job.events.append(
        {
            "object": "fine_tuning.job.event",
            "id": state.new_id("ftevent-"),
            "created_at": state.now(),
            "level": level,
            "message": message,
            "data": data or {},
            "type": "metrics" if data else "message",
        }
    )


def cancel_job(state: State, job: Job) -> None:
    """Cancel a job at once."""
    if job.ended:
        raise ApiError(400, f"Job {job.id} has already {job.status}.", "job_already_ended")
    end(state, job, "cancelled", "Fine-tuning job cancelled")


def end(state: State, job: Job, status: str, message: str, level: str = "info") -> None:
    job.status, job.finished_at, job.taught = status, state.now(), None
    say(state, job, message, level)


def fail(state: State, job: Job, code: str, message: str, param: str | None = None) -> None:
    job.error = {"code": code, "message": message, "param": param}
    end(state, job, "failed", message, "error")


def advance_job(state: State, job: Job) -> None:
    """Move a job one step on."""
    if job.ended:
        return
    if job.status == "validating_files":
        validate(state, job)
    elif job.status == "queued":
        job.status = "running"
        say(state, job, "Fine-tuning job started")
    elif job.slow > 0:
        job.slow -= 1
    elif job.fault:
        fail(state, job, *job.fault)
    else:
        train(state, job)


def validate(state: State, job: Job) -> None:
    """Check the files, and choose what was left to the API."""
    try:
        taught = read_training(job.training.path, job.training.id)
    except BadTrainingFileError as error:
        message = f"The job failed due to an invalid training file. {error}"
        return fail(state, job, "invalid_training_file", message, "training_file")
    try:
        if job.validation:
            read_examples(job.validation.path, job.validation.id)
    except BadTrainingFileError as error:
        message = f"The job failed due to an invalid validation file. {error}"
        return fail(state, job, "invalid_validation_file", message, "validation_file")
    count = len(taught.answers)
    epochs = EPOCHS
    if count * EPOCHS < LEAST_ROWS:
        epochs = min(MOST_EPOCHS, LEAST_ROWS // count)
    elif count * EPOCHS > MOST_ROWS:
        epochs = max(1, MOST_ROWS // count)
    chosen = {"n_epochs": epochs, "batch_size": min(max(1, round(count / 500)), 256), "learning_rate_multiplier": 1.8}
    asked = {name: value for name, value in job.hyperparameters.items() if value != "auto"}
    job.hyperparameters = chosen | asked
    job.taught, job.status = taught, "queued"
    return say(state, job, "Files validated, moving job to queued state")


def metrics(step: int, steps: int, *, validated: bool) -> dict[str, Any]:
    """Return the metrics of a step: each is a curve that falls or rises, and no more."""
    share = step / steps
    data = {"step": step, "total_steps": steps, "train_loss": round(2 * math.exp(-3 * share), 5)}
    data["train_mean_token_accuracy"] = round(1 - 0.5 * math.exp(-3 * share), 5)
    if validated:
        data["valid_loss"] = round(2.1 * math.exp(-2.8 * share), 5)
        data["valid_mean_token_accuracy"] = round(1 - 0.55 * math.exp(-2.8 * share), 5)
    return data


def train(state: State, job: Job) -> None:
    """Make the model, with its metrics, its result file and its bill."""
    assert job.taught is not None
    chosen, taught = job.hyperparameters, job.taught
    steps = max(1, math.ceil(len(taught.answers) / chosen["batch_size"]) * chosen["n_epochs"])
    lines = ["step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"]
    every = math.ceil(steps / MOST_METRICS)
    for step in range(1, steps + 1):
        now = metrics(step, steps, validated=job.validation is not None)
        valid = (str(now.get("valid_loss", "")), str(now.get("valid_mean_token_accuracy", "")))
        lines.append(",".join((str(step), str(now["train_loss"]), str(now["train_mean_token_accuracy"]), *valid)))
        if step % every == 0 or step == steps:
            say(state, job, f"Step {step}/{steps}: training loss={now['train_loss']:.2f}", data=now)
    path = state.new_path()
    path.write_bytes(base64.b64encode("\n".join([*lines, ""]).encode()))
    job.results = [state.add_file(job.org, path, "step_metrics.csv", "fine-tune-results").id]
    base = job.model.split(":")[1] if job.model.startswith("ft:") else job.model
    job.tuned = f"ft:{base}:{job.org.removeprefix('org-')}:{job.suffix}:{state.new_id('')[:8]}"
    state.tuned[job.tuned] = Tuned(job.tuned, job.org, state.now(), taught)
    job.trained_tokens = taught.tokens * chosen["n_epochs"]
    state.ledger.append(Bill(job.org, "training", job.id, None, job.tuned, trained_tokens=job.trained_tokens))
    say(state, job, f"New fine-tuned model created: {job.tuned}")
    end(state, job, "succeeded", "The job has successfully completed")
