"""Parse raw answers and snap them onto valid label paths."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catalog.taxonomy import Taxonomy
    from postprocess.answers import read_answers
    from postprocess.files import Summary, snap_file
    from postprocess.snap import Snapped, Snapper

__all__ = ["Snapped", "Snapper", "Summary", "Taxonomy", "read_answers", "snap_file"]

_PLACES = {
    "Snapped": "postprocess.snap",
    "Snapper": "postprocess.snap",
    "Summary": "postprocess.files",
    "Taxonomy": "catalog.taxonomy",
    "read_answers": "postprocess.answers",
    "snap_file": "postprocess.files",
}


def __getattr__(name: str) -> Any:
    # Imported when used: numpy and scipy take longer to load than most commands run.
    if name not in _PLACES:
        raise AttributeError(f"module 'postprocess' has no attribute '{name}'")
    return getattr(importlib.import_module(_PLACES[name]), name)
