"""Names of strategies and engines, and where they live; each is imported when it is used."""

from __future__ import annotations

import importlib
from typing import Any

from catalog.errors import ShelfmarkError, nearest

STRATEGIES = {"rag": "classify.strategies.rag:RagStrategy", "tree": "classify.strategies.tree:TreeStrategy"}
ENGINES = {"neighbours": "classify.engines.neighbours:NeighboursEngine"}
DEFAULT_ENGINES = {"rag": "neighbours"}


def find(kind: str, registry: dict[str, str], name: str) -> Any:
    """Return the class called `name`.

    Raises
    ------
    ShelfmarkError
        When there is none of that name.
    """
    if name not in registry:
        raise ShelfmarkError(f"--{kind} {name}: unknown{nearest(name, registry)}; there are: {', '.join(registry)}")
    module, _, attribute = registry[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
