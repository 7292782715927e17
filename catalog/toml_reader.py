"""Read a TOML file of the user's: whole, of bounded size, or one line that says what is wrong with it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, first_line, nearest_place

MOST_BYTES = 1 << 16
"""Of a file, at most: a description of columns, prices or figures has a few hundred."""

MOST_DEPTH = 20
MOST_DOTS = 100
"""In a key, at most: reading it takes their number squared."""
_BETWEEN_KEYS = re.compile(r"[=,{}\[\]\n]")


def read_toml(path: str | Path, option: str = "") -> dict[str, Any]:
    """Return what a TOML file holds.

    Parameters
    ----------
    path : str or Path
        The file.
    option : str
        By which option it was named, for messages: ``--schema``.

    Raises
    ------
    ShelfmarkError
        When it cannot be read, is larger than `MOST_BYTES`, not UTF-8, not TOML or nested too deep.
    """
    place = f"{option} {path}".lstrip()
    try:
        with open(path, "rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        near = nearest_place(path) if isinstance(error, FileNotFoundError) else ""
        raise ShelfmarkError(f"{place}: cannot be read ({error.strerror or error}){near}") from None
    except ValueError:  # a path with a zero byte, or signs that this system's names cannot have
        raise ShelfmarkError(f"{place}: no path of a file") from None
    if len(content) > MOST_BYTES:
        raise ShelfmarkError(f"{place}: larger than {MOST_BYTES >> 10} KiB: not a file of settings")
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
        if any(part.count(".") > MOST_DOTS for part in _BETWEEN_KEYS.split(text)):
            raise ShelfmarkError(f"{place}: a key with more than {MOST_DOTS} dots: not a file of settings")
        values = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ShelfmarkError(f"{place}: not TOML (byte {error.start + 1} is not UTF-8)") from None
    except RecursionError:
        raise ShelfmarkError(f"{place}: not TOML (nested too deep)") from None
    except ValueError as error:  # TOMLDecodeError is one; so is a number of more than 4,300 digits
        raise ShelfmarkError(f"{place}: not TOML ({first_line(error)})") from None
    if not _is_shallow(values):
        raise ShelfmarkError(f"{place}: tables within tables, more than {MOST_DEPTH} deep: not a file of settings")
    return values


def _is_shallow(values: dict[str, Any]) -> bool:
    """Tell whether nothing is nested deeper than `MOST_DEPTH`, without recursion: a dotted key nests without limit."""
    level: list[Any] = [values]
    for _ in range(MOST_DEPTH):
        inner = [value.values() if isinstance(value, dict) else value for value in level]
        level = [one for values in inner for one in values if isinstance(one, dict | list)]
    return not level
