"""Names of strategies and engines, and where they live; each is imported when it is used."""

from __future__ import annotations

import importlib
from typing import Any

from catalog.errors import ShelfmarkError, check_installed, nearest
from classify.strategies.base import check_options

STRATEGIES = {
    "rag": "classify.strategies.rag:RagStrategy",
    "tree": "classify.strategies.tree:TreeStrategy",
    "lora": "classify.strategies.lora:LoraStrategy",
}
ENGINES = {
    "neighbours": "classify.engines.neighbours:NeighboursEngine",
    "vllm": "classify.engines.vllm:VllmEngine",
    "server": "classify.engines.server:ServerEngine",
    "transformers": "classify.engines.transformers:TransformersEngine",
}
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


def engine_options(name: str, given: dict[str, Any]) -> Any:
    """Return the checked options of the engine called `name`.

    Raises
    ------
    ShelfmarkError
        When there is no such engine, it has no such option, or a value is wrong.
    """
    return check_options(find("engine", ENGINES, name).options_class, name, given)


def check_engine(name: str) -> None:
    """Refuse an engine whose package is not installed, before hours of work.

    Raises
    ------
    ShelfmarkError
        When it is missing; the message says how to install it.
    """
    needs = find("engine", ENGINES, name).needs
    if needs is not None:
        check_installed(*needs)


def make_engine(name: str, given: dict[str, Any]) -> Any:
    """Return the engine called `name`, made with these options.

    Raises
    ------
    ShelfmarkError
        As `engine_options`.
    """
    return find("engine", ENGINES, name)(engine_options(name, given))
