"""The seam behind which every engine lives, and what the engines that are language models have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from catalog.messages import Completion, Request
from classify.costs import Budget
from classify.engines.forms import AnswerForm

Constrain = Literal["choice", "json", "off"]
Tell = Callable[[str], None]


class EngineOptions(BaseModel):
    """What a user chooses of an engine; each engine adds its own.

    Attributes
    ----------
    free : frozenset of str
        Names of options that change no answer (speed, patience): a run may be resumed with others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    free: ClassVar[frozenset[str]] = frozenset()


class ModelOptions(EngineOptions):
    """What a user chooses of any engine that is a language model.

    Attributes
    ----------
    llm : str
        The model: a folder, a name on the Hugging Face hub, or what a server calls it.
    temperature : float
        0 always takes the likeliest token; above, answers are drawn.
    max_tokens : int or None
        The most tokens of an answer; by default what each request says.
    constrain : {'choice', 'json', 'off'}
        ``choice``: the answer is one of the candidates, letter by letter. ``json``: an object whose ``label`` is one of
        them. ``off``: free text. To a request without candidates: a valid label path, letter by letter; an object with
        a key for each level; free text.
    seed : int
        Of the drawing, where the temperature is above 0.
    """

    llm: str = ""
    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1, le=4096)
    constrain: Constrain = "choice"
    seed: int = Field(default=0, ge=0)


class ApiOptions(ModelOptions):
    """What a user chooses of any engine that speaks a provider's API.

    Attributes
    ----------
    stop : str
        Answers end before it; empty where they end by themselves.
    """

    stop: str = Field(default="", max_length=64)


class Engine(Protocol):
    """Answers requests. Made with its checked options; loads and connects when it is first asked."""

    name: ClassVar[str]
    options_class: ClassVar[type[EngineOptions]]
    deterministic: ClassVar[bool]
    """Whether the same requests give the same bytes; the manifest records it."""
    needs: ClassVar[tuple[str, str] | None]
    """The package that it cannot do without and the extra that installs it: looked for before hours of work."""
    report: dict[str, Any]
    """What there is to tell of the work so far (retries, versions): JSON values, for the manifest."""
    form: AnswerForm | None
    """What may be answered to requests without candidates; set before the first is asked, None where unknown."""

    def __init__(self, options: Any) -> None: ...

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion for each request, in any order, as they come.

        Requests are drawn from the iterable when there is room for them, not before: one that is drawn counts as asked.
        An answer that cannot be had is a completion with an `error`, not an exception; an engine that is of no use at
        all (no such model, no server) is a `ShelfmarkError`.
        """


@runtime_checkable
class KeepsBooks(Protocol):
    """An engine that keeps books of what is paid, and so asks many requests at once and none twice."""

    def keep_books(self, folder: Path, run: str, budget: Budget, *, begun: bool, written: float, tell: Tell) -> None:
        """Say where the books are; to be called before anything is asked."""
