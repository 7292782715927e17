"""What every answer of a job may be where its requests name no candidates: a label path, in one of two writings."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal

from catalog.messages import LabelPath
from catalog.schema import SEPARATOR, Policy
from catalog.taxonomy import Taxonomy

Writing = Literal["json", "joined"]
"""``json``: an object with one key a level, in their order. ``joined``: the values with ``__`` between them."""

MOST_VALUES = 100
"""The schema lists a level's values where there are so many at most: each request carries it."""


class Answers:
    """A set of texts, as bytes: each of `starts` followed by each of `ends`.

    Parameters
    ----------
    starts, ends : iterable of str
        At least one of each; a set whose texts have no common ends has one empty start.
    """

    def __init__(self, starts: Iterable[str], ends: Iterable[str]) -> None:
        self._starts = sorted({text.encode() for text in starts})
        self._ends = sorted({text.encode() for text in ends})

    def following(self, written: bytes, most: int) -> tuple[set[bytes], bool]:
        """Return what the texts that begin with `written` go on with, and whether it is a whole one itself.

        Parameters
        ----------
        written : bytes
            The beginning.
        most : int
            Of each continuation so many bytes are returned at most, at least 1.

        Returns
        -------
        set of bytes, bool
            No continuation is empty.
        """
        found: set[bytes] = set()
        whole = False
        for start in self._starts:
            if written.startswith(start):
                rests = _rests(self._ends, written[len(start) :], most)
            elif start.startswith(written):
                head = start[len(written) : len(written) + most]
                more = most - len(head)
                rests = {head + rest for rest in _rests(self._ends, b"", more)} if more else {head}
            else:
                continue
            whole = whole or b"" in rests
            found |= rests
        return found - {b""}, whole

    def __contains__(self, text: object) -> bool:
        """Tell whether a text is one of them."""
        return isinstance(text, str) and self.following(text.encode(), 1)[1]

    def begins(self, written: bytes) -> bool:
        """Tell whether one of the texts begins with these bytes, or is them."""
        further, whole = self.following(written, 1)
        return whole or bool(further)


class AnswerForm:
    """What an answer may be: any valid label path.

    Parameters
    ----------
    taxonomy : Taxonomy
        The label paths.
    policy : {'path', 'brand-free'}
        Which of them are valid; see `Taxonomy.is_valid`.
    writing : {'json', 'joined'}
        How an answer writes a path.

    Attributes
    ----------
    writing : str
        As given.
    answers : Answers
        Every answer.
    """

    def __init__(self, taxonomy: Taxonomy, policy: Policy, writing: Writing) -> None:
        self.writing: Writing = writing
        self._levels = taxonomy.levels
        self._values = [list(dict.fromkeys(values)) for values in zip(*taxonomy.paths, strict=True)]
        if policy == "brand-free" and len(taxonomy.levels) > 1:
            parts = [self._parts(path) for path in taxonomy.paths]
            self._starts = sorted({start for start, _ in parts})
            self._ends = sorted({end for _, end in parts})
        else:
            self._starts, self._ends = [""], sorted(map(self.write, taxonomy.paths))
        self.answers = Answers(self._starts, self._ends)
        self.regex = lru_cache(maxsize=256)(self._regex)

    def write(self, path: LabelPath) -> str:
        """Return the answer that names `path`."""
        if self.writing == "joined":
            return SEPARATOR.join(path)
        return json.dumps(dict(zip(self._levels, path, strict=True)), ensure_ascii=False)

    def _parts(self, path: LabelPath) -> tuple[str, str]:
        """Return the answer in two: up to the brand, and the rest."""
        end = path[-1] if self.writing == "joined" else json.dumps(path[-1], ensure_ascii=False) + "}"
        return self.write(path)[: -len(end)], end

    def _regex(self, beginning: str = "") -> str:
        """Return a regular expression that whole answers match, and nothing else; as `regex`, which remembers it.

        What answers have in common at their beginning is written once: so a grammar engine is through with 12,885 of
        them in a tenth of a second, where alternatives one beside the other take it twice as long.

        Parameters
        ----------
        beginning : str
            Of those answers alone that begin so; there must be one.
        """
        ways = []
        starts = [start for start in self._starts if start.startswith(beginning)]
        if starts:
            ways.append(_alternatives(starts) + _alternatives(self._ends))
        for start in self._starts:
            if beginning.startswith(start) and start != beginning:
                ends = [end for end in self._ends if end.startswith(beginning[len(start) :])]
                ways += [_escaped(start) + _alternatives(ends)] if ends else []
        return ways[0] if len(ways) == 1 else f"({'|'.join(ways)})"

    def json_schema(self) -> dict[str, Any] | None:
        """Return the JSON schema of an answer, with the values of levels that have few; None where it is no JSON.

        It allows values that make no path together: a whole path would take one alternative each.
        """
        if self.writing != "json":
            return None
        kinds: list[dict[str, Any]] = [
            {"type": "string", "enum": values} if len(values) <= MOST_VALUES else {"type": "string"}
            for values in self._values
        ]
        return {
            "type": "object",
            "properties": dict(zip(self._levels, kinds, strict=True)),
            "required": list(self._levels),
            "additionalProperties": False,
        }


def _rests(texts: Sequence[bytes], written: bytes, most: int) -> set[bytes]:
    """Return what follows `written` in the sorted texts that begin with it, cut to `most` bytes; empty for the end."""
    at = len(written)
    found: set[bytes] = set()
    place = bisect_left(texts, written)
    while place < len(texts) and texts[place].startswith(written):
        rest = texts[place][at : at + most]
        found.add(rest)
        if len(rest) < most:
            place += 1
        else:  # all that begin alike stand together: on to the first that does not
            place = _after(texts, written + rest, place)
    return found


def _after(texts: Sequence[bytes], head: bytes, low: int) -> int:
    """Return the first place from `low` on whose text does not begin with `head`."""
    return bisect_left(texts, True, lo=low, key=lambda text: text[: len(head)] > head)


_SPECIAL = re.compile(r"[\\.^$*+?()\[\]{}|/#&~-]")
_BLANK = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\f": r"\f", "\v": r"\v"}


def _escaped(text: str) -> str:
    for sign, shown in _BLANK.items():
        if sign in text:
            return shown.join(map(_escaped, text.split(sign)))
    return _SPECIAL.sub(r"\\\g<0>", text)


def _alternatives(texts: Sequence[str]) -> str:
    """Return a regular expression that matches the texts, which are sorted and each once."""
    if len(texts) == 1:
        return _escaped(texts[0])
    # What the first and the last of sorted texts have in common, all have.
    common = next((at for at, (one, other) in enumerate(zip(texts[0], texts[-1], strict=False)) if one != other), None)
    common = len(texts[0]) if common is None else common
    groups: dict[str, list[str]] = {}
    for text in texts:
        groups.setdefault(text[common : common + 1], []).append(text[common:])
    optional = "?" if groups.pop("", None) else ""
    return _escaped(texts[0][:common]) + "(" + "|".join(map(_alternatives, groups.values())) + ")" + optional
