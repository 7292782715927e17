"""A fitted strategy, in memory and on disk."""

from __future__ import annotations

from collections.abc import Container, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from catalog.context import join_context
from catalog.errors import ShelfmarkError, nearest_place
from catalog.files import atomic_folder, content_hash, read_json, require_inside, write_json
from catalog.messages import Prediction
from catalog.products import Products, join_products, products_from_frame, read_products
from catalog.schema import Schema, load_schema
from classify.answers import AnswerReader
from classify.authority import name_all, require_named
from classify.contexts import check_learns, context_options
from classify.engines.levels import LevelsEngine
from classify.manifest_check import check_about
from classify.names import STRATEGIES
from classify.progress import Progress, silent
from classify.registry import answer_form, default_engine, engine_options, find, make_engine, own_llm
from classify.strategies.base import check_options
from finetune.fitted import Fitted

FORMAT = 1
KEYS = {"strategy", "schema", "options", "seed", "files"}
BLOCK_ROWS = 2048

Table = pd.DataFrame | Products | str | Path
"""Products as people have them: a pandas frame, a file or folder, or products already read."""
Tables = Table | Sequence[Table]


class Model:
    """A fitted strategy.

    Parameters
    ----------
    strategy : Strategy
        Fitted.
    schema : Schema
        The columns of the task.
    seed : int
        The seed that it was fitted with.
    folder : Path or None
        Where it was saved, if it was.
    """

    def __init__(self, strategy: Any, schema: Schema, *, seed: int, folder: Path | None = None) -> None:
        self.strategy, self.schema, self.seed, self.folder = strategy, schema, seed, folder

    def predict(
        self,
        products: Table,
        *,
        engine: str | None = None,
        context: str | Path | None = None,
        progress: Progress = silent,
        **options: Any,
    ) -> pd.DataFrame:
        """Return the predictions: a frame with the id, the levels, confidence and status, in input order.

        Parameters
        ----------
        products : DataFrame, str, Path or Products
            What to classify; labels are not needed.
        engine : str, optional
            What answers the requests, for strategies that ask; the strategy's default where it is None.
        context : str or Path, optional
            A cache of what the web says of products; for a model that has the option ``context_tokens``.
        progress : Progress
            Opens a progress bar.
        **options
            The engine's options, by the names of the command's flags: ``llm="..."``. Its answers are taken as they
            are; a run of the command learns on held-out rows how far to trust them.

        Raises
        ------
        ShelfmarkError
            When a row, the engine's name or an option is wrong.
        """
        answering = None
        if hasattr(self.strategy, "requests"):
            answering = self._engine(engine or default_engine(self.strategy.name), options)
        rows = _products(products, self.schema, labels=False)
        place = None if context is None else Path(context)
        context_options(self.strategy.name, self.strategy.options.model_dump(), place, model=self.folder or Path("it"))
        rows = rows if place is None else join_context(rows, place)
        table: list[dict[str, Any]] = []
        with progress("predict", len(rows)) as advance:
            for start in range(0, len(rows), BLOCK_ROWS):
                block = rows.take(range(start, min(start + BLOCK_ROWS, len(rows))))
                predictions = self._predictions(block, answering)
                table += [prediction.to_dict(self.schema.id, self.schema.levels) for prediction in predictions]
                advance(len(block))
        return pd.DataFrame(table)

    def _engine(self, name: str, options: dict[str, Any]) -> Any:
        mine = self.strategy
        checked = engine_options(name, options, mine.name).model_dump()
        form = answer_form(mine.name, lambda: mine.taxonomy, mine.options.policy)
        engine = make_engine(name, own_llm(mine.name, name, checked, self.folder, mine.options), form)
        if getattr(mine.options, "ask_by", "") == "level":
            return LevelsEngine(engine, mine.prompt, mine.taxonomy)
        return engine

    def _predictions(self, block: Products, engine: Any) -> list[Prediction]:
        if engine is None:
            predictions: list[Prediction] = self.strategy.predict(block)
            return predictions
        requests = self.strategy.requests(block)
        asked = [request for request in requests if request.messages]
        completions = {completion.id: completion for completion in engine.complete(asked)}
        return self._reader.read(block, requests, completions)

    @property
    def _reader(self) -> AnswerReader:
        if not hasattr(self, "_answers"):
            self._answers = AnswerReader(self.strategy.taxonomy, self.strategy.options.policy)
        return self._answers

    def save(self, folder: str | Path) -> None:
        """Write the model, whole or not at all.

        Raises
        ------
        ShelfmarkError
            When `folder` holds something else than a model.
        """
        folder = Path(folder)
        check_place(folder)
        with atomic_folder(folder) as place:
            self.strategy.save(place)
            files = {file.name: content_hash(file) for file in sorted(place.iterdir()) if file.is_file()}
            write_json(
                place / "model.json",
                {
                    "format": FORMAT,
                    "shelfmark": version("shelfmark"),
                    "strategy": self.strategy.name,
                    "schema": self.schema.to_dict(),
                    "options": self.strategy.options.model_dump(),
                    "seed": self.seed,
                    **({"provenance": self.strategy.provenance} if hasattr(self.strategy, "provenance") else {}),
                    "files": files,
                },
            )
        self.folder = folder


def work_folder(out: str | Path) -> Path:
    """Return where a fit that is to be saved in `out` keeps what it needs to go on."""
    out = Path(out)
    out = out if out.name else out.resolve()  # "." has no name
    return out.with_name(out.name + ".training")


def check_place(folder: str | Path) -> None:
    """Refuse a folder that no model may be written to.

    Raises
    ------
    ShelfmarkError
        When it holds something else than a model.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / "model.json").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ShelfmarkError(f"{folder}: there is something else; choose another --out")


def fit(
    train: Tables,
    *,
    strategy: str = "rag",
    schema: str | Schema = "indoml",
    seed: int = 0,
    context: str | Path | None = None,
    progress: Progress = silent,
    work: str | Path | None = None,
    **options: Any,
) -> Model:
    """Fit a strategy on labelled products.

    Parameters
    ----------
    train : DataFrame, str, Path or Products, or a list of these
        Products with labels: a frame with inputs and levels, or a file or folder as the command's ``--train``.
    strategy : str
        Its name: ``rag``, ``tree``, ``lora`` or ``openai``.
    schema : str or Schema
        A preset's name, a TOML file or a schema.
    seed : int
        The same data, options and seed give the same model.
    context : str or Path, optional
        A cache of what the web says of products, for strategies that learn from it (``lora``, ``openai``).
    progress : Progress
        Opens a progress bar.
    work : str or Path, optional
        A folder in which a fit of hours (``lora``, ``openai``) keeps what it needs to go on: given the same one again,
        a fit that was killed goes on, and nothing is paid twice. By default a new temporary one.
    **options
        The strategy's options, by the names of the command's flags: ``top_k=5``.

    Raises
    ------
    ShelfmarkError
        When a row, an option or a name is wrong.
    """
    if seed < 0:
        raise ShelfmarkError(f"--seed {seed}: the seed must be 0 or more")
    schema = load_schema(schema) if isinstance(schema, str) else schema
    chosen = find("strategy", STRATEGIES, strategy)
    if context is not None:
        check_learns(strategy)
        options = context_options(strategy, options, Path(context))
    checked = check_options(chosen.options_class, strategy, options)
    name_all(checked.model_dump())
    parts: list[Any] = list(train) if isinstance(train, list | tuple) else [train]
    if not parts:
        raise ShelfmarkError("nothing to train on: give a frame, a file or products, or several of these")
    products = join_products([_products(part, schema, labels=True) for part in parts])
    if context is not None:
        products = join_context(products, context)
    place = None if work is None else Path(work)
    return Model(chosen.fit(products, schema, checked, seed=seed, progress=progress, work=place), schema, seed=seed)


def load(folder: str | Path, *, strategy: str | None = None, trust: bool = False, **options: Any) -> Model:
    """Read a model that was saved.

    Parameters
    ----------
    folder : str or Path
        What `Model.save` or ``classify fit --out`` wrote.
    strategy : str, optional
        The strategy that the model must be of.
    trust : bool
        Take its prompt template, and what it names on this machine, though neither was given here: a model from
        somebody else is data but for these.
    **options
        Options to use in place of those that it was fitted with.

    Raises
    ------
    ShelfmarkError
        When the folder is no model, damaged, of another version or of another strategy, or it has a prompt template
        that was not given on this machine.
    """
    model = load_with(folder, options, strategy=strategy, trust=trust)
    name_all({name: value for name, value in model.strategy.options.model_dump().items() if name in options})
    return model


def load_with(
    folder: str | Path, options: dict[str, Any], *, strategy: str | None = None, trust: bool = False
) -> Model:
    """Read a model as `load` does, with options that a run's manifest has: they are not taken as given by the user.

    Raises
    ------
    ShelfmarkError
        As `load`.
    """
    about = describe(folder, strategy)
    own = own_options(folder, about, options, trust=trust)
    for name, written in about["files"].items():
        file = Path(folder) / name
        if not file.is_file() or content_hash(file) != written:
            raise ShelfmarkError(f"{file}: {'damaged' if file.exists() else 'missing'}; fit the model again")
    schema = Schema.from_dict(about["schema"])
    chosen = find("strategy", STRATEGIES, about["strategy"])
    checked = check_options(chosen.options_class, about["strategy"], {**own, **options})
    strategy_ = chosen.load(Path(folder), schema, checked, seed=about["seed"])
    return Model(strategy_, schema, seed=about["seed"], folder=Path(folder))


def describe(folder: str | Path, strategy: str | None = None) -> dict[str, Any]:
    """Return what ``model.json`` says of a saved model: strategy, schema, options, seed, and the hash of each file.

    Raises
    ------
    ShelfmarkError
        When the folder is no model, or one of another version or of another strategy than `strategy`.
    """
    file = Path(folder) / "model.json"
    if not file.is_file():
        raise ShelfmarkError(
            f"{folder}: not a model{nearest_place(folder)}; make one with classify fit --train TRAIN --out {folder}"
        )
    require_inside(folder)
    about: dict[str, Any] = read_json(file)
    if not isinstance(about, dict) or about.get("format") != FORMAT or not about.keys() >= KEYS:
        raise ShelfmarkError(f"{folder}: a model of another version of shelfmark; fit it again")
    check_about(about, str(file))
    if strategy is not None and about["strategy"] != strategy:
        raise ShelfmarkError(f"{folder}: a model of strategy {about['strategy']}; use --strategy {about['strategy']}")
    return about


def require_own_base(folder: str | Path, *, trust: bool = False) -> None:
    """Refuse a fine-tuned model that names a base on this machine which this machine's user did not.

    Raises
    ------
    ShelfmarkError
        When the user has neither given nor confirmed it, or the folder is no such model.
    """
    if Path(folder).is_dir():
        require_inside(folder)
    base = Fitted.read(folder).base
    require_named({"base": base}, Path(folder) / "model.json", trust=trust)


def own_options(
    folder: str | Path, about: dict[str, Any], given: Container[str], *, trust: bool = False
) -> dict[str, Any]:
    """Return the options of a saved model that are not given otherwise.

    Parameters
    ----------
    folder : str or Path
        The model.
    about : dict
        What `describe` says of it.
    given : container of str
        Options that the user gave in their place.
    trust : bool
        As in `load`.

    Raises
    ------
    ShelfmarkError
        When one of them only this machine's user may decide on, who has neither given nor confirmed it.
    """
    own = {name: value for name, value in about["options"].items() if name not in given}
    require_named(own, Path(folder) / "model.json", trust=trust)
    return own


def _products(table: Table, schema: Schema, *, labels: bool) -> Products:
    if isinstance(table, Products):
        return table
    if isinstance(table, pd.DataFrame):
        return products_from_frame(table, schema, labels=labels)
    if not isinstance(table, str | Path):
        raise ShelfmarkError(
            f"products are a pandas frame, a file or Products; not a value of type {type(table).__name__}"
        )
    return read_products(table, schema, labels=labels)
