"""Chat requests made of a product, its neighbours and the candidates, by a Jinja template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from catalog.errors import ShelfmarkError
from catalog.schema import Schema

DEFAULT_TEMPLATE = Path(__file__).with_name("product.jinja")


class Prompt:
    """A template with two blocks, ``system`` and ``user``, that become the two messages of a chat request.

    Parameters
    ----------
    schema : Schema
        Handed to the template.
    path : Path
        The template; ``product.jinja`` beside this module says what it is given.

    Raises
    ------
    ShelfmarkError
        When the file is missing, is not a Jinja template or lacks a block.
    """

    def __init__(self, schema: Schema, path: Path = DEFAULT_TEMPLATE) -> None:
        self.schema = schema
        try:
            source = path.read_text(encoding="utf-8")
            environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
            self._template = environment.from_string(source)
        except (OSError, UnicodeDecodeError) as error:
            raise ShelfmarkError(f"{path}: cannot be read as a template ({error})") from None
        except jinja2.TemplateSyntaxError as error:
            raise ShelfmarkError(f"{path}, line {error.lineno}: not a Jinja template ({error.message})") from None
        for name in ("system", "user"):
            if name not in self._template.blocks:
                raise ShelfmarkError(f"{path}: it has no block '{name}'; copy {DEFAULT_TEMPLATE.name} and change that")
        self._path = path

    def messages(
        self, product: dict[str, Any], neighbours: list[dict[str, Any]], candidates: list[str]
    ) -> list[dict[str, str]]:
        """Return the chat turns for one product.

        Parameters
        ----------
        product : dict
            ``text``, ``retailer`` and ``price`` (None where it is missing).
        neighbours : list of dict
            The same keys and ``label`` (joined) and ``found``, nearest first.
        candidates : list of str
            Joined labels, most probable first.
        """
        values = {"schema": self.schema, "product": product, "neighbours": neighbours, "candidates": candidates}
        try:
            return [
                {
                    "role": name,
                    "content": "".join(self._template.blocks[name](self._template.new_context(values))).strip(),
                }
                for name in ("system", "user")
            ]
        except Exception as error:  # a template is code: it may divide by zero
            raise ShelfmarkError(f"{self._path}: {error}; see {DEFAULT_TEMPLATE.name} for what there is") from None
