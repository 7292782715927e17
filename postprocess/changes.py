"""What snapping changed, level by level, and by which rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from catalog.messages import LabelPath
from postprocess.forms import form_key, is_same_form
from postprocess.likeness import FLOOR, alike
from postprocess.remembered import remembered

RULES = {
    "form": "the same but for case, spacing, Unicode, punctuation or plural",
    "spelling": "resembles the answered value",
    "dropped": "the answer had this value too many",
    "filled": "the answer had no value for the level; it follows from the others",
    "text": "the answer was read as one text, which does not name this value",
    "placed": "the answer gave the value for another level",
    "parent": "the answered value is not above the values below it; theirs is",
    "best": "no value like the answered one is valid here; this one goes best with the rest",
    "brand of module": "like the answered brand, among the brands of the answered module",
    "brand of retailer": "like the answered brand, among the retailer's brands",
    "brand of all": "like the answered brand, among all brands",
    "fallback": "nothing could be made of the answer; the most frequent path instead",
}
"""The rules, and what each says."""


_LIKE = FLOOR + (1.0 - FLOOR) * math.sqrt(0.1)
"""Where a likeness is worth a tenth of an agreement, by `gain`."""
_MOST_SHOWN = 200


class Change(NamedTuple):
    """One changed level.

    Parameters
    ----------
    level : str
        Its name; empty for a value that was dropped.
    was : str
        The answered value; empty where there was none.
    became : str
        The value of the path.
    rule : str
        A key of `RULES`.
    """

    level: str
    was: str
    became: str
    rule: str


@remembered(1 << 16)
def is_like(was: str, became: str) -> bool:
    """Tell whether a value resembles an answered one enough to have been meant by it."""
    if is_same_form(was, became):
        return True
    return bool(was) and alike(form_key(was), form_key(became), enough=_LIKE) >= _LIKE


def form_changes(levels: Sequence[str], values: Sequence[str], path: LabelPath) -> tuple[Change, ...]:
    """Return the changes from values to the path that they are up to form."""
    if values == path:
        return ()
    return tuple(
        [
            Change(level, was, became, "form")
            for level, was, became in zip(levels, values, path, strict=True)
            if was != became
        ]
    )


def shown(text: str) -> str:
    """Return as much of an answer as a change keeps."""
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…"


def changes_of(
    levels: Sequence[str],
    values: Sequence[str | None],
    placed: Sequence[bool],
    path: LabelPath,
    *,
    sold: bool,
    seen: bool = True,
) -> tuple[Change, ...]:
    """Return the changes from the answered values to a path.

    Parameters
    ----------
    levels : sequence of str
        Names of the levels.
    values : sequence of (str or None)
        The value that was answered for each level; None where there was none.
    placed : sequence of bool
        For each level, whether the path's value was answered for another level.
    path : label path
        What it became.
    sold : bool
        Whether the retailer sells the path.
    seen : bool
        Whether the brand is known in its module.
    """
    changes = []
    last = len(levels) - 1
    for number, (level, was, became) in enumerate(zip(levels, values, path, strict=True)):
        if was == became:
            continue
        if was and is_same_form(was, became):
            rule = "form"
        elif placed[number]:
            rule = "placed"
        elif not was:
            rule = "filled"
        elif is_like(was, became):
            rule = "spelling"
            if number == last and last:
                above = values[number - 1]
                rule = "brand of all"
                if seen and above and is_same_form(above, path[number - 1]):
                    rule = "brand of module"
                elif sold:
                    rule = "brand of retailer"
        else:
            below = any(
                value and is_same_form(value, path[number + 1 + i]) for i, value in enumerate(values[number + 1 :])
            )
            rule = "parent" if below else "best"
        changes.append(Change(level, was or "", became, rule))
    return tuple(changes)
