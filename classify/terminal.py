"""A terminal that shows what it is given: no value in a table or beside a bar gives it orders."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from catalog.foreign import visible


class Terminal(Console):
    """Rich's console, for which square brackets are no markup and colons no emoji, and control characters are shown.

    Parameters
    ----------
    **how
        As of rich's.
    """

    def __init__(self, **how: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is written; what rich itself orders, to move a bar up a line, passes."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text, lines=True))


def shown(text: str) -> Text:
    """Return a user's text as a cell or a title: it takes the room of what is shown of it."""
    return Text(visible(text, lines=True))
