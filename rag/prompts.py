"""Chat requests made of a product, its neighbours and the candidates, by a Jinja template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from catalog.errors import ShelfmarkError
from catalog.schema import Schema
from rag.tokens import TokenCounter

DEFAULT_TEMPLATE = Path(__file__).with_name("product.jinja")
BLOCKS = ("system", "user", "level")


def read_template(path: str | Path) -> str:
    """Return the text of a template file, checked.

    Raises
    ------
    ShelfmarkError
        When the file is missing, is not a Jinja template or lacks a block.
    """
    try:
        source = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ShelfmarkError(f"--prompt {path}: cannot be read as a template ({error})") from None
    _compile(source, str(path))
    return source


def _compile(source: str, name: str) -> jinja2.Template:
    try:
        template = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False).from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise ShelfmarkError(f"{name}, line {error.lineno}: not a Jinja template ({error.message})") from None
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
    """

    messages: list[dict[str, str]]
    neighbours: int
    candidates: int


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
        values = {
            "product": _on_one_line(product),
            "neighbours": [_on_one_line(near) for near in neighbours],
            "candidates": list(candidates),
        }
        turns = [(name, self._render(self._template, name, values)) for name in ("system", "user")]
        return [{"role": name, "content": text} for name, text in turns if text or name == "user"]

    def level(self, name: str, choices: Sequence[str]) -> str:
        """Return the question for one level: the end of the user's turn, or a further turn."""
        return self._render(self._level, "level", {"level": name, "choices": list(choices)})

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
        probable candidates (the best stays), then the end of the product's text.

        Raises
        ------
        ShelfmarkError
            When even a product without text does not fit.
        """

        quoted = list(product.get("context", ()))

        def made(near: int, listed: int, text: str, lines: int = 0) -> Question | None:
            shown = {**product, "text": text, "context": quoted[:lines]}
            turns = self.messages(shown, neighbours[:near], candidates[:listed])
            return Question(turns, near, listed) if count(turns) <= limit else None

        text = str(product["text"])
        whole = made(len(neighbours), len(candidates), text, len(quoted))
        if whole is not None:
            return whole
        least = min(1, len(candidates))
        found = _most(len(neighbours), lambda near: made(near, len(candidates), text, len(quoted)))
        found = found or _most(len(quoted), lambda lines: made(0, len(candidates), text, lines))
        found = found or _most(len(candidates), lambda listed: made(0, max(listed, least), text))
        found = found or _most(len(text), lambda letters: made(0, least, text[:letters]))
        if found is None:
            raise ShelfmarkError(f"--max-prompt-tokens {limit}: the bare question is longer; allow more")
        return found

    def _render(self, template: jinja2.Template, block: str, values: dict[str, Any]) -> str:
        context = template.new_context(
            {
                **values,
                "schema": self.schema,
                "by_level": self.by_level,
                "zero_shot": self.zero_shot,
                "quotes": self.quotes,
            }
        )
        try:
            return "".join(template.blocks[block](context)).strip()
        except Exception as error:  # a template is code: it may divide by zero
            raise ShelfmarkError(f"the prompt template: {error}; see {DEFAULT_TEMPLATE} for what there is") from None


def _on_one_line(product: dict[str, Any]) -> dict[str, Any]:
    """Return the product with a text of one line: each neighbour is a line of the list."""
    return {**product, "text": re.sub(r"\s*[\r\n]\s*", " ", str(product["text"]))}


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
