"""A model's folder: one ``.npy`` file for each array, and ``tree.json``, which names them with their checksums."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.arrays import FIT_AGAIN, damaged
from catalog.errors import ShelfmarkError
from catalog.files import MOST_FACTS, atomic_folder, content_hash, read_json, write_json

FORMAT = "shelfmark-tree"
VERSION = 1
_NAME = re.compile(r"[a-z0-9_]{1,60}")


def save_folder(folder: str | Path, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write a model, whole or not at all; what stood at `folder` is replaced."""
    with atomic_folder(folder) as place:
        files = {}
        for name, array in arrays.items():
            np.save(place / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
            files[name] = content_hash(place / f"{name}.npy")
        write_json(place / "tree.json", {"format": FORMAT, "version": VERSION, "files": files, **facts})


def read_folder(folder: str | Path) -> dict[str, Any]:
    """Return what ``tree.json`` says of the model in `folder`, whose arrays are there and have the right checksums.

    Raises
    ------
    ShelfmarkError
        When there is no such model, it is of another kind or version, or a file is missing or damaged.
    """
    folder = Path(folder)
    file = folder / "tree.json"
    facts = read_json(file, MOST_FACTS)
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise ShelfmarkError(f"{folder}: not a tree model; fit one with classify fit --strategy tree")
    if facts.get("version") != VERSION:
        raise ShelfmarkError(
            f"{folder}: a tree model of version {str(facts.get('version'))[:20]}, and this shelfmark reads version "
            f"{VERSION}; fit it again"
        )
    files = facts.get("files")
    if not isinstance(files, dict):
        raise damaged(file, "no list of files")
    for name, checksum in files.items():
        if not _NAME.fullmatch(name):
            raise damaged(file, "files: a name that no array has")
        path = folder / f"{name}.npy"
        try:
            if content_hash(path) != checksum:
                raise damaged(path, "its checksum differs")
        except FileNotFoundError:
            raise ShelfmarkError(f"{path}: missing; {FIT_AGAIN}") from None
    return facts
