"""How a shop's till writes a product: its own way of shortening words, its own line width, its own omissions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from catalog.mixing import stable_hash

_NOT_WORDS = re.compile(r"[^\w\s]|_")
_VOWELS = re.compile(r"(?<=\w)[aeiou]")
_DOUBLED = re.compile(r"(\w)\1")
# What a hurried hand or a scanner makes of a letter.
_LOOKALIKES = {
    "a": "o",
    "b": "h",
    "c": "e",
    "e": "c",
    "i": "l",
    "l": "i",
    "m": "n",
    "n": "m",
    "o": "0",
    "s": "z",
    "u": "v",
}


@dataclass(frozen=True)
class HouseStyle:
    """How one shop writes.

    Parameters
    ----------
    words : str
        How it shortens a word: ``vowels`` (dropped after the first letter), ``cut`` (after `keep` letters), ``both``,
        or ``full`` (not at all, while the line has room).
    keep : int
        Letters that ``cut`` and ``both`` keep.
    brand : str
        How it writes a brand: ``full``, ``cut`` or ``initials``.
    code : str
        How it writes its own brands; an empty string for not at all.
    named : float
        The part of other brands' products on whose line the brand stands.
    sizes : str
        Where the pack size stands: ``first``, ``last`` or ``none``.
    width : int
        The most characters of a line.
    caps : bool
        Whether it prints in capitals.
    """

    words: str
    keep: int
    brand: str
    code: str
    named: float
    sizes: str
    width: int
    caps: bool = False


def plain_words(text: str) -> list[str]:
    """Return the words of `text` in lower case, without punctuation: ``1.5 l`` gives ``15`` and ``l``, as on a till."""
    return _NOT_WORDS.sub("", text.casefold()).split()


def shorten(word: str, way: str, keep: int) -> str:
    """Return `word` shortened in the given way (see `HouseStyle`). Numbers and very short words stay as they are."""
    if len(word) <= 3 or way == "full" or not word.isalpha():
        return word
    if way != "cut":
        word = _DOUBLED.sub(r"\1", _VOWELS.sub("", word))
    return word if way == "vowels" else word[:keep]


def mistype(text: str, place: float) -> str:
    """Return `text` with one slip: a letter left out, two swapped, or one taken for another.

    Parameters
    ----------
    text : str
        At least 3 characters are needed for a slip.
    place : float
        Which slip, and where: a number in [0, 1).
    """
    if len(text) < 3:
        return text
    slip, at = divmod(int(place * 3 * (len(text) - 1)), len(text) - 1)
    wrong = ("", text[at + 1] + text[at], _LOOKALIKES.get(text[at], text[at]))[slip]
    slipped = text[:at] + wrong + text[at + (2 if slip == 1 else 1) :]
    return " ".join(slipped.split())


class Till:
    """Writes the products of one shop. The same product is always written the same way.

    Parameters
    ----------
    style : HouseStyle
        How the shop writes.
    key : int
        Decides which words the shop shortens.
    """

    def __init__(self, style: HouseStyle, key: int) -> None:
        self.style = style
        self.key = key
        self._words: dict[str, tuple[str, str]] = {}
        self._brands: dict[str, tuple[str, str]] = {}
        self._sizes: dict[str, str] = {}
        self._named = int(style.named * 256)
        self._spaced = stable_hash(key, "size") % 2 == 0

    def write(self, brand: str, own: bool, kind: str, noun: str, size: str, choice: int) -> str:
        """Return the line of a product.

        Parameters
        ----------
        brand : str
            The brand as it may be printed; an empty string for never.
        own : bool
            Whether it is the shop's own brand, which is written as the shop's code or not at all.
        kind, noun, size : str
            What it is; `kind` and `size` may be empty.
        choice : int
            64 bits that decide what is left out; the same for the same product.
        """
        style = self.style
        parts: list[tuple[str, str]] = []
        if own:
            if style.code and choice & 255 < 200:
                parts.append((style.code, style.code))
        elif brand and choice & 255 < self._named:
            parts.append(self._brand(brand))
        what = [self._phrase(noun)]
        if kind and (choice >> 8) & 255 < 190:
            what.insert((choice >> 16) & 255 < 60, self._phrase(kind))
        parts += what
        if size and (choice >> 24) & 255 < (30 if style.sizes == "none" else 170):
            written = self._size(size)
            parts.insert(0 if style.sizes == "first" else len(parts), (written, written))
        text = " ".join([part[0] for part in parts])
        # A line that does not fit, and now and then one that would, is shortened throughout before it is cut.
        if len(text) > style.width or (choice >> 32) & 255 < 50:
            text = " ".join([part[1] for part in parts])
        text = text[: style.width].rstrip()
        return text.upper() if style.caps else text

    def _phrase(self, phrase: str) -> tuple[str, str]:
        found = self._words.get(phrase)
        if found is None:
            way, keep = self.style.words, self.style.keep
            words = plain_words(phrase) or [phrase]
            usual = [shorten(word, way, keep) if stable_hash(self.key, word) % 8 < 4 else word for word in words]
            tight = [shorten(word, "both" if way != "cut" else "cut", min(keep, 4)) for word in words]
            found = self._words[phrase] = (" ".join(usual), " ".join(tight))
        return found

    def _brand(self, brand: str) -> tuple[str, str]:
        found = self._brands.get(brand)
        if found is None:
            words = plain_words(brand) or [brand]
            cut = " ".join(shorten(word, "cut", 4) for word in words)
            initials = "".join(word[0] for word in words) if len(words) > 1 else words[0][:3]
            full = " ".join(words)
            # Of a brand and its line (`larkmoor organic`) many tills print the brand alone.
            if len(words) > 1 and stable_hash(self.key, brand) % 8 < 3:
                full, cut = words[0], shorten(words[0], "cut", 4)
            forms = {"full": (full, cut), "cut": (cut, initials), "initials": (initials, initials)}
            found = self._brands[brand] = forms[self.style.brand]
        return found

    def _size(self, size: str) -> str:
        found = self._sizes.get(size)
        if found is None:
            found = self._sizes[size] = (" " if self._spaced else "").join(plain_words(size))
        return found
