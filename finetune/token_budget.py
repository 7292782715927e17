"""Fewer rows to learn from where a provider counts tokens: as many as a number of tokens allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.errors import ShelfmarkError
from catalog.messages import LabelPath
from catalog.sampling import Strata
from finetune.examples import Rows


def rows_within(labels: Sequence[LabelPath], tokens: NDArray[np.float64], budget: float, *, seed: int) -> Rows:
    """Choose rows whose tokens are within a budget: all of them, or a stratified sample, as large as fits.

    One row more would be too much. Every label path keeps a row, and the others their proportions.

    Parameters
    ----------
    labels : sequence of label paths
        One for each row.
    tokens : ndarray, shape (rows,)
        Of each row, at least 0.
    budget : float
        The most that the chosen rows may have together.
    seed : int
        Decides which rows.

    Returns
    -------
    ndarray of intp
        Row numbers, ascending.

    Raises
    ------
    ShelfmarkError
        When one row of each label path is too much already.
    """
    if tokens.sum() <= budget:
        return np.arange(len(labels), dtype=np.intp)
    strata = Strata(labels, seed=seed)
    chosen = strata.sample(strata.classes)
    if (needed := tokens[chosen].sum()) > budget:
        raise ShelfmarkError(
            f"--max-training-tokens {budget:.0f}: one row of each of the {strata.classes} label paths has about "
            f"{np.ceil(needed):.0f} tokens; allow so many, make rows shorter (--clean-text, --ignore-price), or give "
            "training rows of fewer label paths"
        )
    # `least` rows fit, `most` do not.
    least, most = strata.classes, len(labels)
    while most - least > 1:
        tried = strata.sample(middle := (least + most) // 2)
        if tokens[tried].sum() <= budget:
            least, chosen = middle, tried
        else:
            most = middle
    return chosen
