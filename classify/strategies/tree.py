"""tree: the embedded classifier. No GPU, key, network or engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from catalog.arrays import damaged
from catalog.messages import Prediction, Status
from catalog.products import Products
from catalog.schema import Policy, Schema
from catalog.taxonomy import Taxonomy
from classify.progress import Progress
from classify.strategies.base import Options
from rag.encoders import check_name
from student.candidates import MOST
from student.encoding import NO_SENTENCES
from student.tree import DEFAULT_POLICY, TreeClassifier


class TreeOptions(Options):
    """What a user chooses of ``tree``.

    Attributes
    ----------
    policy : {'brand-free', 'path'}
        A new product is often a known brand in a known module that were not seen together, so ``brand-free`` is the
        default here; ``path`` keeps to whole paths seen in training.
    encoder : str
        A sentence encoder to use beside substrings (needs the extra ``embed``); ``ngram`` is none. Fixed when the model
        is fitted.
    top_n : int
        How many paths are told for each product at most, with their probabilities; those of no weight are not told.
    abstain_below : float
        Levels whose probability is lower are left empty, for a person to fill in.
    """

    policy: Policy = DEFAULT_POLICY
    encoder: str = NO_SENTENCES
    top_n: int = Field(default=1, ge=1, le=MOST)
    abstain_below: float = Field(default=0.0, ge=0, le=1)

    @field_validator("encoder")
    @classmethod
    def _known(cls, name: str) -> str:
        check_name(name)
        return name


class TreeStrategy:
    """The tree classifier as a strategy."""

    name = "tree"
    options_class = TreeOptions

    def __init__(self, classifier: TreeClassifier, schema: Schema, options: TreeOptions) -> None:
        self.classifier, self.schema, self.options = classifier, schema, options
        self.taxonomy = Taxonomy(schema.levels, classifier.path_counts)

    @classmethod
    def fit(
        cls,
        train: Products,
        schema: Schema,
        options: TreeOptions,
        *,
        seed: int,
        progress: Progress,
        work: Path | None = None,
    ) -> TreeStrategy:
        """Fit the classifier."""
        del work
        return cls(fit_with_bar(train, schema, options.encoder, seed=seed, progress=progress), schema, options)

    def save(self, folder: Path) -> None:
        """Write the classifier."""
        self.classifier.save(folder / "tree")

    @classmethod
    def load(cls, folder: Path, schema: Schema, options: TreeOptions, *, seed: int) -> TreeStrategy:
        """Read the classifier; the options are applied when it predicts."""
        del seed
        classifier = TreeClassifier.load(folder / "tree", sentences=options.encoder)
        if classifier.levels != schema.levels:
            raise damaged(folder / "tree" / "tree.json", "levels: others than the schema has")
        return cls(classifier, schema, options)

    @property
    def report(self) -> dict[str, Any]:
        """What the fit measured on held-out training rows: the calibration error before and after."""
        return dict(self.classifier.report)

    def predict(self, products: Products) -> list[Prediction]:
        """Return the best path of each product, or its top n, less the levels below the threshold."""
        options = self.options
        found = self.classifier.predict(products, top_n=options.top_n, policy=options.policy)
        predictions = []
        for row, name in enumerate(products.ids):
            chances = np.asarray(found.level_probabilities[row], dtype=np.float64)
            kept = int((chances >= options.abstain_below).sum())  # they never rise from one level to the next
            best = found.paths[row][0]
            path = (*best[:kept], *[""] * (len(best) - kept))
            status: Status = "exact" if kept == len(best) else "abstained"
            top = None
            if options.top_n > 1:
                top = list(zip(found.paths[row], found.probabilities[row].tolist(), strict=False))
            confidence = float(found.probabilities[row][0])
            predictions.append(Prediction(name, path, confidence, status, tuple(chances.tolist()), top))
        return predictions


def fit_with_bar(
    train: Products, schema: Schema, sentences: str = NO_SENTENCES, *, seed: int, progress: Progress
) -> TreeClassifier:
    """Fit the classifier and show how far it is."""
    done = 0
    with progress("fit tree", len(train)) as advance:

        def tell(share: float, what: str) -> None:
            nonlocal done
            del what
            step = max(int(share * len(train)) - done, 0)
            done += step
            advance(step)

        return TreeClassifier.fit(train, schema, sentences=sentences, seed=seed, progress=tell)
