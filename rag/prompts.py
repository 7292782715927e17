"""Chat requests made of a product, its neighbours and the candidates, by a Jinja template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from catalog.errors import ShelfmarkError, first_line
from catalog.foreign import one_line
from catalog.schema import Schema
from rag.sandbox import MOST_SOURCE, PromptEnvironment
from rag.tokens import TokenCounter

DEFAULT_TEMPLATE = Path(__file__).with_name("product.jinja")
BLOCKS = ("system", "user", "level")
LETTERS_A_TOKEN = 20
"""No text has more: what is longer than so many for each token that a prompt may have needs no counting."""
MOST_LETTERS, MOST_OF_NEIGHBOUR, MOST_OF_RETAILER = 100_000, 10_000, 200
"""Of a product's text, a neighbour's, a retailer's name that a prompt shows, at most."""


def read_template(path: str | Path) -> str:
    """Return the text of a template file, checked.

    Raises
    ------
    ShelfmarkError
        When the file is missing, is not a Jinja template or lacks a block.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            source = stream.read(MOST_SOURCE + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ShelfmarkError(f"--prompt {path}: cannot be read as a template ({error})") from None
    _compile(source, str(path))
    return source


def _compile(source: str, name: str) -> jinja2.Template:
    if len(source) > MOST_SOURCE:
        raise ShelfmarkError(f"{name}: longer than {MOST_SOURCE:,} letters, which no prompt template is; shorten it")
    try:
        template = PromptEnvironment().from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise ShelfmarkError(f"{name}, line {error.lineno}: not a Jinja template ({error.message})") from None
    except Exception as error:  # of what Python makes of it: nested too deep, twenty loops in each other
        raise ShelfmarkError(f"{name}: not a Jinja template ({first_line(error)})") from None
    for block in BLOCKS:
        if block not in template.blocks and block != "level":
            raise ShelfmarkError(f"{name}: it has no block '{block}'; copy {DEFAULT_TEMPLATE} and change that")
    return template


@dataclass(frozen=True)
class Question:
    """A chat request, and what found room in it.

    Attributes
    ----------
    messages : list of dict
        The chat turns.
    neighbours, candidates : int
        How many of those handed in are in it: the first so many.
    cut : bool
        Whether the end of the product's own text found no room.
    """

    messages: list[dict[str, str]]
    neighbours: int
    candidates: int
    cut: bool = False


class Prompt:
    """A template with the blocks ``system`` and ``user``, which become the two turns of a chat request.

    An empty system block is no turn. A third block, ``level``, asks for one level; where a template has none, the
    default's is used.

    Parameters
    ----------
    schema : Schema
        Handed to the template.
    source : str
        The template's text; ``product.jinja`` beside this module, which is the default, says what it is given.
    by_level : bool
        Whether the levels are asked for one by one: then the user's turn lists no candidates and asks nothing yet.
    zero_shot : bool
        Whether no labels are shown at all.
    quotes : bool
        Whether products come with what was found of them on the web.

    Raises
    ------
    ShelfmarkError
        When `source` is not a Jinja template, lacks a block, or does not show what was found.
    """

    def __init__(
        self, schema: Schema, source: str = "", *, by_level: bool = False, zero_shot: bool = False, quotes: bool = False
    ) -> None:
        self.schema, self.by_level, self.zero_shot, self.quotes = schema, by_level, zero_shot, quotes
        if quotes and source and "product.context" not in source:
            raise ShelfmarkError(f"--prompt: the template does not show product.context; see {DEFAULT_TEMPLATE}")
        default = DEFAULT_TEMPLATE.read_text(encoding="utf-8")
        self._columns = _plain({**schema.to_dict(), "inputs": schema.inputs, "joined": schema.joined})
        self._template = _compile(source or default, "the prompt template")
        self._level = self._template if "level" in self._template.blocks else _compile(default, DEFAULT_TEMPLATE.name)

    def messages(
        self, product: dict[str, Any], neighbours: Sequence[dict[str, Any]], candidates: Sequence[str]
    ) -> list[dict[str, str]]:
        """Return the chat turns for one product.

        Parameters
        ----------
        product : dict
            ``text``, ``retailer``, ``price`` (None where it is missing); there may be ``context``, lines from the web.
        neighbours : sequence of dict
            The same keys and ``label`` (joined) and ``found``, nearest first.
        candidates : sequence of str
            Joined labels, most probable first.
        """
        values = {"product": product, "neighbours": neighbours, "candidates": candidates}
        turns = [(name, self._render(self._template, name, values)) for name in ("system", "user")]
        return [{"role": name, "content": text} for name, text in turns if text or name == "user"]

    def level(self, name: str, choices: Sequence[str]) -> str:
        """Return the question for one level: the end of the user's turn, or a further turn."""
        return self._render(self._level, "level", {"level": name, "choices": choices})

    def within(
        self,
        product: dict[str, Any],
        neighbours: Sequence[dict[str, Any]],
        candidates: Sequence[str],
        *,
        count: TokenCounter,
        limit: int,
    ) -> Question:
        """Return the chat turns for one product, of `limit` tokens at most.

        The least similar neighbours go first; then, should it come to that, the last lines from the web, then the least
        probable candidates (the best stays), then the end of the product's text, then of its retailer's name.

        Raises
        ------
        ShelfmarkError
            When even a product without text does not fit.
        """

        quoted = list(product.get("context", ()))
        given = str(product["text"])
        bounded = _bounded(product, min(LETTERS_A_TOKEN * limit, MOST_LETTERS))
        neighbours = [_bounded(near, MOST_OF_NEIGHBOUR) for near in neighbours]

        def made(near: int, listed: int, text: str, lines: int = 0, retailer: str | None = None) -> Question | None:
            shop = bounded["retailer"] if retailer is None else retailer
            shown = {**bounded, "text": text, "retailer": shop, "context": quoted[:lines]}
            turns = self.messages(shown, neighbours[:near], candidates[:listed])
            return Question(turns, near, listed, len(text) < len(given)) if count(turns) <= limit else None

        text, shop = bounded["text"], bounded["retailer"]
        whole = made(len(neighbours), len(candidates), text, len(quoted))
        if whole is not None:
            return whole
        least = min(1, len(candidates))
        found = _most(len(neighbours), lambda near: made(near, len(candidates), text, len(quoted)))
        found = found or _most(len(quoted), lambda lines: made(0, len(candidates), text, lines))
        found = found or _most(len(candidates), lambda listed: made(0, max(listed, least), text))
        found = found or _most(len(text), lambda letters: made(0, least, text[:letters]))
        found = found or _most(len(shop), lambda letters: made(0, least, "", retailer=shop[:letters]))
        if found is None:
            raise ShelfmarkError(f"--max-prompt-tokens {limit}: the bare question is longer; allow more")
        return found

    def _render(self, template: jinja2.Template, block: str, values: dict[str, Any]) -> str:
        flags = {"by_level": self.by_level, "zero_shot": self.zero_shot, "quotes": self.quotes}
        context = template.new_context({**_plain(values), "schema": self._columns, **flags})
        environment = template.environment
        try:
            assert isinstance(environment, PromptEnvironment)
            environment.begin()
            return environment.concat(template.blocks[block](context)).strip()
        except Exception as error:  # a template is code: it may divide by zero, or reach for what it may not have
            raise ShelfmarkError(
                f"the prompt template: {first_line(error)}; see {DEFAULT_TEMPLATE} for what there is"
            ) from None


def _bounded(product: dict[str, Any], letters: int) -> dict[str, Any]:
    """Return a product whose text and retailer are of a bounded length."""
    return {
        **product,
        "text": str(product["text"])[:letters],
        "retailer": str(product["retailer"])[:MOST_OF_RETAILER],
    }


def _plain(value: Any) -> Any:
    """Return a copy of plain values alone, whose texts are of one line: a product's text begins no line of a prompt."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float) else one_line(str(value))


def _most(limit: int, attempt: Any) -> Question | None:
    """Return what `attempt` makes of the largest number below `limit` that it can make something of."""
    low, high, best = 0, limit - 1, None
    while low <= high:
        middle = (low + high) // 2
        found = attempt(middle)
        if found is None:
            high = middle - 1
        else:
            best, low = found, middle + 1
    return best
