"""Re-ranking: a cross-encoder reads a product and a neighbour together, and puts the neighbours in a new order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from catalog.errors import ShelfmarkError, first_line, require
from rag.encoders import SAFE_WEIGHTS
from rag.index import Index
from rag.retrieve import Neighbours

POOL = 50
"""Neighbours that are read for each product; the best of them stay."""
BATCH = 64


class Reranker:
    """A sentence-transformers cross-encoder.

    Parameters
    ----------
    name : str
        Its folder or its name on the Hugging Face hub, ``cross-encoder/ms-marco-MiniLM-L6-v2`` for one.

    Raises
    ------
    ShelfmarkError
        When sentence-transformers is not installed, or there is no such model.

    References
    ----------
    R. Nogueira, K. Cho, "Passage Re-ranking with BERT" (2019), arXiv:1901.04085.
    """

    def __init__(self, name: str) -> None:
        library = require("sentence_transformers", "embed")
        try:
            self._model: Any = library.CrossEncoder(name, model_kwargs=SAFE_WEIGHTS)
        except Exception as error:  # the library raises many kinds for a name that it cannot find
            raise ShelfmarkError(
                f"--rerank {name}: cannot be loaded ({first_line(error)}); check the name, the folder or the network"
            ) from None

    def best(self, index: Index, near: Neighbours, texts: Sequence[str], k: int) -> Neighbours:
        """Return the `k` neighbours of each product that the cross-encoder finds most similar, best first.

        Parameters
        ----------
        index : Index
            What `near` was found in.
        near : Neighbours
            More than `k` of each product, of shape (products, `POOL`).
        texts : sequence of str
            The products' texts.
        k : int
            How many to keep.

        Returns
        -------
        Neighbours
            Their similarity and weight are those of the retrieval.
        """
        query, place = np.nonzero(near.rows >= 0)
        theirs = index.products.texts
        pairs = [(texts[int(at)], theirs[int(row)]) for at, row in zip(query, near.rows[query, place], strict=True)]
        scores = np.full(near.rows.shape, -np.inf)
        if pairs:
            distinct = list(dict.fromkeys(pairs))
            told = self._model.predict(distinct, batch_size=BATCH, show_progress_bar=False)
            score_of = dict(
                zip(distinct, np.asarray(told, dtype=np.float64).reshape(len(distinct), -1)[:, 0], strict=True)
            )
            scores[query, place] = [score_of[pair] for pair in pairs]
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return Neighbours(
            np.take_along_axis(near.rows, order, axis=1),
            np.take_along_axis(near.similarity, order, axis=1),
            np.take_along_axis(near.weight, order, axis=1),
            np.take_along_axis(near.found, order, axis=1),
        )
