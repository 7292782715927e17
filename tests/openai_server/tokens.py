"""What a token is here."""

import re
from functools import lru_cache

PIECE = re.compile(r"\s*(?:\w{1,4}|[^\w\s])|\s+")


def pieces(text: str) -> list[str]:
    """Cut a text into tokens: up to four letters or digits, or one sign, with the space before it.

    Together they are the text again.
    """
    return PIECE.findall(text)


@lru_cache(1024)  # most requests begin with the same system message
def count_tokens(text: str) -> int:
    """Return how many tokens a text has."""
    return len(PIECE.findall(text))
