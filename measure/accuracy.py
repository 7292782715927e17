"""How many answers are right: by item, by level and by label; and how sure such a figure is."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

LabelPath = tuple[str, ...]


def level_hits(truth: Sequence[LabelPath], predicted: Sequence[LabelPath]) -> NDArray[np.bool_]:
    """Tell for each row and level whether the predicted value is the true one.

    Parameters
    ----------
    truth, predicted : sequence of label paths, length rows
        One path a row, all with the same number of levels. An empty string in `predicted` is a level that was
        abstained from; it is never right.

    Returns
    -------
    ndarray of bool, shape (rows, levels)

    Raises
    ------
    ValueError
        When there are no rows, the lengths differ or the paths do not all have the same number of levels.
    """
    _require_match(truth, predicted)
    right, answer = np.array(truth, dtype=object), np.array(predicted, dtype=object)
    return np.asarray((right == answer) & (answer != ""), dtype=np.bool_)


def item_accuracy(truth: Sequence[LabelPath], predicted: Sequence[LabelPath]) -> float:
    """Return the share of rows of which all levels are right, in [0, 1].

    Parameters
    ----------
    truth, predicted : sequence of label paths, length rows
        As in `level_hits`.
    """
    return float(level_hits(truth, predicted).all(axis=1).mean())


def level_accuracies(truth: Sequence[LabelPath], predicted: Sequence[LabelPath]) -> NDArray[np.float64]:
    """Return for each level the share of rows whose value at that level is right, whatever the levels above are.

    Parameters
    ----------
    truth, predicted : sequence of label paths, length rows
        As in `level_hits`.

    Returns
    -------
    ndarray of float64, shape (levels,)
        In [0, 1].
    """
    return np.asarray(level_hits(truth, predicted).mean(axis=0), dtype=np.float64)


def accuracy(truth: Sequence[LabelPath], predicted: Sequence[LabelPath]) -> float:
    """Return the mean over the levels of the per-level accuracy: the share of all cells (row, level) that are right.

    Every level weighs the same, and a value counts by itself: it is right or wrong whatever the levels above it are
    (`measure.hierarchy` counts otherwise). Never less than `item_accuracy`; the same where there is one level.

    Parameters
    ----------
    truth, predicted : sequence of label paths, length rows
        As in `level_hits`.
    """
    return float(level_accuracies(truth, predicted).mean())


def macro_f1(truth: Sequence[LabelPath], predicted: Sequence[LabelPath]) -> float:
    """Return the mean F1 of the whole label paths that occur in `truth` or in `predicted`, each path weighing the same.

    The F1 of a label is 2 TP / (2 TP + FP + FN), in [0, 1]; one that was predicted but is never true has 0, and so has
    one that is true but was never predicted. A predicted path with an empty level is no label: it is a miss (FN) of
    the true one and a false alarm (FP) of none.

    Parameters
    ----------
    truth, predicted : sequence of label paths, length rows
        As in `level_hits`.
    """
    _require_match(truth, predicted)
    return _macro_f1(truth, [path if all(path) else None for path in predicted])


def level_macro_f1(truth: Sequence[LabelPath], predicted: Sequence[LabelPath]) -> NDArray[np.float64]:
    """Return for each level the mean F1 of the values that occur at that level, as `macro_f1` does for whole paths.

    A value is a label by itself, whatever the levels above it are. An empty value in `predicted` is no label.

    Parameters
    ----------
    truth, predicted : sequence of label paths, length rows
        As in `level_hits`.

    Returns
    -------
    ndarray of float64, shape (levels,)
    """
    _require_match(truth, predicted)
    columns = zip(zip(*truth, strict=True), zip(*predicted, strict=True), strict=True)
    return np.array([_macro_f1(right, [value or None for value in values]) for right, values in columns])


def _require_match(truth: Sequence[LabelPath], predicted: Sequence[LabelPath]) -> None:
    if len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} true paths but {len(predicted)} predicted ones")
    if not truth:
        raise ValueError("no rows")
    depths = set(map(len, truth)) | set(map(len, predicted))
    if len(depths) > 1 or 0 in depths:
        raise ValueError(f"label paths of {sorted(depths)} levels; all need as many, at least one")


def _macro_f1(truth: Sequence[Hashable], predicted: Sequence[Hashable | None]) -> float:
    codes: dict[Hashable, int] = {}
    true = np.array([codes.setdefault(label, len(codes)) for label in truth])
    guess = np.array([-1 if label is None else codes.setdefault(label, len(codes)) for label in predicted])
    hits = np.bincount(true[true == guess], minlength=len(codes))
    # 2 TP + FP + FN is how often the label is true plus how often it was predicted; it is at least 1 for each code.
    occurrences = np.bincount(true, minlength=len(codes)) + np.bincount(guess[guess >= 0], minlength=len(codes))
    return float((2 * hits / occurrences).mean())


def wilson_interval(right: int, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a share: of the rates under which `right` of `rows` would not be surprising.

    Parameters
    ----------
    right : int
        How many rows are right, 0 to `rows`.
    rows : int
        How many rows there are, at least 1.
    confidence : float
        How often such an interval holds the true rate, in (0, 1).

    Returns
    -------
    (float, float)
        Both in [0, 1], around right / rows.

    References
    ----------
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), 209-212.
    """
    if not 0 <= right <= rows or rows < 1:
        raise ValueError(f"{right} right of {rows} rows is no share")
    z = _z(confidence)
    centre = (right + z * z / 2) / (rows + z * z)
    half = z * math.sqrt(right * (rows - right) / rows + z * z / 4) / (rows + z * z)
    # At the ends the formula gives exactly 0 or 1, up to rounding.
    return (0.0 if right == 0 else max(0.0, centre - half)), (1.0 if right == rows else min(1.0, centre + half))


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence} is not between 0 and 1")
    return NormalDist().inv_cdf((1 + confidence) / 2)


@dataclass(frozen=True)
class PairedDifference:
    """What `paired_difference` returns.

    Attributes
    ----------
    difference : float
        Item accuracy of the predictions minus that of the baseline, in [-1, 1].
    low, high : float
        The interval of the difference.
    p_value : float
        Of the exact McNemar test that both are right equally often.
    gained, lost : int
        Rows that only the predictions, and only the baseline, have right.
    rows : int
        All rows.
    """

    difference: float
    low: float
    high: float
    p_value: float
    gained: int
    lost: int
    rows: int


def paired_difference(
    truth: Sequence[LabelPath],
    predicted: Sequence[LabelPath],
    baseline: Sequence[LabelPath],
    confidence: float = 0.95,
) -> PairedDifference:
    """Compare the item accuracy of two lists of predictions of the same rows.

    The interval is Tango's score interval for paired shares, which uses that both lists answer the same rows (two
    Wilson intervals do not, and are far too wide) and holds its level with few rows, too. The p-value is exact.

    Parameters
    ----------
    truth, predicted, baseline : sequence of label paths, length rows
        As in `level_hits`.
    confidence : float
        How often such an interval holds the true difference, in (0, 1).

    Returns
    -------
    PairedDifference

    References
    ----------
    T. Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17 (1998), 891-908.
    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947), 153-157; exact (binomial) form.
    """
    ours = level_hits(truth, predicted).all(axis=1)
    theirs = level_hits(truth, baseline).all(axis=1)
    gained, lost, rows = int((ours & ~theirs).sum()), int((theirs & ~ours).sum()), len(truth)
    low, high = _tango_interval(gained, lost, rows, _z(confidence))
    return PairedDifference((gained - lost) / rows, low, high, _mcnemar(gained, lost), gained, lost, rows)


def _tango_interval(gained: int, lost: int, rows: int, z: float) -> tuple[float, float]:
    """Find the two differences at which the score statistic is z and -z; it falls from one to the other."""

    def statistic(delta: float) -> float:
        a = 2 * rows
        b = (2 * rows - gained + lost) * delta - gained - lost
        c = -lost * delta * (1 - delta)
        share_lost = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = rows * (2 * share_lost + delta * (1 - delta))
        surplus = gained - lost - rows * delta
        if variance <= 0:
            return math.copysign(math.inf, surplus) if surplus else 0.0
        return surplus / math.sqrt(variance)

    def root(low: float, high: float, level: float) -> float:
        for _ in range(60):
            middle = (low + high) / 2
            if statistic(middle) > level:
                low = middle
            else:
                high = middle
        return (low + high) / 2

    observed = (gained - lost) / rows
    return (
        -1.0 if lost == rows else root(-1.0, observed, z),
        1.0 if gained == rows else root(observed, 1.0, -z),
    )


def _mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided binomial probability of a split of the differing rows at least as uneven as this one."""
    differing, fewer = gained + lost, min(gained, lost)
    steps = np.arange(1, fewer + 1, dtype=np.float64)
    # Logarithms of the binomial coefficients: they themselves overflow beyond a thousand rows.
    logs = np.concatenate([[0.0], np.cumsum(np.log(differing - steps + 1) - np.log(steps))])
    return float(min(1.0, 2 * np.exp(logs - differing * math.log(2)).sum()))
