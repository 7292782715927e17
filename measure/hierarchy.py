"""How near an answer is in the tree of labels: credit for each level down to the first wrong one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from measure.accuracy import LabelPath, level_hits


@dataclass(frozen=True)
class Hierarchical:
    """Hierarchical precision, recall and F1, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


def hierarchical_scores(
    truth: Sequence[LabelPath], predicted: Sequence[LabelPath], hits: NDArray[np.bool_] | None = None
) -> Hierarchical:
    """Return precision, recall and F1 over label paths augmented with all their ancestors, micro-averaged over rows.

    A path stands for the set of its nodes: its prefixes of length 1 to levels (the root, which all share, is not
    counted). With T the true set of a row and P the predicted one, summed over all rows,

        precision = sum |P & T| / sum |P|
        recall    = sum |P & T| / sum |T|
        F1        = 2 sum |P & T| / (sum |P| + sum |T|)

    A node is right only when everything above it is right. A predicted path with an empty level ends before it: what
    was abstained from costs recall, not precision. Where nothing was abstained from, all three are equal, and equal
    to the mean of `prefix_accuracies`. Precision is 0 where every path is empty.

    Parameters
    ----------
    truth, predicted : sequence of label paths, length rows
        As in `measure.accuracy.level_hits`.
    hits : ndarray of bool, shape (rows, levels), optional
        What `level_hits` returns for them, where it is at hand already.

    Returns
    -------
    Hierarchical

    References
    ----------
    S. Kiritchenko, S. Matwin, A. F. Famili, "Functional annotation of genes using hierarchical text categorization",
    BioLINK SIG (2005).
    S. Kiritchenko, S. Matwin, R. Nock, A. F. Famili, "Learning and evaluation in the presence of class hierarchies:
    application to text categorization", Canadian AI (2006), LNCS 4013, 395-406.
    """
    common = int(prefix_hits(level_hits(truth, predicted) if hits is None else hits).sum())
    true_nodes, predicted_nodes = _nodes(truth), _nodes(predicted)
    return Hierarchical(
        precision=common / predicted_nodes if predicted_nodes else 0.0,
        recall=common / true_nodes if true_nodes else 0.0,
        f1=2 * common / (true_nodes + predicted_nodes) if true_nodes + predicted_nodes else 0.0,
    )


def prefix_accuracies(truth: Sequence[LabelPath], predicted: Sequence[LabelPath]) -> NDArray[np.float64]:
    """Return for each level the share of rows that are right at that level and at all levels above it.

    Parameters
    ----------
    truth, predicted : sequence of label paths, length rows
        As in `measure.accuracy.level_hits`.

    Returns
    -------
    ndarray of float64, shape (levels,)
        In [0, 1], never rising; the last is the item accuracy.
    """
    return np.asarray(prefix_hits(level_hits(truth, predicted)).mean(axis=0), dtype=np.float64)


def prefix_hits(hits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell for each row and level whether that level and all above it are right, from what `level_hits` returns."""
    return np.asarray(np.logical_and.accumulate(hits, axis=1), dtype=np.bool_)


def _nodes(paths: Sequence[LabelPath]) -> int:
    """Count the prefixes of all paths, each path cut at its first empty level."""
    return sum(len(path) if all(path) else path.index("") for path in paths)
