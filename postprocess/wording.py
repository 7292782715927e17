"""What words mean: refusals, placeholders, denials and talk around a value, and the known values that a text names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from postprocess.forms import form_key, squeezed
from postprocess.lexicon import Lexicon
from postprocess.plain import undone
from postprocess.remembered import remembered

_REFUSALS = re.compile(
    r"\b(?:sorry|apologi[sz]e|cannot|can ?not|can't|couldn't|could not|unable|don't know|do not know|not sure|unsure|"
    r"as an ai|language model|no (?:suitable |valid |matching |such )?(?:match|label|category|answer|information)|"
    r"not enough|insufficient|impossible|uncertain|unclear|refuse|need more|more (?:information|context|details)|"
    r"please provide|none of (?:the|these|those)|does not match|doesn't match)\b|"
    # Of signs alone, one of which is '?': without two runs that could share the same signs in many ways.
    r"^\W*(?:none|null|nil|n/?a|nan|unknown|undefined|not applicable|not available|other|error|no)\W*$|"
    r"^[^\w?]*\?\W*$",
    re.IGNORECASE,
)
_CLAUSES = re.compile(r"[.,:;!?()\n]+|\s[-–—]+\s")
_NOTHING = frozenset(
    form_key(word)
    for word in (
        *("unknown", "undefined", "unspecified", "none", "null", "nil", "nan", "na", "n/a", "missing", "empty", "tbd"),
        *("not specified", "not available", "not applicable", "not known", "not given", "not stated"),
        *("string", "value", "text", "label", "…", "...", "-", "--", "?", "??"),
    )
)
_EDGES = " \t\r\n|\"'`*,;"
_WRAPPED = re.compile(r"\[([^\[\]]*)\]|<([^<>]*)>|\{([^{}]*)\}|\(([^()]*)\)", re.DOTALL)
_DENIED = re.compile(r"(?:not|no longer)\b.*?\b(?:but|rather)\s+(.+)", re.IGNORECASE | re.DOTALL)
_INSTEAD = re.compile(r"(?<![\s,(])[\s,(]+(?:not|instead of|rather than)\s", re.IGNORECASE)
_TALK_BEFORE = re.compile(r"[\])>}:!?;]\s+|\n")
_TALK = re.compile(r"\s*[(\[;\n]|[,.:!?]\s|\s[-–—]+\s|\s(?:because|since|as it)\s", re.IGNORECASE)


def without_refusal(text: str, lexicon: Lexicon) -> str:
    """Return a text without the clauses that decline to answer; empty where what is left names nothing known.

    'unknown' and the like occur inside real values: a clause that names a value of several words is kept.
    """
    text = text.replace("’", "'")
    if not _REFUSALS.search(text) or lexicon.is_known(form_key(text)):
        return text
    if _is_telling(text, lexicon):
        clauses = [clause.strip() for clause in _CLAUSES.split(text)]
        kept = [clause for clause in clauses if not _REFUSALS.search(clause) or _is_telling(clause, lexicon)]
        # Signs stand inside values, too: they are lost only where a clause is.
        return text if len(kept) == len(clauses) else ", ".join(filter(None, kept))
    clauses = [clause.strip() for clause in _CLAUSES.split(text) if clause and not _REFUSALS.search(clause)]
    named = [c for c in clauses if lexicon.is_known(form_key(c)) or len(list(mentions(c, lexicon))) > 1]
    return ", ".join(named)


def _is_telling(text: str, lexicon: Lexicon) -> bool:
    return any(key.count(" ") for key, _ in mentions(text, lexicon))


def meant(value: str, level: int, lexicon: Lexicon, names: Sequence[str]) -> str | None:
    """Return the value that a text given for a level means: None for a placeholder, and no talk around a known value.

    What the taxonomy knows is returned as it is, whatever it looks like.
    """
    if lexicon.is_known(form_key(value)) or lexicon.levels[level].find(form_key(value)):
        return value
    if not value.isalnum() and not value.replace(" ", "").isalnum():
        value = _bare(value, level, lexicon, names)
    return None if is_placeholder(value, names[level]) else value


def _bare(value: str, level: int, lexicon: Lexicon, names: Sequence[str]) -> str:
    value = undone(value)
    whole = _WRAPPED.fullmatch(value.strip(_EDGES))
    if whole:
        value = next(filter(None, whole.groups()), "").strip(_EDGES)
    elif value[-1:] in "])>}":
        # 'liquorland[supergroup]' says of which level it is.
        value = re.sub(
            rf"\s*[\[(<{{]\s*(?:{'|'.join(map(re.escape, names))})\s*[\])>}}]$", "", value, flags=re.IGNORECASE
        )
    known = lexicon.levels[level]
    key = form_key(value)
    if known.find(key):
        return value
    head = _TALK.split(value, maxsplit=1)[0].strip(_EDGES)
    if head and head != value and known.find(form_key(head)):
        rest = key.removeprefix(form_key(head)).split()
        return value if known.goes_on(form_key(head), rest) else head
    tail = _TALK_BEFORE.split(value)[-1].strip(_EDGES)
    if tail and tail != value and known.find(form_key(tail)):
        rest = key.removesuffix(form_key(tail)).split()
        return value if known.goes_on(form_key(tail), rest, backwards=True) else tail
    return value


def affirmed(value: str, level: int, lexicon: Lexicon) -> str:
    """Return what ``not X but Y`` or ``Y, not X`` affirms."""
    if lexicon.is_known(form_key(value)):
        return value
    denied = _DENIED.match(value)
    if denied:
        return denied[1].strip(_EDGES)
    head = _INSTEAD.split(value, maxsplit=1)[0].strip(_EDGES)
    return head if head and head != value and lexicon.levels[level].find(form_key(head)) else value


@remembered(1 << 12)
def is_placeholder(value: str, name: str) -> bool:
    """Tell whether a value that is not known only stands for one: ``unknown``, ``N/A``, the level's own name."""
    key = form_key(value)
    own = form_key(name)
    key = re.sub(r"^(?:unknown|no|your|the|insert|any|some) | (?:name|here|value|not specified|unknown)$", "", key)
    return key in _NOTHING or squeezed(key) == squeezed(own) or not any(map(str.isalnum, value))


def mentions(text: str, lexicon: Lexicon) -> Iterator[tuple[str, int]]:
    """Yield the known values that a text names, longest first from each word on: form key and place in words."""
    words = form_key(text).split(" ")
    place = 0
    while place < len(words):
        for size in lexicon.sizes.get(words[place], ()):
            if size > len(words) - place:
                continue
            key = " ".join(words[place : place + size])
            if lexicon.is_known(key):
                yield key, place
                place += size
                break
        else:
            place += 1
