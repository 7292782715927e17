"""rag: similar labelled products are retrieved, and an engine chooses among their labels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from catalog.errors import ShelfmarkError
from catalog.files import read_json, write_json
from catalog.messages import Request, request_id
from catalog.products import Products
from catalog.schema import SEPARATOR, Schema
from classify.progress import Progress
from classify.strategies.base import Options
from rag.encoders import check_name, make_encoder
from rag.index import Index
from rag.prompts import Prompt
from rag.retrieve import FOUND, Filter, Neighbours, shortlist
from rag.vote import RetrievalOptions, Vote

PREFER_UP_TO = 50_000  # training rows; above, searching all of them for each product takes too long


class RagOptions(Options):
    """What a user chooses of ``rag``.

    Attributes
    ----------
    encoder : str
        The encoder's name (`rag.encoders.make_encoder`); fixed when the model is fitted.
    top_k : int
        Neighbours that vote and stand in the prompt.
    filter : {'auto', 'retailer', 'prefer', 'none'}
        Which products are searched: those of the product's retailer; all, with a preference for its retailer that is
        tuned on training rows; or all alike. ``auto`` is ``prefer``, which is more accurate, up to 50,000 training
        rows, and ``retailer``, which is faster by the number of retailers, above.
    price_band : float or None
        Only products within this factor of the price, where there are enough; by default price is a soft weight.
    candidates : int
        The most candidates in a request.
    """

    encoder: str = "ngram"
    top_k: int = Field(default=5, ge=1, le=100)
    filter: Literal["auto", "retailer", "prefer", "none"] = "auto"
    price_band: float | None = Field(default=None, gt=1, allow_inf_nan=False)
    candidates: int = Field(default=20, ge=1, le=200)

    @field_validator("encoder")
    @classmethod
    def _known(cls, name: str) -> str:
        check_name(name)
        return name

    def retrieval(self, index: Index) -> RetrievalOptions:
        """Return the part that the vote is tuned for, with ``auto`` decided."""
        if self.filter != "auto":
            chosen: Filter = self.filter
        else:
            chosen = "prefer" if len(index) <= PREFER_UP_TO else "retailer"
        return RetrievalOptions(self.top_k, chosen, self.price_band, self.policy)


class RagStrategy:
    """Retrieval-augmented classification."""

    name = "rag"
    options_class = RagOptions

    def __init__(self, index: Index, vote: Vote, options: RagOptions, *, seed: int) -> None:
        self.index, self.vote, self.options = index, vote, options
        self.schema, self.taxonomy, self.seed = index.schema, index.taxonomy, seed
        self._prompt = Prompt(index.schema)

    @classmethod
    def fit(cls, train: Products, schema: Schema, options: RagOptions, *, seed: int, progress: Progress) -> RagStrategy:
        """Index the products and tune the vote on some of them."""
        encoder = make_encoder(options.encoder)
        with progress("index", len(train)) as advance:
            index = Index.build(train, schema, encoder, advance)
        return cls(index, Vote.fit(index, options.retrieval(index), seed=seed), options, seed=seed)

    def save(self, folder: Path) -> None:
        """Write the index and the vote."""
        self.index.save(folder)
        write_json(folder / "vote.json", self.vote.to_dict())

    @classmethod
    def load(cls, folder: Path, schema: Schema, options: RagOptions, *, seed: int) -> RagStrategy:
        """Read the index; tune the vote anew where it was tuned for other options."""
        index = Index.load(folder, schema)
        if options.encoder != index.encoder.name and make_encoder(options.encoder).name != index.encoder.name:
            raise ShelfmarkError(
                f"--encoder {options.encoder}: this model was fitted with {index.encoder.name}; fit another one"
            )
        vote = Vote.from_dict(read_json(folder / "vote.json"))
        if vote.options != options.retrieval(index):
            vote = Vote.fit(index, options.retrieval(index), seed=seed)
        return cls(index, vote, options, seed=seed)

    def _retrieve(self, products: Products) -> Neighbours:
        vectors = self.index.encoder.encode(products.texts)
        options = self.vote.options
        found = shortlist(
            self.index,
            vectors,
            products,
            filter_by=options.filter_by,
            enough=options.top_k,
            price_band=options.price_band,
        )
        return self.vote.neighbours(self.index, found, products.prices)

    def requests(self, products: Products) -> list[Request]:
        """Retrieve neighbours and write one request for each product."""
        near = self._retrieve(products)
        chosen = self.vote.candidates(self.index, near, self.options.candidates)
        requests = []
        for query, (paths, scores) in enumerate(chosen):
            neighbours = [
                {
                    **_shown(self.index.products, row),
                    "label": SEPARATOR.join(self.index.labels[row]),
                    "found": FOUND[how],
                }
                for row, how in zip(near.rows[query].tolist(), near.found[query].tolist(), strict=True)
                if row >= 0
            ]
            labels = [SEPARATOR.join(path) for path in paths]
            messages = self._prompt.messages(_shown(products, query), neighbours, labels)
            name = request_id(products.ids[query], [messages, labels])
            requests.append(Request(name, messages, paths, scores))
        return requests

    def neighbours(self, products: Products) -> pd.DataFrame:
        """Return each product's neighbours: its id, the neighbour's text, label, similarity, and how it was found."""
        near = self._retrieve(products)
        query, at = np.nonzero(near.rows >= 0)
        rows = near.rows[query, at]
        return pd.DataFrame(
            {
                self.schema.id: [products.ids[position] for position in query],
                "neighbour": [self.index.products.ids[row] for row in rows],
                "text": [self.index.products.texts[row] for row in rows],
                "label": [SEPARATOR.join(self.index.labels[row]) for row in rows],
                "similarity": near.similarity[query, at],
                "found": [FOUND[how] for how in near.found[query, at]],
            }
        )


def _shown(products: Products, row: int) -> dict[str, Any]:
    price = float(products.prices[row])
    shown = None if math.isnan(price) else price
    return {"text": products.texts[row], "retailer": products.retailers[row], "price": shown}
