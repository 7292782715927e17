"""What the server knows: accounts, files, models, batches, jobs and bills."""

import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.openai_server.answers import good
from tests.openai_server.errors import ApiError
from tests.openai_server.faults import Faults
from tests.openai_server.ledger import Ledger
from tests.openai_server.storage import StoredFile
from tests.openai_server.taught import Taught, last_user

if TYPE_CHECKING:
    from tests.openai_server.batches import Batch
    from tests.openai_server.tuning import Job

KEY, ORG = "sk-test-loopback", "org-loopback"
BASE_MODELS = ("gpt-4o-mini-2024-07-18", "gpt-4o-mini", "gpt-4.1-mini-2025-04-14", "gpt-4.1-nano-2025-04-14", "gpt-4o")
BORN = 1_700_000_000

Answer = Callable[[dict[str, Any]], str]
Words = Collection[str] | Callable[[str], bool]


def applies(words: Words, text: str) -> bool:
    """Return whether one of the words is in the text, or what the function says of it."""
    return words(text) if callable(words) else any(word in text for word in words)


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned model."""

    name: str
    org: str
    created: int
    taught: Taught


@dataclass
class State:
    """Everything of one server. The first fields are its settings, and may be changed at any time."""

    folder: Path
    faults: Faults = field(default_factory=Faults)
    keys: dict[str, str] = field(default_factory=lambda: {KEY: ORG})  # key: organisation
    poor: set[str] = field(default_factory=set)  # keys without money
    base_models: Collection[str] = BASE_MODELS
    answer: Answer = good  # of the base models
    knows_choices: bool = False  # and takes them, as vLLM does; OpenAI does not
    odd_answer: dict[str, Any] = field(default_factory=dict)  # in place of fields of every chat completion
    odd_choice: dict[str, Any] = field(default_factory=dict)  # in place of fields of its choices
    refuses: Words = ()
    filters: Words = ()
    steps_per_batch: int = 3
    max_active_jobs: int | None = None  # of one organisation

    files: dict[str, StoredFile] = field(default_factory=dict, init=False)
    batches: dict[str, "Batch"] = field(default_factory=dict, init=False)
    jobs: dict[str, "Job"] = field(default_factory=dict, init=False)
    tuned: dict[str, Tuned] = field(default_factory=dict, init=False)
    ledger: Ledger = field(default_factory=Ledger, init=False)
    calls: Counter[str] = field(default_factory=Counter, init=False)  # by "POST /v1/files"
    _ids: int = field(default=0, init=False)

    def clock(self) -> float:
        """Return the time by the server's clock."""
        return time.time() + self.faults.clock_offset

    def now(self) -> int:
        """Return the time as objects show it."""
        return int(self.clock())

    def new_id(self, prefix: str) -> str:
        """Return an id that no object has."""
        self._ids += 1
        return prefix + blake2b(str(self._ids).encode(), digest_size=12).hexdigest()

    def refused(self, user: str) -> bool:
        return applies(self.refuses, user)

    def filtered(self, user: str) -> bool:
        return applies(self.filters, user)

    def has_model(self, name: str, org: str) -> bool:
        """Return whether an account may use a model."""
        return name in self.base_models or (name in self.tuned and self.tuned[name].org == org)

    def answerer(self, name: str, org: str) -> Answer:
        """Return what answers for a model."""
        if not self.has_model(name, org):
            message = f"The model `{name}` does not exist or you do not have access to it."
            raise ApiError(404, message, "model_not_found")
        if name in self.tuned:
            taught = self.tuned[name].taught
            return lambda body: taught.answer(last_user(body["messages"]))
        return self.answer

    def made_odd(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return a chat completion with what is to be odd of it; it is billed before."""
        choices = [{**choice, **self.odd_choice} for choice in answer["choices"]]
        return {**answer, "choices": choices, **self.odd_answer}

    def models(self, org: str) -> list[dict[str, Any]]:
        """Return the models of an account as the API shows them."""
        models = [{"id": name, "object": "model", "created": BORN, "owned_by": "system"} for name in self.base_models]
        mine = [tuned for tuned in self.tuned.values() if tuned.org == org]
        return models + [{"id": one.name, "object": "model", "created": one.created, "owned_by": org} for one in mine]

    def new_path(self) -> Path:
        """Return where a new file may be written."""
        return self.folder / self.new_id("data-")

    def add_file(
        self, org: str, path: Path, filename: str, purpose: str, expires_after: int | None = None
    ) -> StoredFile:
        """Make what was written to `path` a file of an account."""
        file = StoredFile(
            id=self.new_id("file-"),
            org=org,
            path=path,
            filename=filename,
            purpose=purpose,
            created_at=self.now(),
            bytes=path.stat().st_size,
            expires_at=self.now() + expires_after if expires_after else None,
            hidden=self.faults.hide_file,
        )
        self.files[file.id] = file
        return file

    def find_file(self, org: str, name: str) -> StoredFile | None:
        """Return a file of an account; each call is a look at it."""
        file = self.files.get(name)
        return file if file is not None and file.org == org and file.seen(self.clock()) else None

    def file(self, org: str, name: str) -> StoredFile:
        """Return a file of an account, or raise what the API answers."""
        file = self.find_file(org, name)
        if file is None:
            raise ApiError(404, f"No such File object: {name}", param="id")
        return file

    def file_to_use(self, org: str, name: Any, param: str, purpose: str) -> StoredFile:
        """Return a file that a batch or job is to be made of, or raise what the API answers."""
        if not isinstance(name, str) or not name:
            raise ApiError(400, f"Missing required parameter: '{param}'.", "missing_required_parameter", param)
        file = self.find_file(org, name)
        if file is None:
            project = org.replace("org-", "proj_")
            message = f"Cannot find file {name}, or project {project} does not have access to it."
            raise ApiError(400, message, param=param)
        if file.purpose != purpose:
            message = f"File '{name}' has purpose '{file.purpose}', but '{purpose}' is required."
            raise ApiError(400, message, "invalid_file_purpose", param)
        return file

    def summary(self) -> dict[str, Any]:
        """Return what happened so far, as JSON."""
        batches, jobs, files = list(self.batches.values()), list(self.jobs.values()), list(self.files.values())
        return {
            "billed": self.ledger.billed(),
            "times": self.ledger.times(),
            "batches": [batch.summary() for batch in batches],
            "jobs": [job.as_object() for job in jobs],
            "calls": dict(self.calls),
            "files": {"count": len(files), "bytes": sum(file.bytes for file in files)},
        }

    def billed(self) -> dict[str, dict[str, int]]:
        """Return the totals of all bills by kind."""
        return self.ledger.billed()

    def processed(self) -> Counter[str]:
        """Return how often the row of a batch with each custom_id was processed successfully."""
        return self.ledger.processed()
