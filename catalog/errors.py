"""Errors that people can cause, and the one line that each of them gets."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from catalog.foreign import visible

MOST_LETTERS = 3000
"""Of a message, at most: a cell of a table may be a whole book."""


class ShelfmarkError(Exception):
    """A mistake outside the code: one line that says what is wrong, where, and what to do.

    The command prints the line and exits with 2. Text taken from the user's data is escaped, so that the
    message stays on one line and a terminal shows all of it; of a very long one the middle is left out.
    """

    def __init__(self, message: str) -> None:
        line = visible(" ".join(message.splitlines()))
        if len(line) > MOST_LETTERS:
            line = f"{line[: MOST_LETTERS * 2 // 3]} … {line[-MOST_LETTERS // 3 :]}"
        super().__init__(line)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest of `known`, or an empty string where none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""


def nearest_place(path: str | Path) -> str:
    """Return ``nearest`` for a file or folder that is not there, of those beside it or in the nearest folder."""
    found = _near(Path(path))
    return "" if found is None else f" (did you mean '{found}'?)"


def _near(path: Path) -> Path | None:
    folder = path.parent if path.parent.is_dir() else _near(path.parent)
    try:
        names = [] if folder is None else [place.name for place in folder.iterdir() if not place.name.startswith(".")]
    except OSError:
        return None
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return folder / close[0] if folder and close and folder / close[0] != path else None


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, which the optional `extra` installs.

    Raises
    ------
    ShelfmarkError
        When the extra is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and not module.startswith(error.name.split(".")[0]):
            raise
        raise _missing(module, extra) from None


def check_installed(module: str, extra: str) -> None:
    """Refuse what needs `module` where it is not installed, without importing it.

    Raises
    ------
    ShelfmarkError
        As `require`.
    """
    if importlib.util.find_spec(module) is None:
        raise _missing(module, extra)


def _missing(module: str, extra: str) -> ShelfmarkError:
    from catalog.extras import install_command

    name = module.partition(".")[0]
    return ShelfmarkError(f"this needs the package '{name}': install it with {install_command(extra)}")


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 2 and "validation error" in lines[0]:  # pydantic's: how many, then the field, then what is wrong
        del lines[0]
    return lines[0][:200] if lines else type(error).__name__
