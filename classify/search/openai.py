"""openai: a model that searches the web before it answers, over an OpenAI-compatible API; its answer is the snippet."""

from __future__ import annotations

from typing import Any, ClassVar

from catalog.context import Snippet
from catalog.errors import ShelfmarkError
from catalog.messages import Request
from classify.costs import load_prices
from classify.engines import chat
from classify.engines.connection import OPENAI_KEY, Connection, TroubleError
from classify.provider.client import provider_url
from classify.search.base import LONGEST_ANSWER, RefusedSearchError, SearchOptions, text_of
from classify.token_counts import token_counts

SYSTEM = (
    "Search the web for a product that a shop's receipt describes in a few words, abbreviated and cut. Say in two "
    "short sentences what it is: its brand, what kind of product, on which shelf. If nothing fits, say so."
)


class OpenaiSearch:
    """A model that searches.

    Only the model's name, the messages and the most tokens are sent: that it searches is a property of the model.
    """

    name: ClassVar[str] = "openai"

    def __init__(self, options: SearchOptions) -> None:
        if not options.llm:
            raise ShelfmarkError("--search openai: say with --llm which model searches; gpt-4o-mini, say, does not")
        self.options, self.key_name = options, OPENAI_KEY
        self.label = f"{self.name} {options.llm}"
        self._price, self._counts = load_prices(options.prices or None).of(options.llm), token_counts(options.llm)
        self.connection = Connection(provider_url(options.base_url), options.timeout, longest=LONGEST_ANSWER)
        self._dearest, self._dearest_read = 0.0, 0

    def most(self, query: str) -> float | None:
        """Return the fee and the tokens at most; once a search was dearer than that, as much as the dearest."""
        if self._price is None or self.options.fee is None:
            return None
        _, read = self._counts.prompt(self._messages(query))
        tokens = self._price.dollars(read, self.options.max_tokens, batch=False)
        # Whether pages that the model reads are billed as tokens is the provider's affair: the bill tells.
        return max(self.options.fee + tokens, self._dearest)

    async def search(self, query: str) -> tuple[list[Snippet], float | None]:
        """Ask, and take the answer's text; see `SearchProvider.search`."""
        turns = self._messages(query)
        body = {"model": self.options.llm, "messages": turns, "max_tokens": self.options.max_tokens}
        status, answer = await self.connection.send("POST", "/chat/completions", body)
        if status == 404:
            raise ShelfmarkError(
                self.connection.scrub(f"{self.connection.url}: HTTP 404; check --llm {self.options.llm} and --base-url")
            )
        if status != 200:
            raise RefusedSearchError(self.connection.scrub(f"HTTP {status}: {chat.problem(answer)[1]}"))
        try:
            most = max(self._counts.prompt(turns)[1], self._dearest_read), self.options.max_tokens
            said = chat.read(Request("", turns), answer, "off", most=lambda: most)
        except chat.NoAnswerError as error:
            raise TroubleError(str(error)) from None
        dollars = None
        if self._price is not None and self.options.fee is not None:
            dollars = self.options.fee + self._price.dollars(said.prompt_tokens, said.completion_tokens, batch=False)
            self._dearest = max(self._dearest, dollars)
        if not said.unsure:
            self._dearest_read = max(self._dearest_read, said.prompt_tokens)
        if said.error:
            return [], dollars
        snippet = Snippet.of(self.connection.hide(said.text), url=self.connection.hide(_cited(answer)))
        return [snippet] if snippet.line else [], dollars

    @staticmethod
    def _messages(query: str) -> list[dict[str, str]]:
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": query}]


def _cited(answer: Any) -> str:
    """Return the first address that the answer cites, where it does; empty where not."""
    try:
        notes = answer["choices"][0]["message"].get("annotations") or []
        return next((text_of(note["url_citation"]["url"]) for note in notes), "")
    except (LookupError, TypeError, AttributeError):
        return ""
