"""The folder of a fine-tune: what it learns from, by which recipe, and how far it is; a killed one goes on there."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from catalog.errors import ShelfmarkError
from catalog.files import atomic_write, owned, read_json_as, require_plain, write_json
from catalog.json_reader import checked, decode_json
from catalog.messages import LabelPath
from finetune.examples import Example, Turn
from finetune.recipe import Recipe

Labelled = tuple[list[Turn], LabelPath]
"""A held-out row: what the user says, and the label that is right."""


BEGIN_AGAIN = "fit the model again"


class _Written(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _About(_Written):
    recipe: dict[str, Any]
    backend: str
    report_to: str
    learned_rows: str = ""
    held_out_rows: str = ""


class _Learned(_Written):
    prompt: list[dict[str, str]]
    completion: list[dict[str, str]]


class _HeldOut(_Written):
    prompt: list[dict[str, str]]
    label: list[str]


Line = TypeVar("Line", bound=_Written)


@dataclass(frozen=True)
class TrainingJob:
    """A fine-tune on disk.

    Attributes
    ----------
    folder : Path
        Holds ``job.json``, ``train.jsonl``, ``validation.jsonl``, the checkpoints and, when all is done, the adapters
        ``adapter`` (of the best checkpoint) and ``last`` with ``training.json``.
    recipe : Recipe
        What is done.
    backend : {'trl', 'unsloth'}
        What does it.
    report_to : str
        ``none``, ``tensorboard`` or ``wandb``.
    """

    folder: Path
    recipe: Recipe
    backend: str
    report_to: str = "none"

    @classmethod
    def open(cls, folder: Path) -> TrainingJob:
        """Read a folder that `begin` made."""
        about = read_json_as(_About, folder / "job.json", BEGIN_AGAIN)
        return cls(
            folder, checked(Recipe, about.recipe, f"{folder}/job.json", BEGIN_AGAIN), about.backend, about.report_to
        )

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints are."""
        return self.folder / "checkpoints"

    @property
    def adapter(self) -> Path:
        """The adapter of the best checkpoint."""
        return self.folder / "adapter"

    @property
    def last(self) -> Path:
        """The adapter of the last one."""
        return self.folder / "last"

    @property
    def done(self) -> bool:
        """Whether training is over."""
        return (self.folder / "training.json").is_file()

    def examples(self) -> list[Example]:
        """Return what is learned from."""
        return [Example(line.prompt, line.completion) for line in _lines(self.folder / "train.jsonl", _Learned)]

    def validation(self) -> list[Labelled]:
        """Return the held-out rows."""
        return read_validation(self.folder / "validation.jsonl")


def read_validation(file: Path) -> list[Labelled]:
    """Return the held-out rows of a file that `begin` wrote."""
    return [(line.prompt, tuple(line.label)) for line in _lines(file, _HeldOut)]


def begin(
    folder: Path,
    recipe: Recipe,
    backend: str,
    learned: Sequence[Example],
    held_out: Sequence[tuple[Example, LabelPath]],
    *,
    report_to: str = "none",
) -> TrainingJob:
    """Make the folder of a fine-tune, or find the one that a killed process left.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    recipe, backend
        See `TrainingJob`.
    learned : sequence of Example
        What is learned from.
    held_out : sequence of (Example, label path)
        What accuracy is measured on.
    report_to : str
        See `TrainingJob`; another one may be asked for when training goes on.

    Raises
    ------
    ShelfmarkError
        When the folder holds a fine-tune by another recipe or of other rows.
    """
    wanted = {
        "recipe": recipe.model_dump(),
        "backend": backend,
        "learned_rows": _fingerprint(learned),
        "held_out_rows": _fingerprint([example for example, _ in held_out]),
        "report_to": report_to,
    }
    started = (folder / "training.json").is_file() or last_checkpoint(folder / "checkpoints") is not None
    if started:
        here = read_json_as(_About, folder / "job.json", BEGIN_AGAIN)
        _require_same(folder, here.model_dump(), wanted)
    else:  # nothing is lost by beginning again
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "train.jsonl", [{"prompt": one.prompt, "completion": one.completion} for one in learned])
        rows = [{"prompt": one.prompt, "completion": one.completion, "label": label} for one, label in held_out]
        _write(folder / "validation.jsonl", rows)
    write_json(folder / "job.json", wanted)
    return TrainingJob(folder, recipe, backend, report_to)


def last_checkpoint(checkpoints: Path) -> Path | None:
    """Return the newest checkpoint that is whole, and delete those that a killed process left torn."""
    whole: dict[int, Path] = {}
    for place in checkpoints.glob("checkpoint-*"):
        if (place / COMPLETE).is_file():
            whole[int(place.name.rpartition("-")[2])] = place
        else:
            shutil.rmtree(place)
    return whole[max(whole)] if whole else None


COMPLETE = "complete.json"
"""Written last into a checkpoint; says how many seconds of training lie behind it."""


def _require_same(folder: Path, here: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in {
        **wanted["recipe"],
        **{key: wanted[key] for key in ("backend", "learned_rows", "held_out_rows")},
    }.items():
        if name in ("about", "batch_size", "gradient_accumulation"):
            continue
        before = here["recipe"].get(name, here.get(name))
        if before != value:
            rows = name.endswith("_rows")
            what = "other rows" if rows else f"another recipe ({name} was {before}, now {value})"
            raise ShelfmarkError(
                f"{folder}: an unfinished fine-tune by {what}; give it the same again, choose another --out, or "
                "delete the folder"
            )

    before, now = (
        figures["batch_size"] * figures["gradient_accumulation"] for figures in (here["recipe"], wanted["recipe"])
    )
    if before != now:  # in smaller batches, where memory was short, a step is the same
        raise ShelfmarkError(
            f"{folder}: an unfinished fine-tune by another recipe (a step was of {before} rows, now {now}); keep batch "
            "size times gradient accumulation as it was, choose another --out, or delete the folder"
        )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from working on the same fine-tune.

    Raises
    ------
    ShelfmarkError
        When one does, or there is a link in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    require_plain(folder)
    with open(folder / ".begun", "a", opener=owned) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ShelfmarkError(f"{folder}: another process is working on this fine-tune; wait for it") from None
        yield


def _fingerprint(examples: Sequence[Example]) -> str:
    digest = hashlib.sha256()
    for one in examples:
        digest.update(json.dumps([one.prompt, one.completion]).encode())
    return digest.hexdigest()


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with atomic_write(path) as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def _lines(path: Path, kind: type[Line]) -> Iterator[Line]:
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            place = f"{path}, line {number}"
            try:
                value = decode_json(line)
            except ValueError as error:
                raise ShelfmarkError(f"{place}: damaged ({error}); {BEGIN_AGAIN}") from None
            yield checked(kind, value, place, BEGIN_AGAIN)
