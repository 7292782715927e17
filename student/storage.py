"""A model's folder: one ``.npy`` file for each array, and ``tree.json``, which names them with their checksums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.errors import ShelfmarkError
from catalog.files import atomic_folder, content_hash, read_json, write_json

FORMAT = "shelfmark-tree"
VERSION = 1


def save_folder(folder: str | Path, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write a model, whole or not at all; what stood at `folder` is replaced."""
    with atomic_folder(folder) as place:
        files = {}
        for name, array in arrays.items():
            np.save(place / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
            files[name] = content_hash(place / f"{name}.npy")
        write_json(place / "tree.json", {"format": FORMAT, "version": VERSION, "files": files, **facts})


def load_folder(folder: str | Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what `save_folder` wrote; arrays stay on disk until they are used (memory-mapped).

    Raises
    ------
    ShelfmarkError
        When there is no such model, it is of another kind or version, or a file is missing or damaged.
    """
    folder = Path(folder)
    facts = read_json(folder / "tree.json")
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise ShelfmarkError(f"{folder}: not a tree model; fit one with classify fit --strategy tree")
    if facts.get("version") != VERSION:
        raise ShelfmarkError(
            f"{folder}: a tree model of version {facts.get('version')!r}, and this shelfmark reads version {VERSION}; "
            "fit it again"
        )
    arrays = {}
    files = facts.get("files")
    if not isinstance(files, dict):
        raise ShelfmarkError(f"{folder}/tree.json: damaged (no list of files); fit the model again")
    for name, checksum in files.items():
        path = folder / f"{name}.npy"
        try:
            if content_hash(path) != checksum:
                raise ShelfmarkError(f"{path}: damaged (its checksum differs); fit the model again")
            arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise ShelfmarkError(f"{path}: missing; fit the model again") from None
        except (ValueError, OSError) as error:
            raise ShelfmarkError(f"{path}: damaged ({error}); fit the model again") from None
    return facts, arrays
