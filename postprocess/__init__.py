"""Parse raw answers and snap them onto valid label paths."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from postprocess.answers import read_answers
    from postprocess.files import Summary, snap_file
    from postprocess.snap import Snapped, Snapper

__all__ = ["Snapped", "Snapper", "Summary", "read_answers", "snap_file"]

_PLACES = {
    "Snapped": "snap",
    "Snapper": "snap",
    "Summary": "files",
    "read_answers": "answers",
    "snap_file": "files",
}


def __getattr__(name: str) -> Any:
    # Imported when used: numpy and scipy take longer to load than most commands run.
    if name not in _PLACES:
        raise AttributeError(f"module 'postprocess' has no attribute '{name}'")
    return getattr(importlib.import_module(f"postprocess.{_PLACES[name]}"), name)
