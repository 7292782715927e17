"""Slips of the finger: a key beside the one that was meant."""

from __future__ import annotations

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_SHIFTED = (0.0, 0.25, 0.75)
"""How far each row of an English keyboard stands to the right of the first, in keys."""

_SHORTEST = 4

_KEYS = {
    letter: (shift + place, row)
    for row, (letters, shift) in enumerate(zip(_ROWS, _SHIFTED, strict=True))
    for place, letter in enumerate(letters)
}
_BESIDE = frozenset(
    (one, other)
    for one, (x, y) in _KEYS.items()
    for other, (its_x, its_y) in _KEYS.items()
    if one != other and abs(x - its_x) <= 1.0 and abs(y - its_y) <= 1
)


def slipped(letters: str, others: str) -> float:
    """Return how alike two texts are that differ in neighbouring keys alone: each counts as half a letter.

    Parameters
    ----------
    letters, others : str
        Small letters and digits.

    Returns
    -------
    float
        In [0.75, 1]; 0 where the lengths or other letters differ, or more than half of the letters do; and for fewer
        than four letters, which are a slip away from many others.
    """
    if len(letters) != len(others) or len(letters) < _SHORTEST:
        return 0.0
    wrong = [pair for pair in zip(letters, others, strict=True) if pair[0] != pair[1]]
    if 2 * len(wrong) > len(letters) or not _BESIDE.issuperset(wrong):
        return 0.0
    return 1.0 - 0.5 * len(wrong) / len(letters)
