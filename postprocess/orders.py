"""The best ways to give values to levels, without making all of them: the search goes on where most is promised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush

NOBODY = -1
"""Stands for no value at all."""

_UNIT = 1 << 30
"""Worths are whole numbers of such parts, whose sums have no rounding: ways that are worth the same are equal."""


def best_orders(
    worth: Sequence[Mapping[int, float]],
    *,
    left_out: int,
    above: float,
    turned: float,
    in_order: bool,
    most: int,
) -> Iterator[tuple[int, ...]]:
    """Yield ways to give each level a value that no other level has, those that are worth most first (A*).

    Parameters
    ----------
    worth : sequence of mapping of int to float
        For each level, the values that it may have (`NOBODY` among them where it may have none), and what they are
        worth there.
    left_out : int
        So many levels have no value.
    above : float
        Only ways that are worth more are wanted.
    turned : float
        What it costs where a value stands behind that of the next level that has one.
    in_order : bool
        Whether no value may stand behind that of the next level.
    most : int
        So many beginnings of ways are followed, however many there are.

    Yields
    ------
    tuple of int
        The value of each level. Of ways that are worth the same the one with the smaller values comes first.
    """
    size = len(worth)
    gains = [[(value, round(gain * _UNIT)) for value, gain in sorted(some.items())] for some in worth]
    cost = round(turned * _UNIT)
    # What the levels from each one on can be worth at most.
    rest = [0] * (size + 1)
    for level in reversed(range(size)):
        rest[level] = rest[level + 1] + max((gain for _, gain in gains[level]), default=0)
    least = above * _UNIT
    # Of a beginning: what the whole can be worth at most, its values, what they are worth, its last value, its gaps.
    waiting: list[tuple[int, tuple[int, ...], int, int, int]] = []
    if rest[0] > least:
        heappush(waiting, (-rest[0], (), 0, NOBODY, 0))
    for _ in range(most):
        if not waiting:
            return
        _, chosen, gained, last, gaps = heappop(waiting)
        level = len(chosen)
        if level == size:
            yield chosen
            continue
        for value, gain in gains[level]:
            if value == NOBODY:
                if gaps == left_out:
                    continue
                now, behind, without = gained + gain, last, gaps + 1
            else:
                if value in chosen or (in_order and value < last) or size - level - 1 < left_out - gaps:
                    continue
                now, behind, without = gained + gain - (cost if value < last else 0), value, gaps
            best = now + rest[level + 1]
            if best > least:
                heappush(waiting, (-best, (*chosen, value), now, behind, without))
