"""How many tokens a provider will count: by its own tables where they are at hand, else by an estimate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from rag.tokens import Messages, estimate_tokens

AROUND_TURN, AROUND_ALL = 4, 3
"""Tokens that OpenAI counts around each turn (three and its role), and that open the answer."""

PROMPT_ABOVE, ANSWER_ABOVE = 1.25, 1.95
"""`estimate_tokens` over what GPT-4o's tokenizer (o200k) counts: of product texts with shop and price 1.26 to 1.78
(receipts the least), of joined label paths 1.95 to 2.05 (``benchmarks/tokens.py``, four sets). About the least of each
is taken, so that what is expected still errs on the high side."""


@dataclass(frozen=True)
class TokenCounts:
    """Counts tokens.

    Attributes
    ----------
    by : str
        What counts, for people.
    exact : bool
        Whether they are counted, not estimated.
    """

    by: str
    exact: bool
    _count: Callable[[str], int]

    def prompt(self, messages: Messages) -> tuple[float, int]:
        """Return the tokens of chat turns, with all that is put around them: expected, and at most."""
        around = AROUND_TURN * len(messages) + AROUND_ALL
        most = sum(self._count(turn["content"]) for turn in messages)
        return around + (most if self.exact else most / PROMPT_ABOVE), around + most

    def answer(self, text: str) -> tuple[float, int]:
        """Return the tokens of an answer and of its end: expected, and at most."""
        most = self._count(text)
        return 1 + (most if self.exact else most / ANSWER_ABOVE), 1 + most

    def example(self, messages: Messages) -> tuple[float, int]:
        """Return the tokens of chat turns to learn from, the last of which is the answer: expected, and at most."""
        asked, answer = self.prompt(messages[:-1]), self.answer(messages[-1]["content"])
        return asked[0] + answer[0], asked[1] + answer[1]


def token_counts(model: str) -> TokenCounts:
    """Return what counts the tokens of a model: tiktoken, where its tables are on this machine. Nothing is downloaded.

    Parameters
    ----------
    model : str
        A provider's name for it; of a tuned one the base counts (`base_of`).
    """
    tables = _tables(base_of(model))
    if tables is None:
        return TokenCounts("estimated", False, _estimate)
    return TokenCounts(f"tiktoken {tables.name}", True, lambda text: len(tables.encode_ordinary(text)))


def base_of(model: str) -> str:
    """Return the model that a tuned one, ``ft:BASE:...``, was tuned from; another is its own."""
    return model.split(":")[1] if model.startswith("ft:") else model


def _estimate(text: str) -> int:
    return estimate_tokens([{"content": text}]) - estimate_tokens([{"content": ""}])


def _tables(model: str) -> Any:
    """Return tiktoken's encoding of a model, if it is in tiktoken's cache; else None."""
    if find_spec("tiktoken") is None:
        return None
    import tiktoken.load

    def missing(path: str) -> bytes:
        raise FileNotFoundError(path)

    # What its cache lacks it would fetch, and where there is no network wait for minutes.
    fetch, tiktoken.load.read_file = tiktoken.load.read_file, missing
    try:
        return tiktoken.encoding_for_model(model)
    except (KeyError, OSError):
        return None
    finally:
        tiktoken.load.read_file = fetch
