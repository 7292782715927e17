"""What an encoder is, what it gives, and the names by which encoders are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from catalog.errors import ShelfmarkError, nearest
from catalog.files import read_json, write_json

Progress = Callable[[int], None]

SHORT_NAMES = {
    "mpnet": "sentence-transformers/all-mpnet-base-v2",
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
}


SAFE_WEIGHTS = {"weights_only": True}
"""How sentence-transformers is to load weights, whatever the model's own files say: pickles run what is in them."""


@dataclass
class Vectors:
    """Encoded texts.

    The similarity of two texts is the inner product of their `dense` rows plus that of their `sparse` rows, where there
    are any. It is a cosine: both together have unit length.

    Attributes
    ----------
    dense : ndarray of float32, shape (rows, dimensions)
        Of no columns where an encoder makes none.
    sparse : csr_array of float32, shape (rows, features), or None
        None where an encoder makes none.
    """

    dense: NDArray[np.float32]
    sparse: sparse.csr_array | None

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.dense)

    def take(self, rows: NDArray[np.intp]) -> Vectors:
        """Return the given rows, in the given order."""
        return Vectors(self.dense[rows], None if self.sparse is None else self.sparse[rows])


class Encoder(Protocol):
    """Turns texts into vectors. `fit` once on the training texts, then `encode` any."""

    name: str

    def fit(self, texts: Sequence[str]) -> None:
        """Learn what the encoder needs from the training texts (nothing, for a pretrained one)."""

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """Encode texts; `progress` is told how many more rows are done."""

    def save(self, folder: Path) -> None:
        """Write what `fit` learned into `folder`."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""


class HybridEncoder:
    """Character n-grams and a sentence encoder, side by side: the similarity is the mean of the two cosines.

    Characters see abbreviations and misspellings, sentences see meaning.
    """

    def __init__(self, lexical: Encoder, semantic: Encoder) -> None:
        self.name = f"hybrid:{semantic.name}"
        self._lexical, self._semantic = lexical, semantic

    def fit(self, texts: Sequence[str]) -> None:
        """Fit both parts."""
        self._lexical.fit(texts)
        self._semantic.fit(texts)

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """Encode with both parts and put the halves side by side."""
        half = np.float32(np.sqrt(0.5))
        lexical, semantic = self._lexical.encode(texts), self._semantic.encode(texts, progress)
        dense = np.hstack([lexical.dense * half, semantic.dense * half])
        return Vectors(dense, None if lexical.sparse is None else sparse.csr_array(lexical.sparse * half))

    def save(self, folder: Path) -> None:
        """Write both parts."""
        self._lexical.save(folder)
        self._semantic.save(folder)

    def load(self, folder: Path) -> None:
        """Read both parts."""
        self._lexical.load(folder)
        self._semantic.load(folder)


def make_encoder(name: str) -> Encoder:
    """Return the encoder called `name`.

    Parameters
    ----------
    name : str
        ``ngram`` (character n-grams, needs no download), ``mpnet`` or ``minilm``, any sentence-transformers name
        (``owner/model``) or folder, or ``hybrid:`` before one of those.

    Raises
    ------
    ShelfmarkError
        When the name is none of these, or needs an extra that is not installed.
    """
    check_name(name)
    if name == "ngram":
        from rag.ngram import NgramEncoder

        return NgramEncoder()
    if name.startswith("hybrid:"):
        return HybridEncoder(make_encoder("ngram"), make_encoder(name.removeprefix("hybrid:")))
    from rag.sentence import SentenceEncoder

    return SentenceEncoder(SHORT_NAMES.get(name, name))


def check_name(name: str, option: str = "--encoder") -> None:
    """Refuse what cannot name an encoder, without loading one; `option` is the one that gave it.

    Raises
    ------
    ShelfmarkError
        When the name is none of those that `make_encoder` knows.
    """
    part = name.removeprefix("hybrid:")
    full = SHORT_NAMES.get(part, part)
    if part in SHORT_NAMES and Path(full).exists():
        raise ShelfmarkError(
            f"{option} {name}: there is a folder {full} here, which would be taken for the hub's model of that name; "
            f"say {option} ./{full} if it is meant, or rename it"
        )
    if name != "ngram" and (not full or full.startswith("hybrid:") or ("/" not in full and not Path(full).is_dir())):
        known = ("ngram", *SHORT_NAMES, "hybrid:mpnet")
        raise ShelfmarkError(
            f"{option} {name}: unknown{nearest(name, known)}; use {', '.join(known)}, "
            "a sentence-transformers name (owner/model) or a folder"
        )


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Write an encoder into `folder`, with its name."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder.save(folder)
    write_json(folder / "encoder.json", {"name": encoder.name})


def load_encoder(folder: Path) -> Encoder:
    """Read the encoder that `save_encoder` wrote.

    Raises
    ------
    ShelfmarkError
        When the folder is damaged.
    """
    about = read_json(folder / "encoder.json")
    if not isinstance(about, dict) or not isinstance(about.get("name"), str):
        raise ShelfmarkError(f"{folder / 'encoder.json'}: damaged; fit the model again")
    encoder = make_encoder(about["name"])
    encoder.load(folder)
    return encoder
