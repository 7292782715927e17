"""All metrics of one set of predictions, in one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from measure.accuracy import LabelPath, level_hits, level_macro_f1, macro_f1, wilson_interval
from measure.calibration import brier_score, expected_calibration_error
from measure.hierarchy import hierarchical_scores, prefix_hits


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one set of predictions. All are shares in [0, 1] but for `rows`.

    Attributes
    ----------
    rows : int
        How many rows were compared.
    item_accuracy : float
        Rows with all levels right (`measure.accuracy.item_accuracy`).
    item_accuracy_interval : (float, float)
        Its 95% Wilson interval.
    accuracy : float
        Mean over the levels of the share of right values (`measure.accuracy.accuracy`).
    macro_f1 : float
        Mean F1 of the label paths that occur in truth or prediction (`measure.accuracy.macro_f1`).
    hierarchical_precision, hierarchical_recall, hierarchical_f1 : float
        By Kiritchenko's ancestors (`measure.hierarchy.hierarchical_scores`).
    valid : float or None
        Rows whose predicted path is valid; None where no taxonomy says what is.
    coverage : float
        Rows with no empty level: those that were answered.
    answered_item_accuracy : float or None
        Item accuracy of the answered rows alone; None where there are none.
    ece, brier : float or None
        Expected calibration error over 15 equal-mass bins and Brier score of the confidence that all levels are
        right, over the answered rows: a withheld answer cannot be checked. None without confidences or such rows.
    by_level : dict of str to dict of str to float
        For each level its ``accuracy``, ``macro_f1`` and ``prefix_accuracy`` (right down to this level).
    """

    rows: int
    item_accuracy: float
    item_accuracy_interval: tuple[float, float]
    accuracy: float
    macro_f1: float
    hierarchical_precision: float
    hierarchical_recall: float
    hierarchical_f1: float
    valid: float | None
    coverage: float
    answered_item_accuracy: float | None
    ece: float | None
    brier: float | None
    by_level: dict[str, dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as plain values, for JSON; the names are those of the attributes."""
        return {**asdict(self), "item_accuracy_interval": list(self.item_accuracy_interval)}


def evaluate(
    truth: Sequence[LabelPath],
    predicted: Sequence[LabelPath],
    confidence: ArrayLike | None,
    levels: Sequence[str],
    valid: Sequence[bool] | None = None,
) -> Evaluation:
    """Compare predicted label paths with the true ones.

    Parameters
    ----------
    truth, predicted : sequence of label paths, length rows
        One path a row, one value a level. An empty string in `predicted` is a level that was abstained from; it
        counts as wrong.
    confidence : array of float, shape (rows,), or None
        Probabilities in [0, 1] that all levels of the row are right.
    levels : sequence of str
        The names of the levels, widest first.
    valid : sequence of bool, length rows, or None
        Whether each predicted path is valid; None where that is not known.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        When there are no rows, or the arguments do not match in length.
    """
    # Compared once: at the size of the datathon's test set this is most of the time.
    hits = level_hits(truth, predicted)
    rows, depth = hits.shape
    if depth != len(levels):
        raise ValueError(f"label paths of {depth} levels, but {len(levels)} level names")
    if valid is not None and len(valid) != rows:
        raise ValueError(f"{rows} rows, but {len(valid)} of them said to be valid or not")
    right = np.asarray(hits.all(axis=1))
    answered = np.array([all(path) for path in predicted], dtype=np.bool_)
    known = None if confidence is None else np.asarray(confidence, dtype=np.float64)
    if known is not None and known.shape != (rows,):
        raise ValueError(f"{rows} rows, but confidences of shape {known.shape}")
    promised = known[answered] if known is not None and answered.any() else None
    tree = hierarchical_scores(truth, predicted, hits)
    by_level = zip(
        levels,
        hits.mean(axis=0).tolist(),
        level_macro_f1(truth, predicted).tolist(),
        prefix_hits(hits).mean(axis=0).tolist(),
        strict=True,
    )
    return Evaluation(
        rows=rows,
        item_accuracy=float(right.mean()),
        item_accuracy_interval=wilson_interval(int(right.sum()), rows),
        accuracy=float(hits.mean()),
        macro_f1=macro_f1(truth, predicted),
        hierarchical_precision=tree.precision,
        hierarchical_recall=tree.recall,
        hierarchical_f1=tree.f1,
        valid=None if valid is None else float(np.mean(valid)),
        coverage=float(answered.mean()),
        answered_item_accuracy=float(right[answered].mean()) if answered.any() else None,
        ece=None if promised is None else expected_calibration_error(promised, right[answered]),
        brier=None if promised is None else brier_score(promised, right[answered]),
        by_level={
            level: {"accuracy": share, "macro_f1": f1, "prefix_accuracy": prefix}
            for level, share, f1, prefix in by_level
        },
    )
