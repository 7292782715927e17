"""What was billed."""

from collections import Counter
from typing import NamedTuple


class Bill(NamedTuple):
    """One row of a batch, one chat request, or one fine-tuning job."""

    org: str
    kind: str  # batch, chat or training
    object_id: str
    custom_id: str | None
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    trained_tokens: int = 0


class Ledger(list[Bill]):
    """All bills, in order: one each time that something was processed."""

    def billed(self) -> dict[str, dict[str, int]]:
        """Return the totals by kind."""
        totals: dict[str, Counter[str]] = {kind: Counter() for kind in ("batch", "chat", "training")}
        for bill in list(self):
            totals[bill.kind].update(
                bills=1,
                prompt_tokens=bill.prompt_tokens,
                completion_tokens=bill.completion_tokens,
                trained_tokens=bill.trained_tokens,
            )
        names = ("bills", "prompt_tokens", "completion_tokens", "trained_tokens")
        return {kind: {name: total[name] for name in names} for kind, total in totals.items()}

    def processed(self) -> Counter[str]:
        """Return how often the row of a batch with each custom_id was processed successfully."""
        return Counter(bill.custom_id for bill in list(self) if bill.custom_id is not None)

    def times(self) -> dict[int, int]:
        """Return how many rows were processed how often."""
        return dict(sorted(Counter(self.processed().values()).items()))
