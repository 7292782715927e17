"""The plain text of an answer: without reasoning, control tokens, wrapping and long blanks, and its escapes undone."""

from __future__ import annotations

import html
import re
import unicodedata
from urllib.parse import unquote

from postprocess.forms import whole_signs

LONGEST = 4000
"""So many characters of an answer are read, half of them from its beginning and half from its end."""

WRAPPING = " \t\r\n\v\f|\"'`*\ufeff\u200b\u00a0"
_CONTROL = re.compile(r"<\|[^|>]*\|>|</?s>|\[/?INST\]")
_FENCE = re.compile(r"^```[a-zA-Z]*\s*|\s*```$")
_REASONING = r"[<\[](?P<close>/?)(?:think(?:ing)?|reasoning|thoughts?|analysis|scratchpad|reflection)[>\]]"
_MARKED = re.compile(rf"{_REASONING}|<\|channel\|>final<\|message\|>", re.IGNORECASE)
_BLANKS = re.compile(r"\s{3,}")
_BULLET = re.compile(r"^[ \t]*(?:[-*•+]|\d{1,2}[.):])[ \t]+", re.MULTILINE)
_ENTITY = re.compile(r"&(?:[A-Za-z]{2,8}|#\d{2,6}|#x[0-9A-Fa-f]{2,5});")
_ESCAPE = re.compile(r"\\+(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|([nrt])|([^\w\s]|_))")
_PERCENT = re.compile(r"%[2-7][0-9A-Fa-f]")
_LEAST_AGAIN = 12
_AGAIN = re.compile(rf"(.{{{_LEAST_AGAIN},400}}?)[\s|,;.]*(?:\1[\s|,;.]*)+(.*)", re.DOTALL)


def plain_text(answer: str) -> str:
    """Return an answer without its reasoning and wrapping, long runs of blanks short, and not too long."""
    text = answer
    if "<" in text or "[" in text:
        text = _CONTROL.sub("", _without_reasoning(text))
    text = _BLANKS.sub(_short, text)
    text = _cut(text, LONGEST)
    if not text.isascii() and (spelt := len(unicodedata.normalize("NFKD", text))) > 2 * LONGEST:
        # One sign of Unicode may stand for as many as eighteen letters.
        text = _cut(text, LONGEST * LONGEST // spelt)
    text = text.strip()
    return (_FENCE.sub("", text) if "```" in text else text).strip(WRAPPING)


def undone(text: str) -> str:
    """Return a text without entities (``&amp;``), escapes (``\\u0026``, ``\\n``, ``\\_``) and ``%20``."""
    if "&" in text:
        text = _ENTITY.sub(
            lambda match: html.unescape(match[0]), _ENTITY.sub(lambda match: html.unescape(match[0]), text)
        )
    if "\\" in text:
        text = whole_signs(_ESCAPE.sub(_sign, text))
    if "%" in text and " " not in text and _PERCENT.search(text):
        text = unquote(text)
    return text


def unlisted(text: str) -> str:
    """Return a text without the bullets and numbers of its lines, where at least two have one."""
    if "\n" not in text:
        return text
    bare, count = _BULLET.subn("", text)
    return bare if count > 1 else text


def once(text: str) -> str:
    """Return what a text says over and over again, where it does nothing else."""
    if text.find(text[:_LEAST_AGAIN], _LEAST_AGAIN) < 0:
        return text
    found = _AGAIN.fullmatch(text)
    return found[1].strip(WRAPPING) if found and found[1].startswith(found[2]) else text


def _without_reasoning(text: str) -> str:
    """Return what stands behind the last end of reasoning, or before reasoning without an end: the answer itself."""
    marks = list(_MARKED.finditer(text))
    if not marks:
        return text
    ends = [match for match in marks if match["close"] != ""]
    behind = text[ends[-1].end() :] if ends else text[: marks[0].start()]
    # An answer that is all reasoning is read for what it says there.
    return behind if any(map(str.isalnum, behind)) else _MARKED.sub("\n", text)


def _cut(text: str, longest: int) -> str:
    """Return a text that is too long without its middle."""
    return text if len(text) <= longest else f"{text[: longest // 2]}\n{text[-(longest // 2) :]}"


def _short(match: re.Match[str]) -> str:
    blank = match[0]
    return "\n" if "\n" in blank or "\r" in blank else "\t" if "\t" in blank else "  "


def _sign(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    if code:
        return chr(int(code, 16))
    return "\n" if match[3] else str(match[4])
