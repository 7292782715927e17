"""Read objects out of an answer: JSON whole, truncated, single-quoted, fenced, inside talk, nested or repeated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from json_repair import repair_json
from rapidfuzz.distance import Indel

from catalog.schema import SEPARATOR
from postprocess.forms import form_key, squeezed, whole_signs
from postprocess.lexicon import Lexicon
from postprocess.wording import read_lines

Found = tuple[tuple[str | None, ...], tuple[str, ...], str | None]
_DEEPEST = 12


def read_object(text: str, levels: tuple[str, ...], lexicon: Lexicon) -> Found | None:
    """Read the first object or list in `text` that says anything about the levels.

    Returns
    -------
    tuple or None
        One value or None for each level; values whose level is not certain, in order; and a joined label, where the
        object only wraps one. None where there is nothing of the kind.
    """
    value = _strict(text)
    if value is None:
        # A broken object with the right names is read by its names, which survive more than brackets and quotes do.
        named = read_lines(text, levels)
        if named is not None and all(named):
            return named, (), None
        value = _tolerant(text)
        found = _understood(value, levels, lexicon) if value is not None else None
        if named is not None and (found is None or sum(map(bool, named)) >= sum(map(bool, found[0]))):
            return named, (), None
        return found
    return _understood(value, levels, lexicon)


def _strict(text: str) -> Any:
    start = min((place for place in (text.find("{"), text.find("[")) if place >= 0), default=-1)
    if start < 0:
        return None
    try:
        return json.JSONDecoder().raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return None


def _tolerant(text: str) -> Any:
    if text.count("{") + text.count("[") > _DEEPEST * 4:
        return None
    try:
        return repair_json(
            text[min(place for place in (text.find("{"), text.find("[")) if place >= 0) :], return_objects=True
        )
    except (ValueError, RecursionError, IndexError, TypeError, KeyError):
        return None


def _understood(value: Any, levels: tuple[str, ...], lexicon: Lexicon) -> Found | None:
    values: list[str | None] = [None] * len(levels)
    loose: list[str] = []
    for level, scalar in _scalars(value, levels, None, 0):
        if level is None:
            loose.append(scalar)
        elif values[level] is None:
            values[level] = scalar
    if not any(values):
        joined = next((item for item in loose if SEPARATOR in item), None)
        if joined is not None:
            return tuple(values), (), joined
        known = [item for item in loose if lexicon.is_known(form_key(item))]
        parts = loose if len(loose) <= len(levels) else known
        if len(loose) == 1:
            return tuple(values), (), loose[0]
        return (tuple(values), tuple(parts), None) if known else None
    _place(values, loose, lexicon)
    return tuple(values), (), None


def _place(values: list[str | None], loose: list[str], lexicon: Lexicon) -> None:
    """Give values under unknown names to the levels without one: a known value to its level, else in order."""
    missing = [level for level, value in enumerate(values) if value is None]
    for scalar in list(loose):
        for level in missing:
            if values[level] is None and level in lexicon.homes.get(form_key(scalar), ()):
                values[level] = scalar
                loose.remove(scalar)
                break
    missing = [level for level, value in enumerate(values) if value is None]
    if len(missing) == len(loose):
        for level, scalar in zip(missing, loose, strict=True):
            values[level] = scalar


def _scalars(value: Any, levels: tuple[str, ...], level: int | None, depth: int) -> Iterator[tuple[int | None, str]]:
    """Yield every text in a nested value with the level whose name it stands under, if any."""
    if depth > _DEEPEST:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            own = level_of(str(name), levels)
            yield from _scalars(inner, levels, level if own is None else own, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _scalars(inner, levels, level, depth + 1)
    elif isinstance(value, str) and value.strip():
        yield level, whole_signs(value.strip())
    elif isinstance(value, int | float) and not isinstance(value, bool) and level is not None:
        yield level, str(value)


@lru_cache(maxsize=1 << 12)
def level_of(name: str, levels: tuple[str, ...]) -> int | None:
    """Return the level that a key names: by its letters, by a level's name inside it, or by resemblance."""
    letters = squeezed(form_key(name.replace("_", " ")))
    known = [squeezed(form_key(level.replace("_", " "))) for level in levels]
    if letters in known:
        return known.index(letters)
    inside = [level for level in known if level and level in letters]
    if inside:
        return known.index(max(inside, key=len))
    scores = [Indel.normalized_similarity(letters, level) for level in known]
    best = max(range(len(scores)), key=scores.__getitem__)
    return best if scores[best] >= 0.8 else None
