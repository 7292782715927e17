"""The sums of the books of a run's batches."""

from __future__ import annotations

from collections import Counter
from typing import Any

from classify.costs import Budget
from classify.engines.ledger import Ledger


def books_report(books: Ledger, budget: Budget) -> dict[str, Any]:
    """Return what there is to tell of a run's batches, as JSON values.

    Returns
    -------
    dict
        ``batches`` by status; ``estimate``, [expected, at most] in dollars, of all that was not asked again, and
        ``cost``, in dollars, both None where the price is not known; ``resent``: rows asked again; and the sums of the
        chunks' counts.
    """
    statuses: Counter[str] = Counter()
    told: Counter[str] = Counter()
    expected = most = 0.0
    for chunk in books:
        statuses.update("turned away" if one.turned_away else one.status or "sent" for one in chunk.sent.values())
        told.update(chunk.counts or {})
        if chunk.again:
            told["resent"] += chunk.rows * (not chunk.dropped)
        elif not chunk.dropped:
            dollars = (0.0, 0.0) if budget.price is None else chunk.load.dollars(budget.price, batch=True)
            expected, most = expected + dollars[0], most + dollars[1]
    known = budget.price is not None
    names = ("resent", "cut", "refused", "lost", "unknown", "repeated", "damaged", "unsure")
    return {
        "batches": dict(sorted(statuses.items())),
        "estimate": [round(expected, 6), round(most, 6)] if known else None,
        "cost": round(budget.dollars(told["read"], told["written"]), 6) if known else None,
        "billed_tokens": [told["read"], told["written"]],
        **{name: told[name] for name in names},
    }
