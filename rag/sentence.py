"""Sentence encoders (sentence-transformers), with their vectors cached on disk by content."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.errors import ShelfmarkError, first_line, require
from catalog.files import read_json, write_json
from catalog.foreign import visible
from rag.encoders import SAFE_WEIGHTS, Progress, Vectors

BATCH = 64
CACHE_EVERY = 4096  # texts encoded between two writes to the cache: what a killed job loses at most
PILOT = 256  # texts of all lengths that tell, where there are many, how long all will take
WORTH_A_WORD = 60.0  # seconds


def cache_folder() -> Path:
    """Return where vectors are kept: ``$SHELFMARK_CACHE``, else ``shelfmark`` in the user's cache folder."""
    if os.environ.get("SHELFMARK_CACHE"):
        return Path(os.environ["SHELFMARK_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shelfmark"


class VectorCache:
    """Vectors by content: an SQLite file, so that several jobs may share it and a killed one leaves it whole.

    Parameters
    ----------
    path : Path
        The file; made when missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        try:
            self._store = sqlite3.connect(path, timeout=60)
            self._store.execute("PRAGMA journal_mode=WAL")
            self._store.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
        except sqlite3.DatabaseError as error:
            raise ShelfmarkError(f"{path}: not a vector cache ({error}); delete it, or set SHELFMARK_CACHE") from None

    @staticmethod
    def key(text: str) -> bytes:
        """Return the key of a text: half of its SHA-256."""
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]

    def get(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return the vectors of those texts that are in the cache."""
        found: dict[str, NDArray[np.float32]] = {}
        with self._faults(), closing(self._store.cursor()) as cursor:
            for text in texts:
                row = cursor.execute("SELECT vector FROM vectors WHERE key = ?", (self.key(text),)).fetchone()
                if row is not None:
                    found[text] = np.frombuffer(row[0], dtype=np.float32)
        return found

    def put(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Store one vector for each text."""
        rows = [(self.key(text), vector.tobytes()) for text, vector in zip(texts, vectors, strict=True)]
        with self._faults(), self._store:
            self._store.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise ShelfmarkError(
                f"{self._path}: the vector cache failed ({error}); "
                "make room, delete it, or set SHELFMARK_CACHE to another folder"
            ) from None


class SentenceEncoder:
    """Any sentence-transformers model, by name or folder. Pretrained: `fit` learns nothing.

    Each different text is encoded once, longest first, and kept in `cache_folder` under the model's fingerprint. Where
    there are many, some of all lengths come before the others, and how long it will take is said on standard error.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._model: Any = None
        self._weights: str | None = None
        self._cache: VectorCache | None = None

    def fit(self, texts: Sequence[str]) -> None:
        """Load the model, so that a missing one is found before hours are spent."""
        del texts
        self._ready()

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """Encode texts into unit vectors; those in the cache are not encoded again."""
        cache = self._ready()
        distinct = list(dict.fromkeys(texts))
        known = cache.get(distinct)
        missing = sorted((text for text in distinct if text not in known), key=len, reverse=True)
        if progress is not None:
            progress(len(texts) - len(missing))
        parts = [missing[start : start + CACHE_EVERY] for start in range(0, len(missing), CACHE_EVERY)]
        if len(parts) > 1:
            pilot = dict.fromkeys(missing[:: len(missing) // PILOT][:PILOT])
            parts = [list(pilot), *([text for text in part if text not in pilot] for part in parts)]
        started = time.perf_counter()
        for number, block in enumerate(parts):
            vectors = self._model.encode(
                block, batch_size=BATCH, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
            ).astype(np.float32)
            cache.put(block, vectors)
            known.update(zip(block, vectors, strict=True))
            if progress is not None:
                progress(len(block))
            if number == 0 and len(parts) > 1:
                _tell(self.name, len(missing), (time.perf_counter() - started) / len(block))
        dense = np.stack([known[text] for text in texts]) if len(texts) else np.zeros((0, 1), dtype=np.float32)
        return Vectors(np.ascontiguousarray(dense), None)

    def save(self, folder: Path) -> None:
        """Write which weights these are; the model itself stays where it is."""
        self._ready()
        write_json(folder / "sentence.json", {"weights": self._weights})

    def load(self, folder: Path) -> None:
        """Read which weights the name must stand for."""
        about = read_json(folder / "sentence.json")
        self._weights = str(about.get("weights")) if isinstance(about, dict) else ""

    def _ready(self) -> VectorCache:
        if self._cache is None:
            library = require("sentence_transformers", "embed")
            if not sys.stderr.isatty():
                require("transformers", "embed").utils.logging.disable_progress_bar()
            try:
                self._model = library.SentenceTransformer(self.name, model_kwargs=SAFE_WEIGHTS)
            except Exception as error:  # the library raises many kinds for a name that it cannot find
                raise ShelfmarkError(
                    f"--encoder {self.name}: cannot be loaded ({first_line(error)}); "
                    "check the name, the folder or the network"
                ) from None
            weights = _fingerprint(self._model)
            if self._weights not in (None, weights):
                raise ShelfmarkError(
                    f"--encoder {self.name}: its weights are not those that the model was fitted with; fit it again"
                )
            self._weights = weights
            # What is done with the weights changes the vectors, too: pooling, and where a text is cut.
            use = f"{weights} {self._model!r} {getattr(self._model, 'max_seq_length', None)}"
            self._cache = VectorCache(cache_folder() / f"{hashlib.sha256(use.encode()).hexdigest()[:24]}.sqlite")
        return self._cache


def _tell(name: str, texts: int, seconds: float) -> None:
    """Say how long it will take, where that is long: there is still time to choose another encoder."""
    left = seconds * texts
    if left > WORTH_A_WORD:
        minutes = f"{left / 60:,.0f} minutes" if left < 2 * 3600 else f"{left / 3600:,.1f} hours"
        line = f"{name}: {texts:,} different texts to encode, about {minutes} at {1 / seconds:,.0f} a second; "
        print(
            visible(line + "stopped and begun again, it goes on where it was"),
            file=sys.stderr,
            flush=True,
        )


def _fingerprint(model: Any) -> str:
    """Return a hash of the model's weights: the same name may stand for other weights tomorrow."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()[:24]
