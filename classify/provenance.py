"""What made a run: versions, machine, source commit and command."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from catalog.places import readable

PACKAGES = ("shelfmark", "numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "faiss-cpu", "rapidfuzz")


def provenance() -> dict[str, Any]:
    """Return the versions of Python and the packages, the platform, the source commit (or None) and the command."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return {
        "command": [readable(word) for word in (Path(sys.argv[0]).name, *map(without_secrets, sys.argv[1:]))],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "commit": _commit(),
    }


def without_secrets(word: str) -> str:
    """Return a word of a command; of an address without name and password, and without the values of its query."""
    scheme, mark, rest = word.partition("://")
    if not mark:
        return word
    address, question, query = rest.rpartition("@")[2].partition("?")
    parts = [part.partition("=")[0] + "=…" if "=" in part else "…" for part in query.split("&")]
    return scheme + mark + address + (question + "&".join(parts) if query else "")


def _commit() -> str | None:
    source = Path(__file__).resolve().parent.parent
    if not (source / ".git").exists():
        return None
    try:
        done = subprocess.run(  # noqa: S603 -- constant words, and our own source folder
            ["git", "-C", str(source), "rev-parse", "HEAD"],  # noqa: S607 -- the git of the user's path
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
