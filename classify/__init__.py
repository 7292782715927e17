"""The command and its Python form.

from classify import evaluate, fit

model = fit(train, strategy="rag")      # a pandas frame with inputs and levels
predictions = model.predict(test)       # a frame: id, levels, confidence, status
evaluate(predictions, labels)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classify.model import Model, fit, load
    from classify.scoring import evaluate

__all__ = ["Model", "evaluate", "fit", "load"]


def __getattr__(name: str) -> Any:
    # Imported when used: the command answers --help without loading what the work needs.
    if name in __all__:
        from importlib import import_module

        return getattr(import_module("classify.scoring" if name == "evaluate" else "classify.model"), name)
    raise AttributeError(f"module 'classify' has no attribute '{name}'")
