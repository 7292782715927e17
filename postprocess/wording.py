"""Answers in words: lines with level names, refusals, and known values inside talk."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from postprocess.forms import form_key
from postprocess.lexicon import Lexicon

_REFUSALS = re.compile(
    r"\b(?:sorry|apologi[sz]e|cannot|can ?not|can't|couldn't|could not|unable|don't know|do not know|not sure|unsure|"
    r"as an ai|language model|no (?:suitable |valid |matching |such )?(?:match|label|category|answer|information)|"
    r"not enough|insufficient|impossible|uncertain|unclear|refuse|need more|more (?:information|context|details)|"
    r"please provide|none of (?:the|these|those)|does not match|doesn't match)\b|"
    r"^\W*(?:none|null|nil|n/?a|nan|unknown|undefined|not applicable|not available|other|error|no|\?+)\W*$",
    re.IGNORECASE,
)
_MARKS = (":", "=", "->", "→", "is", "Is", "iS", "IS")
_EDGES = " \t\r\n|\"'`*,;{}[]()"


def is_refusal(text: str, lexicon: Lexicon) -> bool:
    """Tell whether an answer declines to answer and names no value of more than one word either."""
    if not _REFUSALS.search(text.replace("’", "'")):
        return False
    # 'unknown' and the like occur inside real values: an answer that names such a value is one.
    return not any(key.count(" ") for key, _ in mentions(text, lexicon)) and not lexicon.is_known(form_key(text))


@lru_cache(maxsize=64)
def _name_pattern(levels: tuple[str, ...]) -> re.Pattern[str]:
    def spelled(level: str) -> str:
        words = re.split(r"[\s_-]+", level)
        # 'supergroup' is also written 'super group', 'super-group' and 'super_group'.
        name = r"[\s_-]*".join(map(re.escape, words))
        return re.sub(r"^super", r"super[\\s_-]*", name)

    names = "|".join(f"(?P<L{number}>{spelled(level)})" for number, level in enumerate(levels))
    mark = r"[\"'`*\s]*(?::|=>?|->|→|(?-i:\b[iI][sS]\b))[\"'`*\s:]*"
    return re.compile(rf"(?<![^\W_])(?:{names})(?:[\s_-]?(?:name|value|label))?{mark}", re.IGNORECASE)


def read_lines(text: str, levels: Sequence[str]) -> tuple[str | None, ...] | None:
    """Read ``Supergroup: …``, ``brand = …``, ``"module": …``: what stands between one level's name and the next.

    Returns
    -------
    tuple of (str or None), or None
        One value for each level, the first where a level is named twice; None where no level is named.
    """
    # Most answers have none of the marks, which a search for each name would find out far slower.
    found = list(_name_pattern(tuple(levels)).finditer(text)) if any(mark in text for mark in _MARKS) else []
    if not found:
        return None
    values: list[str | None] = [None] * len(levels)
    for number, match in enumerate(found):
        end = found[number + 1].start() if number + 1 < len(found) else len(text)
        piece = text[match.end() : end]
        # A value ends with its line, or where its quote closes.
        opened = text[match.end() - 1] if match.end() and text[match.end() - 1] in "\"'" else ""
        value = _value(piece, opened)
        level = int(str(match.lastgroup)[1:])
        if value and values[level] is None:
            values[level] = value
    return tuple(values) if any(values) else None


def _value(piece: str, opened: str) -> str:
    if opened == '"' and '"' in piece:
        piece = piece[: piece.index('"')]
    elif opened == "'":
        # An apostrophe inside a value is followed by a letter; a closing quote is not.
        closing = re.search(r"'(?=\s*(?:[,}\])]|$))", piece)
        piece = piece[: closing.start()] if closing else piece
    piece = piece.strip(_EDGES)
    return piece.splitlines()[0].strip(_EDGES) if piece else ""


def mentions(text: str, lexicon: Lexicon) -> Iterator[tuple[str, int]]:
    """Yield the known values that a text names, longest first from each word on: form key and place in words."""
    words = form_key(text).split(" ")
    place = 0
    while place < len(words):
        for size in range(min(lexicon.longest, len(words) - place), 0, -1):
            key = " ".join(words[place : place + size])
            if lexicon.is_known(key):
                yield key, place
                place += size
                break
        else:
            place += 1
