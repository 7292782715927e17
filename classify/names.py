"""The names that options take. A shell completes from here, so nothing heavy is imported."""

from __future__ import annotations

import tomllib
from pathlib import Path

STRATEGIES = {
    "rag": "classify.strategies.rag:RagStrategy",
    "tree": "classify.strategies.tree:TreeStrategy",
    "lora": "classify.strategies.lora:LoraStrategy",
    "openai": "classify.strategies.openai:OpenaiStrategy",
}
ENGINES = {
    "neighbours": "classify.engines.neighbours:NeighboursEngine",
    "vllm": "classify.engines.vllm:VllmEngine",
    "server": "classify.engines.server:ServerEngine",
    "batch": "classify.engines.batch:BatchEngine",
    "transformers": "classify.engines.transformers:TransformersEngine",
}
SEARCHES = {
    "generic": "classify.search.generic:GenericSearch",
    "openai": "classify.search.openai:OpenaiSearch",
}
"""Providers of web searches; ``generic`` is meant where an address or a TOML file is given for the name."""
STAGES = ("requests", "completions", "predictions", "report")
ENCODERS = ("ngram", "mpnet", "minilm", "hybrid:mpnet", "hybrid:minilm")
"""Those with short names; any sentence-transformers name is one, too."""
PRESETS = Path(__file__).with_name("presets.toml")
RECIPES = Path(__file__).parent.parent / "finetune" / "recipes.toml"


def runs() -> list[str]:
    """Return the run directories under ``runs``."""
    return sorted(str(file.parent) for file in Path("runs").glob("*/manifest.json"))


def submissions() -> list[str]:
    """Return the names of what was handed in of runs under ``runs``."""
    return sorted({file.stem for file in Path("runs").glob("*/*.zip")})


def tables(file: Path) -> list[str]:
    """Return the names of a TOML file's tables: what presets or recipes there are."""
    return list(tomllib.loads(file.read_text(encoding="utf-8")))
