"""Which answered value belongs to which level: the readings of an answer, the likeliest first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from postprocess.forms import form_key
from postprocess.lexicon import Lexicon
from postprocess.likeness import NOTHING, Evidence, Likeness
from postprocess.orders import NOBODY, best_orders
from postprocess.parse import Parsed

Reading = tuple[int | None, ...]
"""For each level, the place of its value among the answered values, or None."""

_MOST_VALUES = 7
_MOST_ORDERS = 1000
_PER_MOVE = 1.0
_PER_MOVE_IN_A_ROW = 0.1
_OUT_OF_ORDER = 0.5
MOST_STEPS = 2000
"""So many steps are taken in search of other readings: all that four levels can need."""


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
    count = len(lexicon.levels)
    if len(keys) >= count:
        return None
    homes = [lexicon.homes[key] for key in keys]
    # Each value as far up as it can be, and each as far down: the only way is both.
    highest = _fitted(homes)
    upside_down = _fitted([[count - 1 - level for level in home] for home in reversed(homes)])
    if len(highest) < len(keys) or highest != [count - 1 - level for level in reversed(upside_down)]:
        return None
    places = {level: place for place, level in enumerate(highest)}
    return tuple(map(places.get, range(count)))


def _fitted(homes: Sequence[Sequence[int]]) -> list[int]:
    """Return the first of each value's homes that comes after the one before it, as far as there is one."""
    found: list[int] = []
    for home in homes:
        behind = [level for level in home if not found or level > found[-1]]
        if not behind:
            break
        found.append(min(behind))
    return found


def evidence(value: str, level: int, likeness: Likeness) -> Evidence:
    """Return what a value says where it is read at a level: one that is known elsewhere is not misspelt here."""
    found = likeness.said(value, level)
    if found is None:
        found = NOTHING if likeness.lexicon.is_known(form_key(value)) else likeness.of(value, level)
    return found


def readings(
    values: Sequence[str],
    first: Reading,
    likeness: Likeness,
    above: float,
    *,
    named: bool,
    free: Sequence[int],
    most: int = MOST_STEPS,
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
    most : int
        So many steps are taken in search of them, whatever the answer is; see `best_orders`.

    Notes
    -----
    The bound of a reading is the sum of each value's best agreement at its level, which no valid path can beat; the
    caller stops at the first bound below what it has. They come in the order of bound less cost.
    """
    levels = likeness.lexicon.levels
    present = [place for place, value in enumerate(values) if value][:_MOST_VALUES]
    whole = len(present) == len(levels)
    # Values in a row are likelier in the order of the levels; those under names where they are.
    move, turned = (_PER_MOVE, 0.0) if named or whole else (_PER_MOVE_IN_A_ROW, _OUT_OF_ORDER)
    own = [NOBODY if place is None else place for place in first]
    if whole:
        moving = set(free[:_MOST_VALUES])
        exchanged = [own[level] for level in moving]
        options = [exchanged if level in moving else [own[level]] for level in range(len(levels))]
    else:
        options = [present if len(present) >= len(levels) else [NOBODY, *present]] * len(levels)
    _look_up(values, options, likeness)
    worth = [
        {place: 0.0 if place == NOBODY else _most(values[place], level, likeness) for place in places}
        for level, places in enumerate(options)
    ]
    orders = best_orders(
        [
            {place: bound - move * (place not in (NOBODY, own[level])) for place, bound in bounds.items()}
            for level, bounds in enumerate(worth)
        ],
        left_out=0 if whole else max(0, len(levels) - len(present)),
        above=above,
        turned=turned,
        in_order=not whole and _ways(len(present), len(levels)) > _MOST_ORDERS,
        most=most,
    )
    for order in orders:
        reading = tuple([None if place == NOBODY else place for place in order])
        bound = sum(worth[level][place] for level, place in enumerate(order) if place != NOBODY)
        moved = sum(place not in (NOBODY, own[level]) for level, place in enumerate(order))
        if reading != first and bound > 0:
            yield reading, bound, move * moved + turned * _turned(reading)


def _most(value: str, level: int, likeness: Likeness) -> float:
    """Return the most that a value can be worth at a level."""
    return likeness.lexicon.levels[level].weight * float(evidence(value, level, likeness)[1].max(initial=0.0))


def _look_up(values: Sequence[str], options: Sequence[Sequence[int]], likeness: Likeness) -> None:
    """Look up together what `evidence` will be asked for, which takes far less time than one by one."""
    keys = {place: form_key(values[place]) for places in options for place in places if place != NOBODY}
    likeness.prepare(
        (keys[place], level)
        for level, places in enumerate(options)
        for place in places
        if place != NOBODY
        and not likeness.lexicon.is_known(keys[place])
        and likeness.said(values[place], level) is None
    )


def _ways(values: int, levels: int) -> int:
    """Return in how many ways values can be given to levels."""
    count = min(values, levels)
    return math.comb(values, count) * math.perm(levels, count)


def _turned(reading: Reading) -> int:
    """Return how many values stand behind the next one in the answer."""
    places = [place for place in reading if place is not None]
    return sum(one > other for one, other in pairwise(places))
