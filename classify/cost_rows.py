"""What answers cost, as rows of a run's table: expected, at most, and what it came to."""

from __future__ import annotations

from typing import Any, Protocol

_COUNTS = {
    "resent": "asked again, that batches ended without",
    "lost": "lost by the provider, of which no line came",
    "cut": "answers cut, at the most tokens",
    "refused": "refused",
    "repeated": "lines given twice",
    "unknown": "lines about no request of this run",
    "damaged": "lines damaged",
}


class Lines(Protocol):
    """What takes lines of two cells: a table of the terminal, a list for a page."""

    def add_row(self, *cells: Any) -> None:
        """Take a line."""


def dollars(value: float | None) -> str:
    """Return an amount for people; of one that is not known it says so."""
    return "unknown" if value is None else f"${value:,.4f}"


def add_costs(table: Lines, manifest: dict[str, Any]) -> None:
    """Say what answers cost: by the hour, or by tokens; and of batches what became of them.

    Parameters
    ----------
    table : Lines
        Takes them.
    manifest : dict
        Of a run that has asked.
    """
    asking = manifest["asking"]
    if "batches" in asking:
        told = ", ".join(f"{count:,} {status}" for status, count in asking["batches"].items())
        table.add_row("batches", told)
        for name, shown in _COUNTS.items():
            if asking.get(name):
                table.add_row(f"  {shown}", f"{asking[name]:,}")
        read, written = asking.get("billed_tokens") or (0, 0)
        table.add_row("tokens billed, read and written", f"{read:,} and {written:,}")
    estimate = asking.get("estimate")
    if estimate:
        by = f" (tokens {asking['tokens_by']})" if "tokens_by" in asking else ""
        table.add_row("cost, expected", f"{dollars(estimate[0])}, at most {dollars(estimate[1])}{by}")
    if "cost" not in asking:
        return
    if manifest["gpu_price"] is not None:
        table.add_row("cost", f"{dollars(asking['cost'])} at ${manifest['gpu_price']:g} an hour")
        return
    unsure, more = asking.get("unsure"), ""
    if unsure:
        more = f" ({unsure:,} tries brought no answer, and may be billed, too)"
        more = f" (of {unsure:,} requests the most, for nobody tells)" if "batches" in asking else more
    if asking.get("uncounted") and "batches" not in asking:
        more += f" (of {asking['uncounted']:,} answers the most, for nobody tells)"
    why = "" if asking["cost"] is not None else " price: --prices gives one"
    table.add_row("cost", f"{dollars(asking['cost'])}{why}{more}")
    if "paid_before" in asking:
        table.add_row("cost of answers that were deleted", f"{dollars(asking['paid_before'])} at most")
