"""Where products and their labels lie: in which file of a folder, in which file beside another."""

from __future__ import annotations

from pathlib import Path

from catalog.errors import ShelfmarkError


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
