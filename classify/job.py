"""What a run is to do, and what makes two jobs the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, nearest_place
from catalog.files import content_hash
from catalog.places import features_file, labels_beside, readable
from catalog.schema import Schema
from classify.engines.base import EngineOptions
from classify.model import describe
from classify.names import STRATEGIES
from classify.registry import default_engine, engine_options, find

MONEY = ("gpu_price", "max_cost", "prices")
"""What a run may cost, and by which prices: with others it is the same job."""


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
    train : tuple of Path
        Labelled products to fit on; empty where there is a model.
    model : Path or None
        A fitted model.
    limit : int or None
        Classify so many rows at most.
    engine_options : dict
        What the user chose of the engine's options.
    gpu_price : float or None
        Dollars an hour of the machine that answers.
    max_cost : float or None
        Dollars that a provider may be paid at most.
    prices : str
        A file of prices in place of those that are known; empty for these alone.
    context : Path or None
        A cache of what the web says of products.
    """

    strategy: str
    engine: str
    schema: Schema
    options: dict[str, Any]
    seed: int
    test: Path
    train: tuple[Path, ...] = ()
    model: Path | None = None
    limit: int | None = None
    engine_options: dict[str, Any] = field(default_factory=dict)
    gpu_price: float | None = None
    max_cost: float | None = None
    prices: str = ""
    context: Path | None = None

    def identity(self) -> dict[str, Any]:
        """Return what makes two jobs the same: the options, and the content of what is read.

        Raises
        ------
        ShelfmarkError
            When an input is missing, or there is no strategy or engine of that name.
        """
        chosen = find("strategy", STRATEGIES, self.strategy)
        engine = self.engine or default_engine(self.strategy)
        given = ["engine"] if self.engine else sorted(self.engine_options)
        if given and not hasattr(chosen, "requests"):
            raise ShelfmarkError(f"--{given[0].replace('_', '-')}: the strategy {self.strategy} asks no engine")
        answering = engine_options(engine, self.engine_options, self.strategy).model_dump() if engine else {}
        test = features_file(self.test, "test")
        inputs = {"test": _hash(test)}
        inputs.update({name: _hash(file) for name, file in training_files(self.train).items()})
        if self.model is not None:
            describe(self.model)
            inputs["model"] = _hash(self.model / "model.json")
        if self.context is not None:
            inputs["context"] = _hash(self.context)
        return {
            "strategy": self.strategy,
            "engine": engine,
            "engine_options": answering,
            "gpu_price": self.gpu_price,
            "max_cost": self.max_cost,
            "prices": self.prices and readable(Path(self.prices).resolve()),
            "schema": self.schema.to_dict(),
            "options": self.options,
            "seed": self.seed,
            "limit": self.limit,
            "train": [readable(path.resolve()) for path in self.train],
            "model": None if self.model is None else readable(self.model.resolve()),
            "inputs": inputs,
        }


def training_files(train: Sequence[Path]) -> dict[str, Path]:
    """Return the files that training reads, features and labels, by the names under which a manifest has their hashes.

    Raises
    ------
    ShelfmarkError
        When a folder holds no training file.
    """
    files = {}
    for number, path in enumerate(train, start=1):
        name = "train" if len(train) == 1 else f"train {number}"
        files[name] = features_file(path, "train")
        labels = labels_beside(files[name])
        if labels is not None:
            files[f"{name} labels"] = labels
    return files


def require_same(folder: Path, here: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse to go on in the directory of another job.

    Parameters
    ----------
    folder : Path
        Of a run.
    here : dict
        Its manifest.
    wanted : dict
        The `Job.identity` of the job that is to go on there.

    Raises
    ------
    ShelfmarkError
        When it is another: what is different.
    """
    for key, value in wanted.items():
        mine = here.get(key)
        if key == "engine_options" and isinstance(mine, dict):
            usual = engine_options(wanted["engine"], {}) if wanted["engine"] else EngineOptions()
            # What an older version did not know of stands as it is by default.
            mine = {name: mine.get(name, getattr(usual, name)) for name in value} if mine else mine
            mine = {name: mine[name] for name in mine if name not in usual.free}
            value = {name: value[name] for name in value if name not in usual.free}
        # Files and models are compared by content, as inputs.
        if mine == value or key in ("train", "model", *MONEY):
            continue
        if isinstance(value, dict) and isinstance(mine, dict):
            kind = key
            key = min(name for name in value.keys() | mine.keys() if value.get(name) != mine.get(name))
            mine, value = mine.get(key, "none"), "other content" if kind == "inputs" else value.get(key, "none")
        raise ShelfmarkError(
            f"{folder}: belongs to another job ({key} was {_shown(mine)}, now {_shown(value)}); "
            "choose another --run, or delete it"
        )


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _hash(path: Path) -> str:
    if not path.is_file():
        raise ShelfmarkError(f"{path}: no such file{nearest_place(path)}")
    return content_hash(path)
