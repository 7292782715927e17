"""Errors that people can cause, and the one line that each of them gets."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path
from types import ModuleType

from catalog.foreign import visible

MOST_NAMES, MOST_NAME = 12, 60
"""Names that a message lists, and characters of each, at most."""
MOST_COMPARED, LONGEST_COMPARED = 2_000, 200
"""Names that a misspelt one is compared with, and characters of each, at most: it takes the product of both."""
MOST_MESSAGE = 1_500
"""Characters of a message, at most: beginning (what and where) and end (what to do)."""


class ShelfmarkError(Exception):
    """A mistake outside the code: one line that says what is wrong, where, and what to do.

    The command prints the line and exits with 2. Text taken from the user's data is escaped, so that the
    message stays on one line and a terminal shows all of it; of a very long one the middle is left out.
    """

    def __init__(self, message: str) -> None:
        line = visible(" ".join(message.splitlines()))
        super().__init__(line if len(line) <= MOST_MESSAGE else f"{line[: MOST_MESSAGE - 503]} … {line[-500:]}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest of `known`, or an empty string where none is close."""
    close = _closest(name, known)
    return f" (did you mean '{close}'?)" if close else ""


def listed(names: Collection[str]) -> str:
    """Return names for a message, joined with commas: the first `MOST_NAMES`, cut to `MOST_NAME` characters."""
    shown = [name if len(name) <= MOST_NAME else name[: MOST_NAME - 3] + "..." for name in islice(names, MOST_NAMES)]
    more = [f"and {len(names) - len(shown):,} more"] if len(names) > len(shown) else []
    return ", ".join([*shown, *more]) or "none"


def _closest(name: str, known: Iterable[str]) -> str:
    """Return the closest of `known`; empty where none is close."""
    if len(name) > LONGEST_COMPARED:
        return ""
    compared = [one for one in islice(known, MOST_COMPARED) if len(one) <= LONGEST_COMPARED]
    close = difflib.get_close_matches(name, compared, n=1, cutoff=0.6)
    return close[0] if close else ""


def nearest_place(path: str | Path) -> str:
    """Return ``nearest`` for a file or folder that is not there, of those beside it or in the nearest folder."""
    found = _near(Path(path))
    return "" if found is None else f" (did you mean '{found}'?)"


def _near(wanted: Path) -> Path | None:
    path = wanted
    while not path.parent.is_dir():
        if path.parent == path:
            return None
        path = path.parent
    try:
        names = (place.name for place in path.parent.iterdir() if not place.name.startswith("."))
        close = _closest(path.name, names)
    except OSError:
        return None
    found = path.parent / close
    if not close or found == path:
        return None
    inside = found / wanted.relative_to(path)  # what was meant may stand in the folder that was misspelt
    return inside if inside.exists() else found


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
