"""generic: any endpoint that answers a search with JSON, as a small TOML file describes it."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Literal
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from catalog.context import MOST_SNIPPETS, Snippet
from catalog.errors import ShelfmarkError, nearest
from catalog.toml_reader import read_toml
from classify.engines.chat import problem
from classify.engines.connection import Connection
from classify.search.base import LONGEST_ANSWER, RefusedSearchError, SearchOptions, text_of

QUERY, KEY, DESCRIPTION = "{query}", "{key}", "{description}"
Names = str | list[str]


class Endpoint(BaseModel):
    """An endpoint.

    Attributes
    ----------
    url : str
        The address; ``{query}`` in it stands for what is searched for, ``{key}`` for the key, both percent-encoded.
    method : {'GET', 'POST'}
        How it is asked.
    body : dict
        What is posted, as JSON; ``{query}`` and ``{key}`` in its texts are filled in.
    headers : dict of str to str
        ``{key}`` in them is filled in.
    key : str
        The environment variable that holds the key; empty where none is needed.
    query : str
        What is searched for: ``{description}`` and whatever helps beside it.
    results : str
        Where in the answer the list of results is: names, joined with dots; empty where the answer is the list.
    title, link, text : str or list of str
        Where in a result they are; of several the first that is there. They are written as `results` is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    method: Literal["GET", "POST"] = "GET"
    body: dict[str, Any] = Field(default={})
    headers: dict[str, str] = Field(default={})
    key: str = ""
    query: str = DESCRIPTION
    results: str = "results"
    title: Names = Field(default=["title", "name"])
    link: Names = Field(default=["url", "link"])
    text: Names = Field(default=["description", "snippet", "content", "text"])


def read_endpoint(search: str) -> Endpoint:
    """Return the endpoint of an address, or of a TOML file.

    Raises
    ------
    ShelfmarkError
        When the file is missing or wrong, or nothing says where the query goes.
    """
    if "://" in search:
        values: dict[str, Any] = {"url": search}
    else:
        values = read_toml(search, "--search")
    shown = search.partition("?")[0]  # a person may have put a key into what follows
    try:
        endpoint = Endpoint(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        hint = nearest(name, Endpoint.model_fields) if first["type"] == "extra_forbidden" else ""
        raise ShelfmarkError(f"--search {shown}: {name}: {first['msg']}{hint}") from None
    try:
        parts, sent = urlsplit(endpoint.url), json.dumps([endpoint.body, endpoint.headers])
    except (ValueError, TypeError):  # square brackets, or a date of TOML's
        raise ShelfmarkError(
            f"--search {shown}: the url is no address, or the body cannot be written as JSON"
        ) from None
    if "@" in parts.netloc:
        raise ShelfmarkError(
            "--search: the url holds a user or a password; leave them out, and name a key in a TOML file"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ShelfmarkError(f"--search {shown}: the url is no address like https://host/search?q={QUERY}")
    if KEY in parts.netloc or QUERY in parts.netloc:
        raise ShelfmarkError(f"--search {shown}: neither {KEY} nor {QUERY} may stand in the name of the host")
    if QUERY not in endpoint.url + json.dumps(endpoint.body):
        raise ShelfmarkError(f"--search {shown}: neither url nor body says with {QUERY} where the description goes")
    if DESCRIPTION not in endpoint.query:
        raise ShelfmarkError(f"--search {shown}: query: it lacks {DESCRIPTION}")
    if endpoint.body and endpoint.method != "POST":
        raise ShelfmarkError(f'--search {shown}: it has a body, so write method = "POST"')
    if not endpoint.key and KEY in endpoint.url + sent:
        raise ShelfmarkError(f'--search {shown}: it uses {KEY}: say with key = "NAME" which environment variable it is')
    return endpoint


class GenericSearch:
    """An endpoint that is described."""

    name: ClassVar[str] = "generic"

    def __init__(self, options: SearchOptions) -> None:
        self.options, self.endpoint = options, read_endpoint(options.search)
        self.key_name = self.endpoint.key
        parts = urlsplit(self.endpoint.url)
        host = f"{parts.scheme}://{parts.netloc}"
        self._path = self.endpoint.url[len(host) :]
        self.label = f"{self.name} {parts.netloc}"
        self.connection = Connection(
            host,
            options.timeout,
            key_name=self.key_name,
            headers=self.endpoint.headers,
            longest=LONGEST_ANSWER,
            address="the url of --search",
        )
        self._understood = False

    def most(self, query: str) -> float | None:
        """Return what a search costs; None where it was not said."""
        del query
        return self.options.fee

    async def search(self, query: str) -> tuple[list[Snippet], float | None]:
        """Ask, and read the results; see `SearchProvider.search`."""
        wanted = self.endpoint.query.replace(DESCRIPTION, query)
        path = self._filled(self._path, quote(wanted, safe=""), quote(self.connection.key, safe=""))
        body = self._filled(self.endpoint.body, wanted, self.connection.key) if self.endpoint.body else None
        status, answer = await self.connection.send(self.endpoint.method, path, body)
        if status != 200:
            raise RefusedSearchError(self.connection.scrub(f"HTTP {status}: {problem(answer)[1]}"))
        found = _at(answer, self.endpoint.results)
        # Some endpoints leave the list out where there is nothing in it.
        if not isinstance(found, list) and not (found is None and self._understood):
            there = ", ".join(map(str, list(answer)[:10])) if isinstance(answer, dict) else type(answer).__name__
            raise RefusedSearchError(
                self.connection.scrub(f"no list of results at '{self.endpoint.results}'; the answer has: {there}")
            )
        self._understood = True
        results = [one for one in found or [] if isinstance(one, dict | str)][:MOST_SNIPPETS]
        snippets = [self._snippet(one) for one in results]
        return [snippet for snippet in snippets if snippet.line], self.options.fee

    def _snippet(self, result: dict[str, Any] | str) -> Snippet:
        if isinstance(result, str):
            return Snippet.of(self.connection.hide(result))
        parts = []
        for names in (self.endpoint.text, self.endpoint.title, self.endpoint.link):
            values = (text_of(_at(result, name)) for name in ([names] if isinstance(names, str) else names))
            parts.append(self.connection.hide(next(filter(None, values), "")))
        return Snippet.of(*parts)

    def _filled(self, value: Any, query: str, key: str) -> Any:
        """Return a part of the request with query and key filled in; neither is looked through for the other."""
        if isinstance(value, dict):
            return {name: self._filled(one, query, key) for name, one in value.items()}
        if isinstance(value, list):
            return [self._filled(one, query, key) for one in value]
        if isinstance(value, str):
            return query.join(part.replace(KEY, key) for part in value.split(QUERY))
        return value


def _at(value: Any, path: str) -> Any:
    """Return what is found in nested objects under names joined with dots; None where nothing is."""
    for name in path.split(".") if path else ():
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
