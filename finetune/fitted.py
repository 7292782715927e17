"""A fitted LoRA model on disk: what its files say of it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError
from catalog.files import read_json
from catalog.schema import Schema
from finetune.fitted_check import check_model, read_training

STRATEGY = "lora"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class Fitted:
    """What a fitted LoRA model says of itself.

    Attributes
    ----------
    folder : Path
        Where it is.
    about : dict
        ``model.json``: strategy, schema, options, seed.
    training : dict
        ``training.json``: rows, losses, scores, lengths, versions.
    """

    folder: Path
    about: dict[str, Any]
    training: dict[str, Any]

    @classmethod
    def read(cls, folder: str | Path) -> Fitted:
        """Read the model in `folder`.

        Raises
        ------
        ShelfmarkError
            When it is no model, one of another strategy, or damaged.
        """
        folder = Path(folder)
        file = folder / "model.json"
        if not file.is_file():
            raise ShelfmarkError(f"{folder}: not a model; make one with classify fit --strategy lora --out {folder}")
        about = read_json(file)
        strategy = about.get("strategy") if isinstance(about, dict) else None
        if strategy != STRATEGY:
            raise ShelfmarkError(f"{folder}: a model of strategy {strategy}; this is for one of strategy {STRATEGY}")
        check_model(about, file)
        return cls(folder, about, read_training(folder / "training.json"))

    @property
    def schema(self) -> Schema:
        """The columns of the task."""
        return Schema.from_dict(self.about["schema"], str(self.folder))

    @property
    def options(self) -> dict[str, Any]:
        """The figures that it was fitted with: those of a recipe, and the policy, the recipe's name and the backend."""
        options: dict[str, Any] = self.about["options"]
        return options

    @property
    def base(self) -> str:
        """The base model: a folder, or a name on the Hugging Face hub."""
        return str(self.training.get("base") or self.options.get("base", ""))

    @property
    def base_on_hub(self) -> str | None:
        """The base's name on the hub, or None for one that is a folder."""
        return self.base if is_hub_name(self.base) else None

    @property
    def shown_base(self) -> str:
        """What others are told of the base: its name on the hub, or the last part of its path."""
        return public_name(self.base)

    @property
    def notes(self) -> list[str]:
        """What else was told of the training."""
        return list(self.training.get("notes") or [])

    @property
    def merged(self) -> Path:
        """The folder of the merged model.

        Raises
        ------
        ShelfmarkError
            When there is none.
        """
        return self._part("merged", "config.json")

    @property
    def adapter(self) -> Path:
        """The folder of the adapters.

        Raises
        ------
        ShelfmarkError
            When there is none.
        """
        return self._part("adapter", "adapter_config.json")

    def validation(self, rows: int) -> list[dict[str, Any]]:
        """Return the first validation examples, at most `rows`: dicts of ``prompt`` and ``completion`` turns.

        Raises
        ------
        ShelfmarkError
            When there are none, or the file is damaged.
        """
        file = self.folder / "validation.jsonl"
        found: list[dict[str, Any]] = []
        try:
            with open(file, encoding="utf-8", newline="\n") as stream:
                for line in stream:
                    if len(found) == rows:
                        break
                    found.append(json.loads(line))
        except FileNotFoundError:
            pass
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ShelfmarkError(f"{file}: damaged ({error}); fit the model again") from None
        if not found:
            raise ShelfmarkError(f"{file}: no validation rows; fit the model with --validation 1 or more")
        return found

    def _part(self, name: str, file: str) -> Path:
        place = self.folder / name
        if not (place / file).is_file():
            raise ShelfmarkError(f"{place}: missing or not whole; fit the model again")
        return place


def is_hub_name(name: str) -> bool:
    """Tell whether this is a name on the Hugging Face hub (``owner/name``), and no folder of this machine."""
    return _HUB_NAME.fullmatch(name) is not None and not Path(name).exists()


def public_name(name: str) -> str:
    """Return a name on the hub as it is, and of a path its last part."""
    return name if is_hub_name(name) else re.split(r"[/\\]", name.rstrip("/\\"))[-1]
