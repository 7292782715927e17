"""Context: what a web search found of products, cached by description, and joined to them.

What comes from the web is hostile text. It is made plain when it is written into a cache and again when it is read:
one line, of bounded length, without HTML, control characters and the signs that chat templates are made of.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError
from catalog.json_reader import decode_row
from catalog.products import Products, stream_products
from catalog.schema import Schema
from catalog.tables import CSV_SUFFIXES, Row, read_table, table_kind
from catalog.text_lines import byte_lines

MOST_SNIPPETS = 10
"""Snippets of one description, at most: the first so many."""
MOST_TITLE, MOST_URL, MOST_TEXT = 200, 500, 1000
"""Characters of each part of a snippet, at most."""
MOST_QUERY = 400
"""Characters of a description that are searched for, at most."""
MOST_DOLLARS = 1e9
"""What a search may be said to have cost, at most."""

_UNSEEN = re.compile(r"<(script|style)\b[^<>]*>|<!--", re.IGNORECASE)
_UNSEEN_ENDS = {
    "script": re.compile(r"</script\s*>", re.IGNORECASE),
    "style": re.compile(r"</style\s*>", re.IGNORECASE),
    "": re.compile("-->"),
}
_INLINE = re.compile(r"</?(?:b|strong|em|i|u|mark|span|sub|sup)(?:\s[^<>]*)?>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
# Zero-width signs, marks of direction, tags, private use: nobody sees them, a language model does.
_INVISIBLE = re.compile(
    "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\uf8ff\ufff9-\uffff\U000e0000-\U0010ffff]"
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# <|eot_id|>, [INST], {{: what no snippet needs, and a chat template may take for its own.
_SIGNS = str.maketrans({"<": " ", ">": " ", "[": "(", "]": ")", "{": "(", "}": ")"})


def description_key(text: str) -> str:
    """Return the form by which descriptions are compared: NFKC, case folded, one space between words."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def plain(text: str, most: int) -> str:
    """Return text from the web as one line of `most` characters at most, without markup or anything unseen."""
    text = text[: 20 * most]
    for _ in range(2):  # markup is often escaped once more
        text = _TAG.sub(" ", _INLINE.sub("", _seen(text)))
        text = html.unescape(text)
    text = _CONTROL.sub(" ", _INVISIBLE.sub("", text)).translate(_SIGNS)
    return " ".join(text.split())[:most].rstrip()


def _seen(text: str) -> str:
    """Return text without scripts, styles and comments; what is never closed stays, and is looked for once."""
    kept: list[str] = []
    at = start = 0
    ends = dict(_UNSEEN_ENDS)
    while found := _UNSEEN.search(text, at):
        kind = (found[1] or "").lower()
        end = ends[kind].search(text, found.end()) if kind in ends else None
        at = found.end()
        if end is None:
            ends.pop(kind, None)
        else:
            kept.append(text[start : found.start()])
            at = start = end.end()
    return " ".join([*kept, text[start:]])


@dataclass(frozen=True)
class Snippet:
    """One result of a search.

    Attributes
    ----------
    text, title, url : str
        What it says, and where; each may be empty.
    """

    text: str
    title: str = ""
    url: str = ""

    @classmethod
    def of(cls, text: str, title: str = "", url: str = "") -> Snippet:
        """Make one of raw parts."""
        return cls(plain(text, MOST_TEXT), plain(title, MOST_TITLE), plain(url, MOST_URL).replace(" ", ""))

    @property
    def line(self) -> str:
        """Title and text as one line; empty where there are neither."""
        return ": ".join(part for part in (self.title, self.text) if part)

    def to_dict(self) -> dict[str, str]:
        """Return the snippet as an object of a cache's line."""
        return {"title": self.title, "url": self.url, "text": self.text}


@dataclass(frozen=True)
class Entry:
    """What a cache holds of one description: one line of it.

    Attributes
    ----------
    query : str
        The description, as it was searched for.
    snippets : list of Snippet
        Best first; empty where nothing was found.
    provider, date : str
        Who was asked, and when (UTC); empty where it is not known.
    dollars : float or None
        What the search cost; None where it is not known.
    error : str
        Why there is no answer; empty where there is one.
    """

    query: str
    snippets: list[Snippet] = field(default_factory=list)
    provider: str = ""
    date: str = ""
    dollars: float | None = None
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as the object of one line."""
        value: dict[str, Any] = {"query": self.query, "snippets": [snippet.to_dict() for snippet in self.snippets]}
        value |= {"provider": self.provider, "date": self.date}
        if self.dollars is not None:
            value["dollars"] = self.dollars
        if self.error:
            value["error"] = self.error
        return value

    @property
    def lines(self) -> tuple[str, ...]:
        """What is shown of it: a line for each snippet that says something, no line twice."""
        return tuple(dict.fromkeys(snippet.line for snippet in self.snippets if snippet.line))

    @property
    def rank(self) -> tuple[bool, str, tuple[str, ...]]:
        """Orders entries of one description: an answer goes before an error, a later one before an earlier one."""
        return not self.error, self.date, self.lines


def read_entries(path: str | Path) -> Iterator[Entry]:
    """Yield the entries of a cache, one by one.

    Parameters
    ----------
    path : str or Path
        JSON lines as `Entry.to_dict` writes them; or a table (CSV, Parquet, or JSON lines) with the columns
        ``description`` and ``snippet``, whose rows with the same description are put together. Of JSON lines the last
        may be torn: a killed process left it.

    Raises
    ------
    ShelfmarkError
        When the file is missing, or a line is none of these.
    """
    path = Path(path)
    if not path.is_file():
        raise ShelfmarkError(f"--context {path}: no such file; classify context makes one")
    if table_kind(path) in CSV_SUFFIXES or path.suffix != ".jsonl":
        yield from _table_entries(path)
        return
    loose: dict[str, list[Snippet]] = {}
    for number, line in byte_lines(path):
        if not line.strip():
            continue
        try:
            # What is no UTF-8 or half a surrogate pair in a snippet is made plain with the rest of it.
            value = decode_row(line.decode("utf-8", "replace").strip())
        except ValueError as error:
            if not line.endswith(b"\n"):
                break
            what = error.msg if isinstance(error, json.JSONDecodeError) else error
            raise ShelfmarkError(f"{path}, line {number}: no JSON ({what}); delete the line") from None
        where = f"{path}, line {number}"
        if isinstance(value, dict) and "snippet" in value and "snippets" not in value:
            query, text = _query(value, "description", where), _text(value, "snippet", where)
            loose.setdefault(query, []).append(Snippet.of(text))
        else:
            yield _entry(value, where)
    for query, snippets in loose.items():
        yield Entry(query, snippets[:MOST_SNIPPETS])


def _table_entries(path: Path) -> Iterator[Entry]:
    found: dict[str, list[Snippet]] = {}
    for row in read_table(path, required=("description", "snippet"), others=False):
        found.setdefault(row.text("description"), []).append(Snippet.of(row.text("snippet")))
    for query, snippets in found.items():
        yield Entry(query, snippets[:MOST_SNIPPETS])


def _entry(value: Any, where: str) -> Entry:
    if not isinstance(value, dict) or not isinstance(value.get("snippets"), list):
        raise ShelfmarkError(
            f'{where}: not {{"query": "...", "snippets": [...]}}, nor {{"description": "...", "snippet": "..."}}'
        )
    snippets = []
    for snippet in value["snippets"][:MOST_SNIPPETS]:
        if not isinstance(snippet, dict):
            raise ShelfmarkError(f'{where}: a snippet is an object: {{"title": "...", "url": "...", "text": "..."}}')
        snippets.append(Snippet.of(*(_text(snippet, name, where, "") for name in ("text", "title", "url"))))
    return Entry(
        _query(value, "query", where),
        snippets,
        provider=_text(value, "provider", where, ""),
        date=_text(value, "date", where, ""),
        dollars=_dollars(value, where),
        error=_text(value, "error", where, ""),
    )


def _query(value: dict[str, Any], name: str, where: str) -> str:
    file, _, place = where.rpartition(", ")
    return Row(file, place, {name: _text(value, name, where)}).text(name)


def _dollars(value: dict[str, Any], where: str) -> float | None:
    dollars = value.get("dollars")
    if dollars is None:
        return None
    if isinstance(dollars, bool) or not isinstance(dollars, int | float) or not 0 <= dollars < MOST_DOLLARS:
        raise ShelfmarkError(f"{where}: 'dollars' is no price of a search")
    return float(dollars)


def _text(value: dict[str, Any], name: str, where: str, missing: str | None = None) -> str:
    text = value.get(name, missing)
    if text is None and missing is not None:
        return missing
    if not isinstance(text, str):
        raise ShelfmarkError(f"{where}: '{name}' is {'missing' if text is None else 'no text'}")
    return text


class Context:
    """What is known of descriptions.

    Parameters
    ----------
    found : dict of str to tuple of str
        Lines, best first, by the key of the description.
    key : callable
        Makes the key of a description.
    """

    def __init__(self, found: dict[str, tuple[str, ...]], key: Callable[[str], str] = description_key) -> None:
        self._found, self._key = found, key

    @classmethod
    def read(
        cls,
        path: str | Path,
        wanted: Collection[str] | None = None,
        key: Callable[[str], str] = description_key,
    ) -> Context:
        """Read a cache.

        Of several entries with one key the one of the highest `Entry.rank` counts, so that their order does not matter.

        Parameters
        ----------
        path : str or Path
            The file.
        wanted : collection of str, optional
            Descriptions; others are passed over, and take no memory. By default all are read.
        key : callable
            By what descriptions are compared.

        Raises
        ------
        ShelfmarkError
            As `read_entries`.
        """
        keys = None if wanted is None else set(map(key, wanted))
        best: dict[str, tuple[bool, str, tuple[str, ...]]] = {}
        for entry in read_entries(path):
            name = key(entry.query)
            if keys is None or name in keys:
                best[name] = max(best.get(name, entry.rank), entry.rank)
        return cls({name: lines for name, (_, _, lines) in best.items() if lines}, key)

    def of(self, text: str) -> tuple[str, ...]:
        """Return the lines that are known of a description; none is normal."""
        return self._found.get(self._key(text), ())

    def join(self, products: Products) -> Products:
        """Return the products with what is known of each."""
        return replace(products, contexts=[self.of(text) for text in products.texts])


def stream_joined(
    path: str | Path, schema: Schema, cache: str | Path | None, *, chunk_rows: int = 4096, limit: int | None = None
) -> Iterator[Products]:
    """Yield the products of a file in blocks, each with what a cache knows of it; None is no cache.

    Raises
    ------
    ShelfmarkError
        As `stream_products` and `read_entries`.
    """

    def blocks() -> Iterator[Products]:
        return stream_products(path, schema, chunk_rows=chunk_rows, limit=limit)

    if cache is None:
        yield from blocks()
        return
    known = Context.read(cache, {text for block in blocks() for text in block.texts})
    yield from map(known.join, blocks())


def join_context(products: Products, path: str | Path) -> Products:
    """Return the products with what a cache knows of each; of the cache no more is held.

    Raises
    ------
    ShelfmarkError
        As `read_entries`.
    """
    return Context.read(path, products.texts).join(products)
