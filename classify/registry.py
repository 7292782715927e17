"""Strategies and engines by name (`classify.names`); each is imported when it is used."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, check_installed, nearest
from catalog.schema import Policy
from catalog.taxonomy import Taxonomy
from classify.engines.forms import AnswerForm
from classify.names import ENGINES, STRATEGIES
from classify.strategies.base import check_options

DEFAULT_ENGINES = {"rag": "neighbours", "openai": "batch"}
"""Of strategies that ask; another one that brings its own LLM is asked in this process by what is best here."""


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


def default_engine(strategy: str) -> str:
    """Return the name of the engine that a strategy asks unless it is told another; empty where it asks none.

    Raises
    ------
    ShelfmarkError
        When there is no such strategy.
    """
    chosen = find("strategy", STRATEGIES, strategy)
    if not hasattr(chosen, "requests"):
        return ""
    if strategy in DEFAULT_ENGINES or not hasattr(chosen, "own_llm"):
        return DEFAULT_ENGINES.get(strategy, "server")
    if importlib.util.find_spec("vllm") is None or importlib.util.find_spec("torch") is None:
        return "transformers"
    return "vllm" if importlib.import_module("torch").cuda.is_available() else "transformers"


def engine_options(name: str, given: dict[str, Any], strategy: str = "") -> Any:
    """Return the checked options of the engine called `name`.

    Parameters
    ----------
    name : str
        Of the engine.
    given : dict
        What the user chose. Under it go the strategy's own defaults, as far as the engine has such options.
    strategy : str
        Whose defaults; empty for the engine's alone.

    Raises
    ------
    ShelfmarkError
        When there is no such engine, it has no such option, or a value is wrong.
    """
    options_class = find("engine", ENGINES, name).options_class
    usual = getattr(find("strategy", STRATEGIES, strategy), "engine_defaults", None) if strategy else None
    defaults = usual() if usual is not None else {}
    known = {key: value for key, value in defaults.items() if key in options_class.model_fields}
    return check_options(options_class, name, {**known, **given})


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


def make_engine(name: str, given: dict[str, Any], form: AnswerForm | None = None) -> Any:
    """Return the engine called `name`, made with these options.

    Parameters
    ----------
    name, given
        As in `engine_options`.
    form : AnswerForm or None
        What may be answered to requests without candidates; None where nothing is known of it.

    Raises
    ------
    ShelfmarkError
        As `engine_options`.
    """
    engine = find("engine", ENGINES, name)(engine_options(name, given))
    engine.form = form
    return engine


def own_llm(strategy: str, engine: str, given: dict[str, Any], folder: Path | None, options: Any) -> dict[str, Any]:
    """Return an engine's options, where they name no LLM with that of the fitted model.

    Parameters
    ----------
    strategy, engine : str
        Their names.
    given : dict
        The engine's options. Those that differ from the strategy's defaults stay.
    folder : Path or None
        The fitted model; None where it is nowhere on this machine.
    options : Options
        Of the strategy.

    Raises
    ------
    ShelfmarkError
        When an LLM is needed and the model is not here.
    """
    chosen = find("strategy", STRATEGIES, strategy)
    if given.get("llm") != "" or engine not in getattr(chosen, "llm_engines", ()):
        return given
    if folder is None or not (folder / "model.json").is_file():
        where = "the fitted model" if folder is None else str(folder)
        raise ShelfmarkError(f"{where} is not on this machine; say with --llm where its LLM is (and --adapter)")
    usual = engine_options(engine, {}, strategy).model_dump()
    own = chosen.own_llm(folder, engine, options)
    return {**given, **{name: value for name, value in own.items() if given.get(name) == usual.get(name)}}


def answer_form(strategy: str, taxonomy: Callable[[], Taxonomy], policy: Policy) -> AnswerForm | None:
    """Return what may be answered to a strategy's requests; None where their candidates say it.

    Parameters
    ----------
    strategy : str
        Its name.
    taxonomy : callable
        Returns the valid label paths; only called where they are needed.
    policy : {'path', 'brand-free'}
        Which of them are valid.
    """
    writing: Any = getattr(find("strategy", STRATEGIES, strategy), "answers_as", "")
    return AnswerForm(taxonomy(), policy, writing) if writing else None
