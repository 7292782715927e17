"""Read lines with level names: ``Module: cider``, ``brand = …``, a Markdown table, tags with the names of levels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from postprocess.forms import form_key, squeezed
from postprocess.lexicon import Lexicon
from postprocess.statements import Statement
from postprocess.wording import affirmed, meant

_MARKS = re.compile(r":|=|->|→|\b[iI][sS]\b")
_EDGES = " \t\r\n|\"'`*,;{}[]()"
_CLOSING = re.compile(r"\s*(?:</[A-Za-z][\w.-]*\s*>|<br\s*/?>)\s*", re.IGNORECASE)
_OPENING = re.compile(r"<([A-Za-z][\w.-]*)(?:\s[^<>]*)?>")
_RULE = re.compile(r"[\s|:+=-]+")


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


def read_lines(text: str, levels: Sequence[str], lexicon: Lexicon) -> list[Statement]:
    """Read ``Supergroup: …``, ``brand = …``, ``"module": …``: what stands between one level's name and the next.

    Returns
    -------
    list of Statement
        In order: a new one begins where a level is named again. None where no level is named.
    """
    # Most answers have none of the marks, which a search for each name would find out far slower.
    if not _MARKS.search(text):
        return []
    names = tuple(levels)
    found = list(_name_pattern(names).finditer(text))
    statements: list[list[str | None]] = []
    for number, match in enumerate(found):
        end = found[number + 1].start() if number + 1 < len(found) else len(text)
        piece = text[match.end() : end]
        # A value ends with its line, or where its quote closes.
        opened = text[match.end() - 1] if match.end() and text[match.end() - 1] in "\"'" else ""
        level = int(str(match.lastgroup)[1:])
        written = _value(piece, opened)
        value = meant(affirmed(written, level, lexicon), level, lexicon, names) if written else None
        if value:
            if not statements or statements[-1][level] is not None:
                statements.append([None] * len(names))
            statements[-1][level] = value
    return [Statement(tuple(values)) for values in statements]


def _value(piece: str, opened: str) -> str:
    if opened == '"' and '"' in piece:
        piece = piece[: piece.index('"')]
    elif opened == "'":
        # An apostrophe inside a value is followed by a letter; a closing quote is not.
        closing = re.search(r"'(?=\s*(?:[,}\])]|$))", piece)
        piece = piece[: closing.start()] if closing else piece
    piece = piece.strip(_EDGES)
    return piece.splitlines()[0].strip(_EDGES) if piece else ""


def as_lines(text: str, levels: Sequence[str]) -> str:
    """Return a text with its tags and its table as lines: ``name: value`` where a level is named, else the value."""
    if "</" in text or "<br" in text:
        text = _OPENING.sub(lambda match: _tag(match[1], levels), _CLOSING.sub("\n", text)).strip()
    if "|" in text and "\n" in text:
        text = _table(text, levels)
    return text


def _tag(name: str, levels: Sequence[str]) -> str:
    return f"\n{name}: " if _level(name, levels) is not None else ""


def _table(text: str, levels: Sequence[str]) -> str:
    lines = [line for line in text.splitlines() if "-" not in line or not _RULE.fullmatch(line)]
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    for number, row in enumerate(rows):
        columns = [_level(cell, levels) for cell in row]
        if sum(column is not None for column in columns) > len(levels) / 2:
            told = [
                f"{levels[column]}: {cell}"
                for below in rows[number + 1 :]
                if len(below) == len(row)
                for column, cell in zip(columns, below, strict=True)
                if column is not None
            ]
            return "\n".join(told) or text
    told = [f"{row[0]}: {row[1]}" if len(row) == 2 and _level(row[0], levels) is not None else "" for row in rows]
    return "\n".join(line or old for line, old in zip(told, lines, strict=True))


def _level(name: str, levels: Sequence[str]) -> int | None:
    return _numbers(tuple(levels)).get(_letters(name))


@lru_cache(maxsize=64)
def _numbers(levels: tuple[str, ...]) -> dict[str, int]:
    """Return the level of each name's letters; of two with the same letters the first."""
    return {_letters(name): number for number, name in reversed(list(enumerate(levels)))}


def _letters(name: str) -> str:
    return squeezed(form_key(name.replace("_", " ")))
