"""A fine-tuning job at a provider: its files, then the job, each made once whatever happens in between.

Before something is made, the record says that it is asked for. Where it is not known whether that went through (a
killed process, a lost answer), it is looked for at the provider before it is asked for again: a file by its name, a job
by what it carries.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.errors import ShelfmarkError
from catalog.files import content_hash
from classify.engines import retry
from classify.engines.beside import said
from classify.provider.client import TRIES, OutageError, Provider, RefusedError
from classify.provider.record import Record
from classify.provider.seen import made_id

if TYPE_CHECKING:
    import openai

LOOKS = (0.0, 2.0, 5.0, 10.0, 20.0)
"""Seconds before each look for what may be there: a provider's lists lag behind what it does."""
FRESH = re.compile(
    r"cannot find|no such file|not ready|being processed|does not exist.*file|file.*does not exist", re.I
)
"""What is said of a file that was uploaded a moment ago."""
FULL = re.compile(r"\bactive\b|\bmaximum\b|\bdaily\b", re.I)
"""What is said where an organisation has as many jobs as it may have; other limits pass in a minute."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What is asked of the provider.

    Attributes
    ----------
    base : str
        The model that is tuned.
    hyperparameters : dict
        ``n_epochs`` and, where they are chosen, ``batch_size`` and ``learning_rate_multiplier``.
    suffix : str
        A part of the tuned model's name; may be empty.
    seed : int
        Of the job.
    train, validation : Path
        Chat files; that of the validation may be missing.
    """

    base: str
    hyperparameters: dict[str, Any]
    suffix: str
    seed: int
    train: Path
    validation: Path

    def files(self) -> dict[str, Path]:
        """Return the files that there are, by what they are for."""
        both = {"train": self.train, "validation": self.validation}
        return {what: path for what, path in both.items() if path.is_file()}

    def wanted(self, url: str) -> dict[str, Any]:
        """Return all that makes two fine-tunes at a provider the same, as JSON values."""
        hashes = {f"{what} rows": content_hash(path)[:16] for what, path in self.files().items()}
        own = {"base": self.base, "suffix": self.suffix, "seed": self.seed}
        return {"url": url, **own, **self.hyperparameters, **hashes}


def make_job(provider: Provider, record: Record, order: Order) -> str:
    """Return the id of the job that was ordered: one that was made already, or a new one.

    Raises
    ------
    ShelfmarkError
        When the provider takes neither the files nor the job, or has no room for it now.
    """
    files = {}
    for what, path in order.files().items():
        files[what] = _made_once(provider, record, what, _find_file(record, what), _upload(record, what, path))
    if record.made("job"):
        return record.made("job")
    for what, file in files.items():
        _await_file(provider, what, file)

    def find(api: openai.OpenAI) -> str | None:
        mine = (
            job.id
            for job in api.fine_tuning.jobs.list(limit=100)
            if (job.metadata or {}).get("shelfmark") == record.id or job.training_file == files["train"]
        )
        return next(mine, None)

    def create(api: openai.OpenAI) -> Any:
        optional: dict[str, Any] = {"validation_file": files["validation"]} if "validation" in files else {}
        if order.suffix:
            optional["suffix"] = order.suffix
        return api.fine_tuning.jobs.create(
            model=order.base,
            training_file=files["train"],
            method={"type": "supervised", "supervised": {"hyperparameters": order.hyperparameters}},  # type: ignore[arg-type]
            seed=order.seed,
            metadata={"shelfmark": record.id},
            **optional,
        )

    return _made_once(provider, record, "job", find, create, lambda error: _check_refusal(error, order, record))


def attach(provider: Provider, record: Record, job: str) -> str:
    """Have the record stand for a job that somebody made before.

    Raises
    ------
    ShelfmarkError
        When this key's account has no such job, or the record is of another one.
    """
    known = record.made("job")
    if known not in ("", job):
        raise ShelfmarkError(f"--job {job}: {record.file.parent} is of {known}; choose another --out")
    if not known:
        if record.unheard("job"):
            raise ShelfmarkError(
                f"--job {job}: {record.file.parent} may have made a job of its own; leave --job out and it is looked "
                "for, or choose another --out"
            )
        try:
            provider.again(lambda api: api.fine_tuning.jobs.retrieve(job))
        except RefusedError as error:
            raise ShelfmarkError(f"--job {job}: {error}; is it of another account than this key's?") from None
        record.add("made", what="job", id=job)
    return job


def same_file(provider: Provider, file: str, path: Path) -> bool:
    """Tell whether a file at the provider is this one, as far as it shows its files."""
    try:
        if provider.again(lambda api: api.files.retrieve(file)).bytes != path.stat().st_size:
            return False
        return bool(provider.again(lambda api: api.files.content(file).read()) == path.read_bytes())
    except (RefusedError, OutageError):
        return False


def _pass_on(error: ShelfmarkError) -> None:
    """Raise an error, unless it may pass."""
    if not isinstance(error, OutageError):
        raise error


def _made_once(
    provider: Provider,
    record: Record,
    what: str,
    find: Callable[[openai.OpenAI], str | None],
    make: Callable[[openai.OpenAI], Any],
    check: Callable[[ShelfmarkError], None] = _pass_on,
) -> str:
    """Return the id of what was made already, is found, or is made now; `check` raises what a refusal means."""
    if record.made(what):
        return record.made(what)
    for tries in range(TRIES):
        found = _look(provider, find) if record.unheard(what) else None
        if found is None:
            record.add("asked", what=what)
            try:
                found = made_id(provider.once(make))
                if not found:  # it may have been made
                    raise OutageError(f"{provider.url}: the answer to what was asked for names nothing")
            except ShelfmarkError as error:
                if not isinstance(error, OutageError) or error.status == 429:  # else it may have been done
                    record.add("refused", what=what)
                    check(error)
                if tries + 1 == TRIES:
                    raise
                provider.sleep(retry.wait(tries + 2, getattr(error, "retry_after", None)))
                continue
        record.add("made", what=what, id=found)
        return found
    raise AssertionError


def _look(provider: Provider, find: Callable[[openai.OpenAI], str | None]) -> str | None:
    """Look for what may be there, several times."""
    for seconds in LOOKS:
        if seconds:
            provider.sleep(seconds)
        found = provider.again(lambda api: [find(api)])[0]
        if found is not None:
            return found
    return None


def _file_name(record: Record, what: str) -> str:
    return f"shelfmark-{record.id}-{what}.jsonl"


def _find_file(record: Record, what: str) -> Callable[[openai.OpenAI], str | None]:
    name = _file_name(record, what)
    return lambda api: next((file.id for file in api.files.list(purpose="fine-tune") if file.filename == name), None)


def _upload(record: Record, what: str, path: Path) -> Callable[[openai.OpenAI], Any]:
    def upload(api: openai.OpenAI) -> Any:
        with open(path, "rb") as stream:
            return api.files.create(file=(_file_name(record, what), stream), purpose="fine-tune")

    return upload


def _await_file(provider: Provider, what: str, file: str) -> None:
    """Wait until the provider has read a file; where it takes long, the job finds out."""
    for tries in range(TRIES):
        try:
            seen = provider.again(lambda api: api.files.retrieve(file))
        except RefusedError as error:
            if error.status != 404:
                raise
            if tries + 1 == TRIES:
                raise ShelfmarkError(
                    f"{provider.url}: the file {file} is unknown there; is this the key of another account?"
                ) from None
        else:
            if seen.status == "error":
                why = provider.scrub(said(seen.status_details) or "no reason is given")
                raise ShelfmarkError(f"{provider.url}: the provider refused the file of the {what} rows, {file}: {why}")
            if seen.status != "uploaded":
                return
        provider.sleep(retry.wait(tries + 2))


def _check_refusal(error: ShelfmarkError, order: Order, record: Record) -> None:
    """Raise what it means that a job was refused, unless it may be taken in a moment."""
    if isinstance(error, OutageError) and FULL.search(str(error)):
        raise ShelfmarkError(
            f"{error}: the organisation has as many jobs as it may have; when one has ended, the same "
            f"command goes on with the files that are uploaded ({record.file.parent})"
        ) from None
    if not isinstance(error, RefusedError):
        _pass_on(error)
    elif not FRESH.search(error.reason):
        if "model" in f"{error.code} {error.reason}".lower():
            raise ShelfmarkError(f"--base {order.base}: cannot be fine-tuned with this key; {error}") from None
        raise error
