"""rag: similar labelled products are retrieved, and an engine chooses among their labels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalog.cleaning import cleaned_text, without_numbers
from catalog.context import Context, description_key
from catalog.errors import ShelfmarkError
from catalog.files import write_json
from catalog.messages import LabelPath, Request, request_id
from catalog.products import Products
from catalog.schema import SEPARATOR, Schema
from classify.console import tell
from classify.progress import Progress
from classify.sources import TREE_PATHS, Found, Ranked, Sources, load_tree, ranked
from classify.strategies.rag_options import RagOptions
from rag.crossencoder import Reranker
from rag.encoders import make_encoder
from rag.index import Index
from rag.prompts import Prompt
from rag.quoting import quoted_of
from rag.retrieve import FOUND
from rag.stored_vote import load_vote
from rag.tokens import token_counter
from rag.vote import Vote, held_out_rows
from student.tree import TreeClassifier

ANSWER_TOKENS = 128


class RagStrategy:
    """Retrieval-augmented classification.

    Attributes
    ----------
    context : Path or None
        The cache of what the web says of held-out rows; set by the run, which has its own copy.
    """

    name = "rag"
    options_class = RagOptions

    def __init__(self, sources: Sources, options: RagOptions, *, seed: int) -> None:
        index = sources.index
        self.sources, self.index, self.vote = sources, index, sources.vote
        self.options, self.schema, self.seed = options, index.schema, seed
        self.taxonomy = index.taxonomy
        self.prompt = Prompt(
            index.schema,
            options.prompt,
            by_level=options.ask_by == "level",
            zero_shot=not options.sources,
            quotes=options.context_tokens > 0,
        )
        self.context: Path | None = None
        self._count = token_counter(options.tokenizer)
        self._cut: list[int | str] = []  # the products whose text found no room

    @classmethod
    def fit(
        cls,
        train: Products,
        schema: Schema,
        options: RagOptions,
        *,
        seed: int,
        progress: Progress,
        work: Path | None = None,
    ) -> RagStrategy:
        """Index the products and tune the vote on some of them; fit `tree` where it is wanted."""
        del work
        encoder = make_encoder(options.encoder)
        with progress("index", len(train)) as advance:
            index = Index.build(_cleaned(train, options), schema, encoder, advance)
        tree, held = None, None
        if options.needs_tree:
            tree, held = _fit_tree(index, options, seed, progress)
        vote = Vote.fit(index, options.retrieval(len(index)), seed=seed)
        return cls(_sources(index, vote, options, tree, held, seed), options, seed=seed)

    def save(self, folder: Path) -> None:
        """Write the index, the vote and `tree`."""
        self.index.save(folder)
        write_json(folder / "vote.json", {**self.vote.to_dict(), "clean_text": self.options.clean_text})
        self.sources.save(folder)

    @classmethod
    def load(cls, folder: Path, schema: Schema, options: RagOptions, *, seed: int) -> RagStrategy:
        """Read the index; tune the vote anew where it was tuned for other options.

        Raises
        ------
        ShelfmarkError
            When an option is wanted that is fixed by the fit.
        """
        index = Index.load(folder, schema)
        if options.encoder != index.encoder.name and make_encoder(options.encoder).name != index.encoder.name:
            raise ShelfmarkError(
                f"--encoder {options.encoder}: this model was fitted with {index.encoder.name}; fit another one"
            )
        vote, cleaned = load_vote(folder / "vote.json")
        if cleaned != options.clean_text:
            raise ShelfmarkError("--clean-text: this model was fitted otherwise; fit another one")
        tree, held, choice = None, None, None
        if options.needs_tree:
            rows = len(held_out_rows(len(index), seed))
            tree, held, choice = load_tree(folder, options.policy, schema.levels, rows)
        wanted = options.retrieval(len(index))
        if vote.options != wanted:
            vote, choice = Vote.fit(index, wanted, seed=seed), None
        return cls(_sources(index, vote, options, tree, held, seed, choice), options, seed=seed)

    def with_top_k(self, top_k: int) -> Self:
        """Return the same strategy with another number of neighbours."""
        options = self.options.model_copy(update={"top_k": top_k})
        mine = self.sources
        vote = Vote.fit(self.index, options.retrieval(len(self.index)), seed=self.seed)
        other = type(self)(
            _sources(self.index, vote, options, mine.tree, mine.held_out, self.seed), options, seed=self.seed
        )
        other.context = self.context
        return other

    def requests(self, products: Products) -> list[Request]:
        """Retrieve neighbours and write one request for each product, in order.

        One without messages asks nothing: `tree` is sure, and its first candidate is the answer.
        """
        products = _cleaned(products, self.options)
        found = self.sources.find(products)
        self._cut.clear()
        made = [self._request(products, row, found, products.ids[row]) for row in range(len(products))]
        self._tell_of_cuts()
        return made

    def held_out_requests(self, count: int) -> list[tuple[Request, LabelPath]]:
        """Return requests for training rows, written as if the rows were new, and their labels.

        Rows that would not be asked about, because `tree` is sure of them, are not among them.
        """
        rows = self._held_out(count)
        if not len(rows):
            return []
        products, found = self._with_context(self.index.products.take(rows)), self.sources.as_if_new(rows)
        requests = [self._request(products, at, found, f"held-{row}") for at, row in enumerate(rows.tolist())]
        return list(zip(requests, products.require_labels(), strict=True))

    def held_out_texts(self, count: int) -> list[str]:
        """Return the texts of the rows of `held_out_requests`."""
        return self.index.products.take(self._held_out(count)).texts

    def _held_out(self, count: int) -> NDArray[np.intp]:
        rows = self.sources.held_rows()
        if self.options.llm_below > 0:
            assert self.sources.held_out is not None
            told = self.sources.held_out
            rows = rows[[at for at in range(len(rows)) if not self._is_sure(told[at])]]
        return rows[:count]

    def _with_context(self, held: Products) -> Products:
        """Return held-out rows with what the run's cache knows of them; where texts were cleaned, by cleaned texts."""
        if self.context is None:
            return held
        key = cleaned_key if self.options.clean_text else description_key
        return Context.read(self.context, held.texts, key).join(held)

    def settled_report(self) -> dict[str, Any]:
        """Tell, on held-out rows, what share `tree` is sure of, and how often it is right there and elsewhere."""
        told = self.sources.held_out
        if not self.options.llm_below or told is None:
            return {}
        labels = [self.index.labels[row] for row in self.sources.held_rows().tolist()]
        sure = np.array([self._is_sure(row) for row in told])
        right = np.array([row[0][0] == label for row, label in zip(told, labels, strict=True)])
        return {
            "held_out_rows": len(told),
            "settled": round(float(sure.mean()), 6),
            "accuracy_settled": round(float(right[sure].mean()), 6) if sure.any() else None,
            "accuracy_asked": round(float(right[~sure].mean()), 6) if not sure.all() else None,
        }

    def neighbours(self, products: Products) -> pd.DataFrame:
        """Return each product's neighbours: its id, the neighbour's text, label, similarity, and how it was found."""
        near = self.sources.find(_cleaned(products, self.options)).near
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

    def _is_sure(self, told: Ranked) -> bool:
        return told[1][0] >= self.options.llm_below

    def _request(self, products: Products, row: int, found: Found, name: int | str) -> Request:
        paths, scores = found.candidates[row]
        if self.options.llm_below and found.told is not None and self._is_sure(found.told[row]):
            best, chances = found.told[row]
            label = SEPARATOR.join(best[0])
            return Request(request_id(name, [[], [label]]), [], best[:1], chances[:1], ANSWER_TOKENS)
        labels = [SEPARATOR.join(path) for path in paths]
        limit = self.options.max_prompt_tokens
        if self.options.ask_by == "level":
            limit -= min(self._level_tokens(paths), limit // 2)
        asked = self._shown(products, row)
        if self.options.context_tokens:
            asked["context"] = quoted_of(products, row, self.options.context_tokens, self._count)
        question = self.prompt.within(
            asked,
            self._neighbours_of(row, found) if self.options.top_k else [],
            labels,
            count=self._count,
            limit=limit,
        )
        if question.cut:
            self._cut.append(products.ids[row])
        kept = question.candidates
        return Request(
            request_id(name, [question.messages, labels[:kept]]),
            question.messages,
            paths[:kept],
            scores[:kept],
            ANSWER_TOKENS,
        )

    def _tell_of_cuts(self) -> None:
        if self._cut:
            what = "product has" if len(self._cut) == 1 else "products have"
            tell(
                f"{len(self._cut):,} {what} more text than --max-prompt-tokens {self.options.max_prompt_tokens} leaves "
                f"room for, and its end is not shown to the model; the first is {str(self._cut[0])[:80]}"
            )

    def _level_tokens(self, paths: list[LabelPath]) -> int:
        """Return how many tokens the questions for all levels may take, with the answers on the way."""
        total = 0
        for level, values in zip(self.schema.levels, zip(*paths, strict=True), strict=False):
            choices = list(dict.fromkeys(values))
            answer = max(choices, key=len)
            turns = [
                {"role": "user", "content": self.prompt.level(level, choices)},
                {"role": "assistant", "content": answer},
            ]
            total += self._count(turns) if len(choices) > 1 else 0
        return total

    def _shown(self, products: Products, row: int) -> dict[str, Any]:
        price = float(products.prices[row])
        hidden = math.isnan(price) or self.options.ignore_price
        return {"text": products.texts[row], "retailer": products.retailers[row], "price": None if hidden else price}

    def _neighbours_of(self, row: int, found: Found) -> list[dict[str, Any]]:
        near: NDArray[np.int64] = found.near.rows[row]
        return [
            {
                **self._shown(self.index.products, at),
                "label": SEPARATOR.join(self.index.labels[at]),
                "found": FOUND[how],
            }
            for at, how in zip(near.tolist(), found.near.found[row].tolist(), strict=True)
            if at >= 0
        ]


def _fit_tree(index: Index, options: RagOptions, seed: int, progress: Progress) -> tuple[TreeClassifier, list[Ranked]]:
    """Fit `tree` on the rows of the index; return it, and what held-out rows are told as if they were new to it."""
    from classify.strategies.tree import fit_with_bar

    tree = fit_with_bar(index.products, index.schema, seed=seed, progress=progress)
    rows, told = tree.as_if_new(top_n=TREE_PATHS, policy=options.policy)
    place = {row: at for at, row in enumerate(rows.tolist())}
    said = ranked(told.paths, told.probabilities)
    return tree, [said[place[row]] for row in held_out_rows(len(index), seed).tolist()]


def _sources(
    index: Index,
    vote: Vote,
    options: RagOptions,
    tree: TreeClassifier | None,
    held: list[Ranked] | None,
    seed: int,
    choice: Any = None,
) -> Sources:
    reranker = Reranker(options.rerank) if options.rerank else None
    names = options.sources
    return Sources(
        index, vote, names, options.candidates, tree=tree, held_out=held, reranker=reranker, choice=choice, seed=seed
    )


def cleaned_key(text: str) -> str:
    """Return the form by which descriptions are compared that lack their numbers."""
    return cleaned_text(description_key(text))


def _cleaned(products: Products, options: RagOptions) -> Products:
    return without_numbers(products) if options.clean_text else products
