"""The environment that pages are rendered in: everything is escaped, and what is missing is an error."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2

HERE = Path(__file__).parent
# Letters of a text or a value that a page shows: they are the user's, and as long as they like.
MOST_LETTERS = 300
# What HTML has no place for, and lone halves of a pair, which no file can hold.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def environment(folder: Path, **filters: Callable[..., Any]) -> jinja2.Environment:
    """Return an environment for the templates of `folder`, each of which may extend ``page.html.jinja``.

    Parameters
    ----------
    folder : Path
        Where the templates are.
    **filters
        Filters besides ``cut``, which shortens text, ``count``, ``share`` and ``figure``.
    """
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, HERE]),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update({"cut": cut, "count": "{:,}".format, "share": share, "figure": "{:.3f}".format, **filters})
    return made


def cut(value: object, letters: int = MOST_LETTERS) -> str:
    """Return a value as text of at most so many letters."""
    text = str(value)
    return text if len(text) <= letters else text[: letters - 1] + "…"


def printable(page: str) -> str:
    """Return a page with a sign in place of each control character: products hold them now and then."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", page)


def share(value: float) -> str:
    """Return a share as a percentage with one decimal."""
    return f"{value:.1%}"
