"""Text from elsewhere, made harmless for where it goes: a line of a prompt, a line of a terminal, a line of JSON."""

from __future__ import annotations

import json
import re
from typing import Any

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Nobody sees them, a language model does: marks of direction, tags that spell words, variation selectors. The two
# joiners and the emoji's selector stay, which Persian, Hindi and emoji are written with.
_UNSEEN = re.compile(
    "[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_HALF_PAIR = re.compile("[\ud800-\udfff]")
# What chat templates part their turns with; a tokenizer reads such a mark in a text as the mark itself.
_NAMES = "s|bos|eos|pad|unk|start_of_turn|end_of_turn|think|tool_call|tool_response|SYS"
_WORDS = "INST|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS|SYSTEM_PROMPT"
_MARK = re.compile(rf"<(?=<?/?(?:[|｜]|(?:{_NAMES})>))|\[(?=/?(?:{_WORDS})\])")
# C0 and C1 controls, DEL, the separators of lines, overrides and isolates of direction, halves of a pair.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def one_line(text: str) -> str:
    """Return a text that goes into a prompt as one line, which begins no turn of a chat.

    Line breaks and control characters become a blank, together with the blanks around them; signs that nobody sees are
    left out; marks that part the turns of a chat get a blank inside. An ordinary text is returned as it is.
    """
    if "<" not in text and "[" not in text and text.isprintable():
        return text
    text = _HALF_PAIR.sub("\N{REPLACEMENT CHARACTER}", _UNSEEN.sub("", text))
    # Not by one expression with the blanks in it, which takes quadratic time where there are many.
    first, *rest = _CONTROLS.split(text)
    if rest:
        inner = [part for part in map(str.strip, rest[:-1]) if part]
        text = " ".join([first.rstrip(), *inner, rest[-1].lstrip()])
    return _MARK.sub(lambda found: f"{found[0]} ", text)


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return a text that a terminal shows and does not obey: ``\x1b`` for the escape, and so on.

    Parameters
    ----------
    text : str
        Whatever is to be printed.
    lines : bool
        Whether it is of several lines: then line feeds stay.
    """
    if text.isprintable():
        return text
    if lines:
        return "\n".join(_UNSAFE.sub(_escaped, line) for line in text.split("\n"))
    return _UNSAFE.sub(_escaped, text)


def json_line(value: Any) -> str:
    """Return a value as JSON that is safe to print and to put into a prompt: one line, which reads back the same."""
    text = json.dumps(value, ensure_ascii=False)
    if "<" not in text and "[" not in text and text.isprintable():
        return text
    # The marks stand inside strings: no bracket of JSON's own is followed by such a word without quotes.
    for signs in (_UNSAFE, _UNSEEN, _MARK):
        text = signs.sub(_json_escaped, text)
    return text


def _escaped(found: re.Match[str]) -> str:
    sign = found[0]
    number = ord(sign)
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a file's name that is no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return _SHORT.get(sign) or (f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}")


def _json_escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\u{number:04x}" if number < 0x10000 else json.dumps(found[0])[1:-1]
