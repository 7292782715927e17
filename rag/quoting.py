"""What the web says of a product, cut to a number of tokens."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.products import Products
from rag.tokens import TokenCounter, estimate_tokens

MOST_TOKENS = 4000
"""More of the web is shown with no product."""
USUAL_TOKENS = 150
"""So much is shown where nobody says how much."""


def quote_within(lines: Sequence[str], tokens: int, count: TokenCounter = estimate_tokens) -> list[str]:
    """Return the first lines that are so many tokens together; of the first that is too much, its beginning.

    Parameters
    ----------
    lines : sequence of str
        Best first.
    tokens : int
        The most.
    count : callable
        Counts the tokens of chat turns; what it counts around an empty one is taken off.
    """

    def length(some: Sequence[str]) -> int:
        return count([{"role": "user", "content": "\n".join(some)}])

    limit = tokens + length([])
    kept: list[str] = []
    for line in lines:
        if length([*kept, line]) <= limit:
            kept.append(line)
            continue
        low, high = 0, len(line)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if length([*kept, line[:middle]]) <= limit else (low, middle - 1)
        beginning = line[:low].rpartition(" ")[0] or line[:low]
        return [*kept, beginning] if beginning else kept
    return kept


def quoted_of(products: Products, row: int, tokens: int, count: TokenCounter = estimate_tokens) -> list[str]:
    """Return what is quoted of the web with a product: nothing is normal."""
    if products.contexts is None or not products.contexts[row]:
        return []
    return quote_within(products.contexts[row], tokens, count)
