"""The form key of a value: what is left of it when case, spacing, Unicode variants, punctuation and plurals are not."""

from __future__ import annotations

import re
import unicodedata

from postprocess.remembered import remembered

_APOSTROPHES = re.compile("['’‘ʼ`´]")
# What becomes of an ASCII sign: letters small, apostrophes nothing, every other sign a space.
_ASCII = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)} | {39: None, 96: None}
_FILLER = frozenset(("and", "und", "et"))


@remembered(1 << 17)
def form_key(value: str) -> str:
    """Return the form key of `value`: two values with the same key differ in form only.

    Compatibility forms are decomposed (NFKD), Latin accents and apostrophes dropped, case folded, every other sign
    read as a space, ``&``, ``+`` and ``and`` left out and plain English plurals made singular, word by word.

    Parameters
    ----------
    value : str
        Any text.

    Returns
    -------
    str
        Words of letters and digits, joined with single spaces. A value without any letter or digit keeps its signs;
        only blank text gives an empty key.
    """
    words = _words(value)
    return " ".join(_kept(words)) or "".join(unicodedata.normalize("NFKD", value).casefold().split())


def letters(value: str) -> str:
    """Return the letters and digits of a text, folded as for a form key, with nothing left out or made singular."""
    return "".join(_words(value))


def letters_and_key(value: str) -> tuple[str, str]:
    """Return the `letters` of a text with a letter or digit, and its form key without spaces."""
    words = _words(value)
    return "".join(words), "".join(_kept(words))


def _kept(words: list[str]) -> list[str]:
    return [singular(word) if word[-1] == "s" else word for word in words if word not in _FILLER] or words


def _words(value: str) -> list[str]:
    if value.isascii():
        return value.translate(_ASCII).split()
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", value).casefold())
    text = _APOSTROPHES.sub("", text)
    # Accents on Latin letters go; the marks of other scripts are part of their letters and stay.
    signs = (
        "" if "\u0300" <= sign <= "\u036f" else sign if sign.isalnum() or unicodedata.category(sign)[0] == "M" else " "
        for sign in text
    )
    return "".join(signs).split()


@remembered(1 << 16)
def singular(word: str) -> str:
    """Return a lower-case English word without its plural ending; a word that does not look plural is unchanged."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if (len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses", "zes"))) or (
        len(word) > 5 and word.endswith("oes")
    ):
        return word[:-2]
    return word[:-1]


def is_same_form(value: str, other: str) -> bool:
    """Tell whether two values differ in form and spaces only."""
    return squeezed(form_key(value)) == squeezed(form_key(other))


_LOOKS = str.maketrans("015823", "olsbze")
_RUNS = re.compile(r"(.)\1+")


@remembered(1 << 17)
def looks(text: str) -> str:
    """Return a squeezed key as a careless eye reads it: digits as letters, ``rn`` as ``m``, repeated letters once."""
    return _RUNS.sub(r"\1", text.translate(_LOOKS).replace("rn", "m").replace("vv", "w"))


def squeezed(key: str) -> str:
    """Return a form key without its spaces, so that ``coca cola`` and ``cocacola`` meet."""
    return key.replace(" ", "")


def whole_signs(text: str) -> str:
    """Return `text` with a ``?`` for each half of a surrogate pair (an emoji that a token limit cut in two).

    JSON can spell such halves, but no file in UTF-8 can hold them.
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
