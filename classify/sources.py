"""Where candidates come from: the labels of the neighbours, the best paths of `tree`, or both put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Strict

from catalog.arrays import FIT_AGAIN, damaged
from catalog.errors import ShelfmarkError
from catalog.files import MOST_FACTS, read_json_as, write_json
from catalog.messages import LabelPath
from catalog.products import Products
from catalog.schema import Policy
from classify.choice import SOURCE_FIGURES, Choice, Figures, source_figures
from rag.crossencoder import POOL, Reranker
from rag.index import Index
from rag.retrieve import Neighbours, Shortlist, shortlist
from rag.stored_vote import StoredCalibrator
from rag.vote import Vote, held_out_rows, shortlist_as_if_new
from student.encoding import NO_SENTENCES
from student.tree import TreeClassifier

TREE_PATHS = 20
Ranked = tuple[list[LabelPath], list[float]]
"""Paths, most probable first, and their probabilities."""


@dataclass
class Found:
    """What is known of each product before anything is asked.

    Attributes
    ----------
    near : Neighbours
        Its neighbours.
    candidates : list of Ranked
        The candidates of all sources, each path once.
    told : list of Ranked or None
        What `tree` says, where there is one.
    """

    near: Neighbours
    candidates: list[Ranked]
    told: list[Ranked] | None


class Sources:
    """Finds candidates.

    Parameters
    ----------
    index, vote : Index, Vote
        The labelled products, and how they vote.
    names : sequence of str
        The sources to use: ``neighbours``, ``tree``.
    limit : int
        The most candidates of a product.
    tree : TreeClassifier or None
        Fitted on the same products.
    held_out : list of Ranked or None
        What `tree` says of the rows that `rag.vote.held_out_rows` names, as if they were new to it.
    reranker : Reranker or None
        Puts the neighbours in a new order.
    choice : Choice or None
        How the sources are weighed; fitted when it is None and there is more than one.
    seed : int
        Chooses the rows that are held out.
    """

    def __init__(
        self,
        index: Index,
        vote: Vote,
        names: Sequence[str],
        limit: int,
        *,
        tree: TreeClassifier | None = None,
        held_out: list[Ranked] | None = None,
        reranker: Reranker | None = None,
        choice: Choice | None = None,
        seed: int,
    ) -> None:
        self.index, self.vote, self.names, self.limit = index, vote, tuple(names), limit
        self.tree, self.held_out, self.reranker = tree, held_out, reranker
        self.seed = seed
        self.choice = choice if len(self.names) > 1 else None
        if self.choice is None and len(self.names) > 1:
            self.choice = self._weigh()

    def find(self, products: Products) -> Found:
        """Return what is known of new products."""
        options = self.vote.options
        found = shortlist(
            self.index,
            self.index.encode(products.texts),
            products,
            filter_by=options.filter_by,
            enough=options.top_k,
            price_band=options.price_band,
        )
        told = None
        if self.tree is not None:
            predicted = self.tree.predict(products, top_n=TREE_PATHS, policy=options.policy)
            told = ranked(predicted.paths, predicted.probabilities)
        return self._found(products, found, told, None)

    def as_if_new(self, rows: NDArray[np.intp]) -> Found:
        """Return what would be known of training rows if they were new.

        Parameters
        ----------
        rows : ndarray of intp, shape (rows,)
            Rows of the index, of those that `rag.vote.held_out_rows` names.
        """
        places = {row: at for at, row in enumerate(self.held_rows().tolist())}
        products = self.index.products.take(rows)
        told = None if self.held_out is None else [self.held_out[places[row]] for row in rows.tolist()]
        return self._found(
            products, shortlist_as_if_new(self.index, rows, self.vote.options), told, products.require_labels()
        )

    def held_rows(self) -> NDArray[np.intp]:
        """Return the rows of the index that may be asked for as if they were new, in random order."""
        return held_out_rows(len(self.index), self.seed)

    def _found(
        self, products: Products, found: Shortlist, told: list[Ranked] | None, own: Sequence[LabelPath] | None
    ) -> Found:
        if self.reranker is None:
            near = self.vote.neighbours(self.index, found, products.prices)
        else:
            wide = self.vote.neighbours(self.index, found, products.prices, POOL)
            near = self.reranker.best(self.index, wide, products.texts, self.vote.options.top_k)
        voted = self.vote.candidates(self.index, near, self.limit, own) if "neighbours" in self.names else None
        if self.choice is None:
            chosen = voted if voted is not None else told if "tree" in self.names else None
            none: list[Ranked] = [([], [])] * len(products)
            return Found(near, _first(chosen if chosen is not None else none, self.limit), told)
        assert voted is not None
        assert told is not None
        merged = [self._merged(vote, tree) for vote, tree in zip(voted, told, strict=True)]
        return Found(near, _first(merged, self.limit), told)

    def _merged(self, voted: Ranked, told: Ranked) -> Ranked:
        assert self.choice is not None
        paths, figures = _compared(voted, told)
        chances = self.choice.probabilities(figures)
        order = sorted(range(len(paths)), key=lambda at: (-chances[at], paths[at]))
        return [paths[at] for at in order], [round(min(float(chances[at]), 1.0), 6) for at in order]

    def _weigh(self) -> Choice:
        rows = self.held_rows()
        chosen, self.choice, self.names = self.names, None, ("neighbours",)
        voted = self.as_if_new(rows)
        self.names = chosen
        assert voted.told is not None
        labels = [self.index.labels[row] for row in rows.tolist()]
        compared = [_compared(vote, tree) for vote, tree in zip(voted.candidates, voted.told, strict=True)]
        right = [
            paths.index(label) if label in paths else -1 for (paths, _), label in zip(compared, labels, strict=True)
        ]
        return Choice.fit([figures for _, figures in compared], right)

    def save(self, folder: Path) -> None:
        """Write the tree, what it says of held-out rows, and how sources are weighed."""
        if self.tree is None:
            return
        self.tree.save(folder / "tree")
        facts: dict[str, Any] = {
            "policy": self.vote.options.policy,
            "held_out": [[[list(path) for path in paths], chances] for paths, chances in self.held_out or []],
            "choice": None if self.choice is None else self.choice.to_dict(),
        }
        write_json(folder / "sources.json", facts)


class _StoredChoice(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    coefficients: list[float]
    calibrator: StoredCalibrator


class _Stored(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    policy: Policy
    held_out: list[Annotated[tuple[list[list[str]], list[float]], Strict(False)]]
    choice: _StoredChoice | None


def load_tree(
    folder: Path, policy: Policy, levels: tuple[str, ...], rows: int
) -> tuple[TreeClassifier, list[Ranked], Choice | None]:
    """Read what `Sources.save` wrote.

    Parameters
    ----------
    folder : Path
        The model's.
    policy : {'path', 'brand-free'}
        What is valid.
    levels : tuple of str
        Of the model's schema.
    rows : int
        How many rows are held out.

    Raises
    ------
    ShelfmarkError
        When it was fitted without `tree`, or for another policy than `policy`, or is damaged.
    """
    file = folder / "sources.json"
    if not file.is_file():
        raise ShelfmarkError(f"{folder}: fitted without tree; fit another one with --candidates-from neighbours,tree")
    facts = read_json_as(_Stored, file, FIT_AGAIN, MOST_FACTS)
    if facts.policy != policy:
        raise ShelfmarkError(f"--policy {policy}: this model was fitted with {facts.policy}; fit another one")
    held = [([tuple(path) for path in paths], chances) for paths, chances in facts.held_out]
    if len(held) != rows:
        raise damaged(file, f"held_out: {len(held):,} rows, and {rows:,} are held out")
    for paths, chances in held:
        if not paths or len(paths) != len(chances) or any(len(path) != len(levels) for path in paths):
            raise damaged(file, "held_out: a row without paths, or not a probability for each, or of other levels")
    tree = TreeClassifier.load(folder / "tree", sentences=NO_SENTENCES)  # beside an index it is fitted without
    if tree.levels != levels:
        raise damaged(folder / "tree" / "tree.json", "levels: others than the schema has")
    if facts.choice is None:
        return tree, held, None
    try:
        choice = Choice.from_dict(facts.choice.model_dump())
    except ValueError as error:
        raise damaged(file, f"choice: {error}") from None
    if len(choice.coefficients) != 2 * SOURCE_FIGURES:
        raise damaged(file, f"choice: {len(choice.coefficients)} coefficients, and there are {2 * SOURCE_FIGURES}")
    return tree, held, choice


def ranked(paths: list[list[LabelPath]], chances: NDArray[np.float64]) -> list[Ranked]:
    """Return a classifier's paths and probabilities row by row."""
    return [
        (row, [round(float(chance), 6) for chance in chance_row[: len(row)]])
        for row, chance_row in zip(paths, chances, strict=True)
    ]


def _first(found: list[Ranked], limit: int) -> list[Ranked]:
    return [(paths[:limit], chances[:limit]) for paths, chances in found]


def _compared(voted: Ranked, told: Ranked) -> tuple[list[LabelPath], Figures]:
    paths = list(dict.fromkeys([*told[0], *voted[0]]))
    figures = [
        source_figures([dict(zip(*source, strict=True)).get(path) for path in paths]) for source in (told, voted)
    ]
    return paths, np.concatenate(figures, axis=1)
