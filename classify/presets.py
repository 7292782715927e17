"""Settings by name: the recipes of others, to be reproduced and varied."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any

from catalog.errors import ShelfmarkError, nearest
from classify.names import PRESETS
from rag.prompts import DEFAULT_TEMPLATE


@dataclass(frozen=True)
class Preset:
    """Settings that go together.

    Attributes
    ----------
    strategy, engine : str
        Their names.
    options, engine_options : dict
        What they are given.
    """

    strategy: str
    engine: str
    options: dict[str, Any]
    engine_options: dict[str, Any]


def load_preset(name: str) -> Preset:
    """Return the preset called `name`.

    Raises
    ------
    ShelfmarkError
        When there is none of that name.
    """
    known = tomllib.loads(PRESETS.read_text(encoding="utf-8"))
    if name not in known:
        raise ShelfmarkError(f"--preset {name}: unknown{nearest(name, known)}; there are: {', '.join(known)}")
    values = known[name]
    options = dict(values["options"])
    if "template" in values:
        options["prompt"] = DEFAULT_TEMPLATE.with_name(values["template"]).read_text(encoding="utf-8")
    return Preset(values["strategy"], values["engine"], options, dict(values["engine_options"]))
