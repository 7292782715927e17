"""What a strategy is."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from catalog.errors import ShelfmarkError, nearest
from catalog.messages import Prediction, Request
from catalog.products import Products
from catalog.schema import Policy, Schema
from catalog.taxonomy import Taxonomy
from classify.engines.forms import Writing
from classify.progress import Progress


class Options(BaseModel):
    """What a user chooses of a strategy; each strategy adds its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: Policy = "path"


class Strategy(Protocol):
    """Learns from labelled products and predicts the label paths of others."""

    name: ClassVar[str]
    options_class: ClassVar[type[Options]]
    schema: Schema
    options: Any
    taxonomy: Taxonomy

    @classmethod
    def fit(
        cls, train: Products, schema: Schema, options: Any, *, seed: int, progress: Progress, work: Path | None = None
    ) -> Self:
        """Learn from labelled products; what takes hours keeps in the folder `work` what it needs to go on there."""

    def save(self, folder: Path) -> None:
        """Write what was learned into `folder`.

        One that has ``provenance``, JSON values that say where the model is, finds them in ``model.json`` as well.
        """

    @classmethod
    def load(cls, folder: Path, schema: Schema, options: Any, *, seed: int) -> Self:
        """Read what `save` wrote, to be used with `options` (which may differ from those of the fit)."""


class ChatStrategy(Strategy, Protocol):
    """A strategy that asks: it writes requests, which an engine answers.

    One whose options have ``calibrate`` also has ``held_out_requests(count)``, which returns at most so many pairs of a
    request about a training row that was not learned from, and its label.
    """

    answers_as: ClassVar[Writing | Literal[""]] = ""
    """How an answer writes a label path, where requests name no candidates; empty where they do."""

    @classmethod
    def engine_defaults(cls) -> dict[str, Any]:
        """Return options of engines where the user says nothing, in place of the engine's own; it need not be there."""

    def requests(self, products: Products) -> list[Request]:
        """Return one request for each product, in order."""


class OwnLlm(ChatStrategy, Protocol):
    """A strategy that brings its own LLM: where no ``llm`` is named, engines that can answer with it do."""

    llm_engines: ClassVar[tuple[str, ...]]
    """Names of those engines."""

    @classmethod
    def own_llm(cls, folder: Path, engine: str, options: Any) -> dict[str, Any]:
        """Return the engine options by which the LLM of a fitted model answers.

        Parameters
        ----------
        folder : Path
            Of the model: where `save` wrote.
        engine : str
            The engine's name, one of `llm_engines`.
        options : Options
            Of the strategy.

        Returns
        -------
        dict
            ``llm``, and what else the engine needs: for an adapter ``adapter`` and ``quantization``.

        Raises
        ------
        ShelfmarkError
            When it is not there.
        """


class DirectStrategy(Strategy, Protocol):
    """A strategy that needs no engine."""

    def predict(self, products: Products) -> list[Prediction]:
        """Return one prediction for each product, in order."""


Chosen = TypeVar("Chosen", bound=BaseModel)


def check_options(options_class: type[Chosen], owner: str, given: dict[str, Any]) -> Chosen:
    """Make the options of a strategy or an engine, called `owner`, of what the user gave.

    Raises
    ------
    ShelfmarkError
        When it has no such option, or the value is wrong.
    """
    known = options_class.model_fields
    check_known(owner, given, known)
    try:
        return options_class(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        if name not in given:
            raise ShelfmarkError(f"the options of {owner}: {name} {first['msg']}") from None
        if first["type"] == "literal_error":
            value, values = str(given[name]), get_args(known[name].annotation)
            raise ShelfmarkError(
                f"{_flag(name)} {value}: unknown{nearest(value, values)}; there are: {', '.join(values)}"
            ) from None
        raise ShelfmarkError(f"{_flag(name)} {given[name]}: {first['msg']}") from None


def check_known(owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse options that `owner` does not have.

    Raises
    ------
    ShelfmarkError
        When one of those given is not known.
    """
    flags = [_flag(name) for name in known]
    for flag in map(_flag, given):
        if flag not in flags:
            raise ShelfmarkError(
                f"{flag} is not an option of {owner}{nearest(flag, flags)}; it has {', '.join(flags) or 'none'}"
            )


def check_fitted(options: BaseModel, fitted: dict[str, Any], free: Container[str]) -> None:
    """Refuse options that are fixed by the fit.

    Parameters
    ----------
    options : Options
        What is wanted of a fitted model.
    fitted : dict
        The options that it was fitted with.
    free : container of str
        Names of those that may be others.

    Raises
    ------
    ShelfmarkError
        When another one is wanted otherwise.
    """
    for name, value in options.model_dump().items():
        # What an older version did not know of stands as it is by default.
        before = fitted.get(name, type(options).model_fields[name].default)
        if name not in free and before != value:
            raise ShelfmarkError(f"{_flag(name)} {value}: this model was fitted with {before}; fit another one")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
