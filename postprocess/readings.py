"""Which answered value belongs to which level: the readings of an answer, the likeliest first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations, pairwise, permutations
from operator import contains

from postprocess.forms import form_key
from postprocess.lexicon import Lexicon
from postprocess.likeness import NOTHING, Evidence, Likeness
from postprocess.parse import Parsed

Reading = tuple[int | None, ...]
"""For each level, the place of its value among the answered values, or None."""

_MOST_VALUES = 7
_MOST_ORDERS = 1000
_PER_MOVE = 1.0
_OUT_OF_ORDER = 0.5


def answered(parsed: Parsed) -> list[str]:
    """Return the values of an answer in order, an empty text where a level has none."""
    if parsed.parts:
        return list(parsed.parts)
    return [value or "" for value in parsed.values]


def first_reading(parsed: Parsed, levels: int) -> Reading:
    """Return the reading that takes the answer at its word: values under their levels, parts in order."""
    count = len(parsed.parts)
    if not count:
        return tuple(number if value else None for number, value in enumerate(parsed.values))
    return tuple(number if number < count else None for number in range(levels))


def only_reading(keys: Sequence[str], lexicon: Lexicon) -> Reading | None:
    """Return the only way to give too few known values, in their order, to levels that know them.

    Parameters
    ----------
    keys : sequence of str
        Form keys of known values.

    Returns
    -------
    Reading or None
        None where every level has a value, or there are several ways, or none.
    """
    levels = range(len(lexicon.levels))
    if len(keys) >= len(levels):
        return None
    homes = [lexicon.homes[key] for key in keys]
    fitting = [chosen for chosen in combinations(levels, len(keys)) if all(map(contains, homes, chosen))]
    if len(fitting) != 1:
        return None
    places = {level: place for place, level in enumerate(fitting[0])}
    return tuple(map(places.get, levels))


def evidence(value: str, level: int, likeness: Likeness) -> Evidence:
    """Return what a value says where it is read at a level: one that is known elsewhere is not misspelt here."""
    found = likeness.said(value, level)
    if found is None:
        found = NOTHING if likeness.lexicon.is_known(form_key(value)) else likeness.of(value, level)
    return found


def readings(
    values: Sequence[str], first: Reading, likeness: Likeness, above: float, *, named: bool, free: Sequence[int]
) -> Iterator[tuple[Reading, float, float]]:
    """Yield other readings: what they are, the most they could be worth, and what moving the values costs.

    Parameters
    ----------
    values : sequence of str
        The answered values.
    first : Reading
        The reading that they are measured against.
    above : float
        Only readings that could be worth more than this, less their cost, are wanted.
    named : bool
        Whether the answer names the level of each value; then moving one is less likely than for values in a row.
    free : sequence of int
        The levels that the best path so far does not explain. Where every level has a value, only these exchange
        theirs: to move an explained value would lose what it explains.

    Notes
    -----
    The bound of a reading is the sum of each value's best agreement at its level, which no valid path can beat; the
    caller stops at the first bound below what it has. They come in the order of bound less cost.
    """
    levels = likeness.lexicon.levels
    present = [place for place, value in enumerate(values) if value][:_MOST_VALUES]

    @cache
    def worth(place: int, level: int) -> float:
        found = evidence(values[place], level, likeness)
        return levels[level].weight * float(found[1].max(initial=0.0))

    bounds: dict[Reading, tuple[float, float]] = {}
    whole = len(present) == len(levels)
    orders = _exchanges(first, free) if whole else _assignments(present, len(levels))
    for reading in orders:
        if reading == first:
            continue
        bound = sum(worth(place, number) for number, place in enumerate(reading) if place is not None)
        moved = sum(place is not None and place != first[number] for number, place in enumerate(reading))
        # Values in a row are likelier in the order of the levels; those under names where they are.
        cost = _PER_MOVE * moved if named or whole else 0.1 * moved + _OUT_OF_ORDER * _turned(reading)
        if bound > 0 and bound - cost > above:
            bounds[reading] = (bound, cost)
    order = sorted(
        bounds.items(), key=lambda item: (item[1][1] - item[1][0], [-1 if p is None else p for p in item[0]])
    )
    for reading, (bound, cost) in order:
        yield reading, bound, cost


def _exchanges(first: Reading, free: Sequence[int]) -> Iterator[Reading]:
    for order in permutations(free[:_MOST_VALUES]):
        reading = list(first)
        for level, other in zip(free, order, strict=False):
            reading[level] = first[other]
        yield tuple(reading)


def _assignments(present: Sequence[int], levels: int) -> Iterator[Reading]:
    """Yield every way to give values to levels; where these are too many, those in the order of the answer."""
    count = min(len(present), levels)
    in_order = math.comb(len(present), count) * math.perm(levels, count) > _MOST_ORDERS
    for places in combinations(present, count):
        for chosen in combinations(range(levels), count):
            orders: Iterator[tuple[int, ...]] = iter([places]) if in_order else permutations(places)
            for order in orders:
                reading: list[int | None] = [None] * levels
                for number, place in zip(chosen, order, strict=True):
                    reading[number] = place
                yield tuple(reading)


def _turned(reading: Reading) -> int:
    """Return how many values stand behind the next one in the answer."""
    places = [place for place in reading if place is not None]
    return sum(one > other for one, other in pairwise(places))
