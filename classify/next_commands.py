"""What may be done next with a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def next_commands(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """Return the command that goes on with a run; where an LLM may answer or the neighbours vote, those of both.

    Parameters
    ----------
    folder : Path
        The run directory, as people name it.
    manifest : dict
        Of the run.
    """
    if "finished" in manifest:
        return [f"classify submit {folder}"]
    resume = f"classify resume {folder}"
    waiting = "requests" in manifest["stages"] and "completions" not in manifest["stages"]
    if waiting and manifest["engine"] == "neighbours":
        return [f"{resume} --engine ENGINE --llm NAME", resume]
    return [resume]
