"""What a chat request shows of the neighbours, read back from its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEADING, ARROW, BAR = "Similar products and their labels:\n", " -> ", " | "


@dataclass(frozen=True)
class Near:
    """A similar labelled product, as a request shows it.

    Attributes
    ----------
    shown : str
        Its text, and where they are known its retailer and price.
    label : str
        Its joined label.
    """

    shown: str
    label: str

    @property
    def text(self) -> str:
        """Its text alone."""
        return self.shown.partition(BAR)[0]


def neighbours_shown(messages: Sequence[dict[str, str]]) -> list[Near]:
    """Return the neighbours that a request of the default template shows, nearest first.

    Parameters
    ----------
    messages : sequence of dict
        The chat turns.

    Returns
    -------
    list of Near
        Empty where the request shows none, or is of another template.
    """
    for turn in messages:
        if turn["role"] == "user" and turn["content"].startswith(HEADING):
            listed = turn["content"][len(HEADING) :].partition("\n\n")[0].split("\n")
            parts = (line.removeprefix("- ").rpartition(ARROW) for line in listed)
            return [Near(shown, label) for shown, arrow, label in parts if arrow]
    return []
