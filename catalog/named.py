"""What this machine's user has named by hand, which a file from somebody else may then name, too.

A model or a run may be anybody's. What it says is data, but for prompt templates, paths and addresses: those count only
where the user gave them, on a command line or in Python, or confirmed them. Of each a hash is kept in the user's state
folder, a line each, so that nothing is asked twice.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

FILE = "named"
_here: set[str] = set()
"""What was named in this process: it counts where the state folder cannot be written."""


def state_folder() -> Path | None:
    """Return ``shelfmark`` in the user's state folder (``XDG_STATE_HOME``); None for a user without a home."""
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    if given.is_absolute():
        return given / "shelfmark"
    try:
        return Path.home() / ".local" / "state" / "shelfmark"
    except RuntimeError:
        return None


def remember(kind: str, value: str) -> None:
    """Remember that the user named a value: a template's text, a path or an address, as `kind` says."""
    mark = _mark(kind, value)
    if mark in _here:
        return
    _here.add(mark)
    folder = state_folder()
    if folder is None or mark in _kept(folder):
        return
    with suppress(OSError):  # then it counts for this process alone
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(folder / FILE, "ab", buffering=0) as stream:
            stream.write(f"{mark}\n".encode())  # at once, so that two processes write two lines


def is_named(kind: str, value: str) -> bool:
    """Tell whether the user of this machine has named a value."""
    mark, folder = _mark(kind, value), state_folder()
    return mark in _here or (folder is not None and mark in _kept(folder))


def _mark(kind: str, value: str) -> str:
    return hashlib.sha256(f"{kind}\0{value}".encode("utf-8", "surrogatepass")).hexdigest()


def _kept(folder: Path) -> set[str]:
    try:
        return set((folder / FILE).read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return set()
