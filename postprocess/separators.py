"""Split a joined label at whatever stands between its values."""

from __future__ import annotations

import re

from catalog.schema import SEPARATOR
from postprocess.forms import form_key
from postprocess.lexicon import Lexicon

# In order of precedence: where two splits are equally good, the sign that is rarer inside values wins.
_SEPARATORS = tuple(
    re.compile(pattern)
    for pattern in (
        r"_{2,}", r"\s*(?:(?<!-)-+>|(?<!=)=+>|→|»|›|::)\s*", r"\s*>\s*", r"\t+", r"\s*[\r\n]+\s*", r"\s*\|\s*",
        r"\s*;\s*",
        r"\s+[-–—]+\s+", r"_", r"\s*\\\s*", r"\s+/\s+", r"\s*/\s*", r"\s*:\s*", r",\s*", r"\s{2,}", r"\.\s+",
    )
)  # fmt: skip
_TALK = re.compile(r"[:.!?\"\n]")
_EDGES = " \t\r\n|\"'`*,;"


def split_label(text: str, lexicon: Lexicon) -> tuple[str, ...]:
    """Return the values of a joined label, in order; the whole text as one value where nothing separates.

    Of all separators that occur, the one whose parts are best known to the taxonomy is taken; then the one that gives
    as many parts as there are levels.
    """
    wanted = len(lexicon.levels)
    if SEPARATOR in text:
        return _trimmed(_label_line(text).split(SEPARATOR), lexicon)
    best: tuple[str, ...] = (text,)
    by = _SEPARATORS[0]
    best_rank = (_known(best, lexicon), 0)
    for separator in _SEPARATORS:
        parts = tuple(part for part in (part.strip(_EDGES) for part in separator.split(text)) if part)
        if len(parts) < 2:
            continue
        rank = (_known(parts, lexicon), int(len(parts) == wanted))
        if rank > best_rank or (len(best) == 1 and rank[0] == 0 and len(parts) <= wanted):
            best, best_rank, by = parts, rank, separator
    return _merged(text, by, lexicon) if len(best) > wanted else best


def _label_line(text: str) -> str:
    """Return the first line of `text` with the most separators, up to a ``|`` behind its last level."""
    if "\n" in text:
        text = max(text.splitlines(), key=lambda line: line.count(SEPARATOR))
    return text.strip(_EDGES)


def _known(parts: tuple[str, ...], lexicon: Lexicon) -> int:
    return sum(lexicon.is_known(form_key(part)) for part in parts)


def _merged(text: str, separator: re.Pattern[str], lexicon: Lexicon) -> tuple[str, ...]:
    """Join neighbouring parts again that are one known value together: ``pizza`` and ``pasta`` of ``pizza/pasta``."""
    ends = [(match.start(), match.end()) for match in separator.finditer(text)]
    starts = [0, *(end for _, end in ends)]
    stops = [*(start for start, _ in ends), len(text)]
    merged: list[str] = []
    first = 0
    while first < len(starts):
        for last in range(min(len(starts), first + 4) - 1, first - 1, -1):
            part = text[starts[first] : stops[last]].strip(_EDGES)
            if last == first or lexicon.is_known(form_key(part)):
                if part:
                    merged.append(part)
                first = last + 1
                break
    return tuple(merged)


def _trimmed(parts: list[str], lexicon: Lexicon) -> tuple[str, ...]:
    """Cut talk before the first value and behind the last, where what remains is a known value."""
    wanted = len(lexicon.levels)
    if len(parts) >= wanted:
        # A label ends at a '|' or where it is repeated, unless the last value has that sign itself.
        last = parts[wanted - 1].strip(_EDGES)
        head, *rest = [last] if last in lexicon.levels[-1].ids else re.split(r"[|\r\n]", last, maxsplit=1)
        parts = [*parts[: wanted - 1], head, *([] if rest else parts[wanted:])]
    parts = [part.strip(_EDGES) for part in parts]
    first, last = parts[0], parts[-1]
    if _TALK.search(first) and not _is_value(first, lexicon):
        cut = re.split(r"[:\"\n]", first)[-1].strip(_EDGES)
        parts[0] = _longest_known(first.split(), lexicon, from_end=True) or cut
    if _TALK.search(last) and not _is_value(last, lexicon):
        cut = re.split(r"[\"\n]", last)[0].strip(_EDGES)
        parts[-1] = _longest_known(last.split(), lexicon, from_end=False) or cut
    return tuple(parts)


def _is_value(part: str, lexicon: Lexicon) -> bool:
    return lexicon.is_known(form_key(part))


def _longest_known(words: list[str], lexicon: Lexicon, *, from_end: bool) -> str | None:
    for size in range(min(len(words), lexicon.longest + 2), 0, -1):
        part = " ".join(words[-size:] if from_end else words[:size])
        if lexicon.is_known(form_key(part)):
            return part.strip(_EDGES + ".!?()[]")
    return None
