"""What a chat request shows of the neighbours, read back from its words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from catalog.schema import Schema

HEADING, ITEM, ARROW, BAR = "Similar products and their labels:\n", "\n- ", " -> ", " | "
_END = re.compile(r"\n\n(?=Possible labels:\n|Product: )")
_PRICE = re.compile(r"-?\d+\.\d\d")


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

    def text(self, schema: Schema) -> str:
        """Return its text alone: without the retailer and the price, which come last where the schema has them."""
        text = self.shown
        if schema.price and _PRICE.fullmatch(text.rpartition(BAR)[2]):
            text = text.rpartition(BAR)[0]
        return text.rpartition(BAR)[0] or text if schema.retailer else text


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
            listed = "\n" + _END.split(turn["content"][len(HEADING) :], maxsplit=1)[0]
            found, line = [], ""
            for part in listed.split(ITEM)[1:]:
                line += part
                shown, arrow, label = line.rpartition(ARROW)
                if arrow:
                    found.append(Near(_unquoted(shown), label))
                line = "" if arrow else line + ITEM  # a text of several lines, one of which looks like an item
            return found
    return []


def _unquoted(shown: str) -> str:
    """Return fields without the quotes that some stand in; requests of older runs have none."""
    fields = []
    while shown.startswith('"'):
        try:
            field, end = json.JSONDecoder().raw_decode(shown)
        except ValueError:
            break
        if shown[end:] and not shown.startswith(BAR, end):
            break
        fields.append(field)
        shown = shown[end + len(BAR) :]
        if not shown:
            return BAR.join(fields)
    return BAR.join([*fields, shown])
