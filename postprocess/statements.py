"""What an answer states, one statement after another, and which of it holds where statements contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rapidfuzz.distance import Indel

from catalog.messages import LabelPath
from catalog.schema import SEPARATOR
from postprocess.forms import form_key, squeezed
from postprocess.lexicon import Lexicon

Values = tuple[str | None, ...]
_DENIALS = frozenset(("not", "than"))


class Statement(NamedTuple):
    """One statement of an answer.

    Parameters
    ----------
    values : tuple of (str or None)
        One for each level.
    aside : bool
        Whether it stands among alternatives: then it corrects nothing that was said before.
    """

    values: Values
    aside: bool = False


def combined(statements: Sequence[Statement], lexicon: Lexicon) -> tuple[Values, tuple[str, ...]]:
    """Return the values that hold after all statements, and what was overridden.

    Statements that agree complete each other. Of two that contradict each other the later one holds: a whole label
    replaces what was said, and a part of one corrects the levels that it names. A label that is begun again and not
    finished corrects nothing.
    """
    current: list[str | None] = list(statements[0].values)
    others: list[str] = []
    for values, aside in statements[1:]:
        pairs = list(enumerate(zip(current, values, strict=True)))
        clash = [level for level, (was, now) in pairs if was and now and _differ(was, now, level, lexicon)]
        start = next((level for level, was in enumerate(current) if was), 0)
        if clash and (aside or (all(current) and not all(values) and values[start])):
            others.append(_joined(values))
            continue
        if clash:
            others.append(_joined(current if all(values) else [current[level] for level in clash]))
        current = [now if level in clash else was or now for level, (was, now) in pairs]
    held = squeezed(form_key(_joined(current)))
    left = {squeezed(form_key(other)): other for other in others}
    return tuple(current), tuple(other for key, other in left.items() if key != held)


def _joined(values: Sequence[str | None]) -> str:
    return SEPARATOR.join(value for value in values if value)


def _differ(was: str, now: str, level: int, lexicon: Lexicon) -> bool:
    a, b = squeezed(form_key(was)), squeezed(form_key(now))
    # A value that was said before and is now cut off is no other value.
    return a != b and not (a.startswith(b) and not lexicon.levels[level].find(form_key(now)))


def labels_in(text: str, lexicon: Lexicon) -> list[Statement]:
    """Return the whole valid labels that a text names, in order, whatever stands between their values.

    A label that the text denies (``not …``) does not count, nor one in a line of values that has some too many. What
    follows a ``|`` behind a label was not asked for.
    """
    if len(lexicon.levels) < 2:
        return []
    found: list[Statement] = []
    closed = False
    for line in text.splitlines() if SEPARATOR in text else (text,):
        rows = _rows_in(line, lexicon)
        joints = line.count(SEPARATOR)
        if not rows or (len(rows) == 1 and joints >= len(lexicon.levels)):
            continue
        for row, denied in rows:
            if not denied:
                found.append(Statement(lexicon.paths[row], aside=closed))
                closed = closed or (joints > 0 and "|" in line)
    return found


def _rows_in(text: str, lexicon: Lexicon) -> list[tuple[int, bool]]:
    """Return the rows of the labels that a text names, each with whether the text denies it."""
    words = form_key(text).split(" ")
    rows = []
    place = 0
    while place < len(words):
        end = 0
        if words[place] in lexicon.openings:
            glued = ""
            for after, word in enumerate(words[place : place + lexicon.widest], start=place + 1):
                glued += word
                if len(glued) in lexicon.lengths and glued in lexicon.whole:
                    end, hits = after, lexicon.whole[glued]
        if not end:
            place += 1
            continue
        row = most_alike(hits, text, lexicon)
        if not _runs_on(lexicon.paths[row], words[:place], words[end:], lexicon):
            denied = place > 0 and (words[place - 1] in _DENIALS or words[place - 2 : place] == ["instead", "of"])
            rows.append((row, denied))
        place = end
    return rows


def _runs_on(path: LabelPath, before: Sequence[str], behind: Sequence[str], lexicon: Lexicon) -> bool:
    """Tell whether a label may be part of another one, whose first or last value has more words."""
    first, last = form_key(path[0]), form_key(path[-1])
    return lexicon.levels[-1].goes_on(last, behind) or lexicon.levels[0].goes_on(first, before, backwards=True)


def most_alike(rows: Sequence[int], text: str, lexicon: Lexicon) -> int:
    """Return the row of the path that is written most like `text`, of paths with the same letters."""
    if len(rows) == 1:
        return rows[0]
    folded = text.casefold()
    glued = "".join(folded.split())

    def rank(row: int) -> float:
        written = " ".join(lexicon.paths[row]).casefold()
        spaced = Indel.normalized_similarity(written, folded)
        return 3.0 * Indel.normalized_similarity("".join(written.split()), glued) + spaced

    return max(rows, key=rank)
