"""The seam behind which every engine lives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar, Protocol

from catalog.messages import Completion, Request


class Engine(Protocol):
    """Answers requests."""

    name: ClassVar[str]
    deterministic: ClassVar[bool]
    """Whether the same requests give the same bytes; the manifest records it."""

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion for each request, in any order, as they come.

        An answer that cannot be had is a completion with an `error`, not an exception.
        """
