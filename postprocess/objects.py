"""Read objects out of an answer: JSON whole, truncated, single-quoted, fenced, inside talk, nested or repeated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from json_repair import repair_json
from rapidfuzz.distance import Indel

from catalog.schema import SEPARATOR
from postprocess.forms import form_key, squeezed, whole_signs
from postprocess.lexicon import Lexicon
from postprocess.remembered import remembered
from postprocess.statements import Statement, labels_in
from postprocess.wording import is_placeholder, meant

_DEEPEST = 12
_MOST_TRIES = 48
_MOST_CHOICES = 64
_BRACKET = re.compile(r"[{\[]")
_ASIDE = re.compile(
    r"(?:^|[^a-z])(?:ids?|codes?|confidences?|scores?|prob\w*|reason\w*|explanations?|why|notes?|candidates?|"
    r"alternatives?|options?|examples?|original|old|previous|rejected|wrong|input)(?:$|[^a-z])"
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(slots=True)
class Objects:
    """What the objects of an answer say.

    Attributes
    ----------
    statements : list of Statement
        In order, with the labels that stand beside or in them.
    loose : list of str
        Values of which no object says the level.
    rest : str
        The text without the objects.
    broken : bool
        Whether there is a bracket that opens no object.
    """

    statements: list[Statement] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)
    rest: str = ""
    broken: bool = False


def read_objects(text: str, levels: tuple[str, ...], lexicon: Lexicon) -> Objects:
    """Read every object and list in a text, and the labels beside them."""
    found = Objects()
    talk: list[str] = []
    last = 0
    for start, end, value in _decoded(text, found):
        talk.append(text[last:start])
        last = end
        found.statements += labels_in(talk[-1], lexicon)
        _understand(value, levels, lexicon, found, aside=False)
    talk.append(text[last:])
    if last:
        found.statements += labels_in(talk[-1], lexicon)
    found.rest = " ".join(talk).strip() if last else text
    return found


def read_broken(text: str, levels: tuple[str, ...], lexicon: Lexicon) -> Objects:
    """Read what looks like one object or list, cut off or with other signs than JSON has."""
    found = Objects()
    start = _BRACKET.search(text)
    if start is None or text.count("{") + text.count("[") > _MOST_TRIES:
        return found
    if text[start.start()] == "[" and (start.start() or any(map(str.isalnum, text.partition("]")[2]))):
        # A bracket around a word is no list.
        return found
    try:
        value = repair_json(text[start.start() :], return_objects=True)
    except (ValueError, RecursionError, IndexError, TypeError, KeyError):
        return found
    _understand(value, levels, lexicon, found, aside=False)
    return found


def _decoded(text: str, found: Objects) -> Iterator[tuple[int, int, Any]]:
    decoder = json.JSONDecoder()
    at = tries = 0
    while tries < _MOST_TRIES and (bracket := _BRACKET.search(text, at)):
        start = bracket.start()
        try:
            value, at = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            found.broken = True
            at = start + 1
            tries += 1
        else:
            yield start, at, value


def _understand(value: Any, levels: tuple[str, ...], lexicon: Lexicon, found: Objects, *, aside: bool) -> None:
    """Add what a decoded value says: a statement for each object with names of levels, else its loose values."""
    todo: list[tuple[Any, bool, int]] = [(value, aside, 0)]
    while todo:
        value, aside, depth = todo.pop()
        if depth > _DEEPEST:
            continue
        if isinstance(value, dict):
            if any(level_of(str(name), levels)[1] for name in value):
                found.statements += _stated(value, levels, lexicon, aside=aside)
            else:
                inner = [(v, aside or bool(_ASIDE.search(_snake(str(name)))), depth + 1) for name, v in value.items()]
                todo += reversed(inner)
        elif isinstance(value, list):
            objects = [number for number, item in enumerate(value) if isinstance(item, dict | list)]
            first = objects[0] if objects else 0
            todo += reversed([(item, aside or number > first, depth + 1) for number, item in enumerate(value)])
        elif isinstance(value, str) and value.strip():
            labels = labels_in(value, lexicon)
            found.statements += [label._replace(aside=aside or label.aside) for label in labels]
            if not labels and not any(is_placeholder(value, name) for name in levels):
                found.loose.append(whole_signs(value.strip()))


def _stated(value: dict[str, Any], levels: tuple[str, ...], lexicon: Lexicon, *, aside: bool) -> list[Statement]:
    """Return what an object with names of levels states; where it has several values for a level, in a list, too."""
    said: list[list[str]] = [[] for _ in levels]
    strongest = [0] * len(levels)
    loose: list[str] = []
    for level, strength, text in _scalars(value, levels, None, 0, 0):
        if level is None:
            loose.append(text)
            continue
        meaning = meant(text, level, lexicon, levels)
        if not meaning or (not strength and not lexicon.levels[level].find(form_key(meaning))):
            continue
        if strength > strongest[level]:
            said[level], strongest[level] = [], strength
        if strength == strongest[level] and meaning not in said[level]:
            said[level].append(meaning)
    if not any(said):
        return []
    values = _choice(said, lexicon)
    if not all(values):
        _place(values, [text for text in loose if not any(is_placeholder(text, name) for name in levels)], lexicon)
    others = [
        Statement(tuple(other if level == at else None for at in range(len(levels))), aside=True)
        for level, alternatives in enumerate(said)
        for other in alternatives
        if other != values[level]
    ]
    return [Statement(tuple(values), aside=aside), *others]


def _choice(said: list[list[str]], lexicon: Lexicon) -> list[str | None]:
    """Return a value for each level: those that are a valid path together, else the first ones."""
    if all(said) and any(len(values) > 1 for values in said):
        for number, values in enumerate(product(*said)):
            if squeezed(form_key(" ".join(values))) in lexicon.whole:
                return list(values)
            if number > _MOST_CHOICES:
                break
    return [values[0] if values else None for values in said]


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


def _scalars(
    value: Any, levels: tuple[str, ...], level: int | None, strength: int, depth: int
) -> Iterator[tuple[int | None, int, str]]:
    """Yield every text in a nested value with the level whose name it stands under, if any, and how surely it does."""
    if depth > _DEEPEST:
        return
    if isinstance(value, dict):
        if level is not None and value and all(isinstance(inner, bool | int | float) for inner in value.values()):
            # {"brand": {"bulmers": true, "kopparberg": false}}
            value = max(value, key=lambda name: value[name]) if any(value.values()) else None
            yield from _scalars(value, levels, level, strength, depth + 1)
            return
        for name, inner in value.items():
            own, sure = level_of(str(name), levels)
            if own is None:
                own, sure = level, 0 if _ASIDE.search(_snake(str(name))) else strength
            yield from _scalars(inner, levels, own, sure, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _scalars(inner, levels, level, strength, depth + 1)
    elif isinstance(value, str) and value.strip():
        yield level, strength, whole_signs(value.strip())
    elif isinstance(value, int | float) and not isinstance(value, bool) and level is not None and strength:
        yield level, strength, str(value)


@remembered(1 << 12)
def level_of(name: str, levels: tuple[str, ...]) -> tuple[int | None, int]:
    """Return the level that a key names, and how surely: 2 exactly, 1 with more or other letters, 0 beside the point.

    ``brand_confidence`` and the like say something about a level, but do not give its value.
    """
    name = _snake(name)
    letters = squeezed(form_key(name.replace("_", " ")))
    known = [squeezed(form_key(level.replace("_", " "))) for level in levels]
    if letters in known:
        return known.index(letters), 2
    inside = [level for level in known if level and level in letters]
    if inside:
        return known.index(max(inside, key=len)), 0 if _ASIDE.search(name) else 1
    scores = [Indel.normalized_similarity(letters, level) for level in known]
    best = max(range(len(scores)), key=scores.__getitem__)
    return (best, 1) if scores[best] >= 0.8 else (None, 0)


def _snake(name: str) -> str:
    return _CAMEL.sub("_", name).lower()


def joined_in(loose: Sequence[str]) -> str | None:
    """Return the joined label among loose values, or the only value."""
    joined = [value for value in loose if SEPARATOR in value]
    return joined[-1] if joined else loose[0] if len(loose) == 1 else None
