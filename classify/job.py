"""What a run is to do, and what makes two jobs the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError
from catalog.files import content_hash
from catalog.products import features_file, labels_beside
from catalog.schema import Schema
from classify.model import describe
from classify.registry import DEFAULT_ENGINES, ENGINES, STRATEGIES, find


@dataclass(frozen=True)
class Job:
    """What a run is to do.

    Attributes
    ----------
    strategy, engine : str
        Their names; the engine is an empty string for a strategy that asks nothing.
    schema : Schema
        The columns.
    options : dict
        All of the strategy's options.
    seed : int
        The seed.
    test : Path
        The products to classify.
    train, model : Path or None
        One of the two: labelled products to fit on, or a fitted model.
    limit : int or None
        Classify so many rows at most.
    """

    strategy: str
    engine: str
    schema: Schema
    options: dict[str, Any]
    seed: int
    test: Path
    train: Path | None = None
    model: Path | None = None
    limit: int | None = None

    def identity(self) -> dict[str, Any]:
        """Return what makes two jobs the same: the options, and the content of what is read.

        Raises
        ------
        ShelfmarkError
            When an input is missing, or there is no strategy or engine of that name.
        """
        find("strategy", STRATEGIES, self.strategy)
        if self.engine:
            find("engine", ENGINES, self.engine)
        test = features_file(self.test, "test")
        inputs = {"test": _hash(test)}
        if self.train is not None:
            train = features_file(self.train, "train")
            inputs["train"] = _hash(train)
            labels = labels_beside(train)
            if labels is not None:
                inputs["train labels"] = _hash(labels)
        if self.model is not None:
            describe(self.model)
            inputs["model"] = _hash(self.model / "model.json")
        return {
            "strategy": self.strategy,
            "engine": self.engine or DEFAULT_ENGINES.get(self.strategy, ""),
            "schema": self.schema.to_dict(),
            "options": self.options,
            "seed": self.seed,
            "limit": self.limit,
            "train": None if self.train is None else str(self.train.resolve()),
            "model": None if self.model is None else str(self.model.resolve()),
            "inputs": inputs,
        }


def _hash(path: Path) -> str:
    if not path.is_file():
        raise ShelfmarkError(f"{path}: no such file")
    return content_hash(path)
