"""The seam behind which every provider of web searches lives."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, Field

from catalog.context import Snippet
from catalog.errors import ShelfmarkError
from classify.engines.connection import Connection

LONGEST_ANSWER = 4_000_000
"""Bytes of an answer that are read at most."""


class SearchOptions(BaseModel):
    """What a user chooses of a search.

    Attributes
    ----------
    search : str
        Who is asked: a provider's name, a TOML file that describes an endpoint, or an address with ``{query}`` in it.
    price_per_1000 : float or None
        Dollars for a thousand searches, tokens apart; None where it is not known.
    prices : str
        A file of prices of tokens that goes before those that are known.
    llm : str
        The model that searches, where one does.
    base_url : str
        Of an OpenAI-compatible API; empty for what ``OPENAI_BASE_URL`` says, else OpenAI's.
    max_tokens : int
        Tokens of an answer at most, where a model gives it.
    timeout : float
        Seconds that one search may take.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    search: str
    price_per_1000: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    prices: str = ""
    llm: str = ""
    base_url: str = ""
    max_tokens: int = Field(default=200, ge=1, le=4096)
    timeout: float = Field(default=30.0, gt=0, allow_inf_nan=False)

    @property
    def fee(self) -> float | None:
        """Dollars for one search, tokens apart; None where it is not known."""
        return None if self.price_per_1000 is None else self.price_per_1000 / 1000


class RefusedSearchError(Exception):
    """There will be no answer to this one search, however often it is asked for."""


class SearchProvider(Protocol):
    """Searches the web for a description."""

    name: ClassVar[str]
    label: str
    """Who was asked, as the cache says it; no secret is in it."""
    key_name: str
    """The environment variable that holds the key; empty where none is needed."""
    connection: Connection
    """To be opened before the first search, and closed after the last."""

    def __init__(self, options: SearchOptions) -> None: ...

    def most(self, query: str) -> float | None:
        """Return what a search may cost, in dollars at most; None where it is not known."""

    async def search(self, query: str) -> tuple[list[Snippet], float | None]:
        """Return what was found, best first, and what it cost in dollars (None: not known).

        Raises
        ------
        TroubleError
            When it may be found if it is asked for again.
        RefusedSearchError
            When it will not.
        ShelfmarkError
            When no search will be answered.
        """


def check_key(name: str) -> None:
    """Refuse to search without a key where one is needed; nothing of it is told.

    Raises
    ------
    ShelfmarkError
        When the environment variable is not set, or holds what no key does.
    """
    key = os.environ.get(name, "").strip()
    if not key:
        raise ShelfmarkError(f"{name} is not set: put the provider's key there (export {name}=...)")
    if not (key.isascii() and key.isprintable()):
        raise ShelfmarkError(f"{name}: holds signs that no key has; copy it again")


def text_of(value: Any) -> str:
    """Return a field of an answer as text; empty where it is none."""
    return value if isinstance(value, str) else ""
