"""Where products and their labels lie: in which file of a folder, in which file beside another."""

from __future__ import annotations

import os
import re
from pathlib import Path

from catalog.errors import ShelfmarkError


def readable(name: str | Path) -> str:
    """Return a name of a file, or a word of a command, as text that any file can hold.

    Where a name's bytes are not of the locale's encoding, Python stands in half surrogate pairs for them. Those that
    are UTF-8 become signs again, others a backslash and their number.
    """
    return _bytes(str(name)).decode("utf-8", "backslashreplace")


def place_named(name: str | Path) -> Path:
    """Return the path whose `readable` name this is, in the encoding that names of files have here."""
    raw = _bytes(str(name))
    path = Path(os.fsdecode(raw))
    if b"\\x" in raw and not path.exists():
        return Path(os.fsdecode(re.sub(rb"\\x([89a-f][0-9a-f])", lambda number: bytes([int(number[1], 16)]), raw)))
    return path


def _bytes(name: str) -> bytes:
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a pair that stands for no byte
        return name.encode("utf-8", "surrogatepass")


def features_file(path: Path, name: str) -> Path:
    """Return the file that holds the inputs: `path` itself or, where it is a folder, the ``name.*`` in it.

    Raises
    ------
    ShelfmarkError
        When the folder has none.
    """
    if not path.is_dir():
        return path
    for suffix in (".features", ".features.gz", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet"):
        if (path / (name + suffix)).is_file():
            return path / (name + suffix)
    raise ShelfmarkError(f"{path}: a folder without {name}.features (or {name}.csv, .jsonl, .parquet); name the file")


def is_features(path: str | Path) -> bool:
    """Tell whether a file is of the datathon's kind, whose labels stand in a file of their own."""
    return Path(path).name.removesuffix(".gz").endswith(".features")


def labels_name(features: Path) -> str:
    """Return the name of the file that holds the labels of a ``.features`` file."""
    return features.name.removesuffix(".gz").removesuffix(".features") + ".labels"


def labels_beside(features: Path) -> Path | None:
    """Return the ``.labels`` file beside a ``.features`` file, or None where there is none."""
    if not is_features(features):
        return None
    for name in (labels_name(features), labels_name(features) + ".gz"):
        if features.with_name(name).is_file():
            return features.with_name(name)
    return None
