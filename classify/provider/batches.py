"""Batches at a provider: made once, found again, followed, taken in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.errors import ShelfmarkError
from catalog.files import atomic_write
from classify.engines.batch_files import URL
from classify.provider.client import OutageError, Provider, RefusedError
from classify.provider.seen import Seen, made_id, seen, shown_id

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import Batch, FileObject

LOOKS = 5
"""How often a batch is looked for whose making nobody heard the end of, before it is made again: listings lag."""
LOOK_SECONDS = 2.0
"""The first wait between two looks; doubled each time."""
LATE = 12
"""How often what should be there is asked for again: a fresh file, the output of a batch that has just ended."""
PAGE = 100
MOST_PAGES = 10_000
_LIMIT = re.compile(r"[Ll]imit:?\s*([\d,_]+)")


class QueueFullError(Exception):
    """The provider takes no more for now.

    Attributes
    ----------
    limit : int or None
        Tokens that may wait, where it says so.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.limit = queue_limit(reason)


class UnknownFileError(Exception):
    """The provider does not know the file that a batch was to be made of."""


def is_queue_full(code: str, reason: str) -> bool:
    """Tell whether an error says that too many tokens or requests wait in batches already."""
    return code == "token_limit_exceeded" or "enqueued" in reason.lower()


def queue_limit(reason: str) -> int | None:
    """Return how many tokens may wait, where the provider says it."""
    said = _LIMIT.search(reason)
    digits = re.sub(r"\D", "", said[1]) if said else ""
    return int(digits) if digits else None


@dataclass(frozen=True)
class _Page:
    """A part of a list, and whether there is more of it."""

    items: list[Any]
    more: bool


def _page(page: Any) -> _Page:
    return _Page(page.data if isinstance(page.data, list) else [], bool(page.has_next_page()))


class Batches:
    """The batches of one run.

    Parameters
    ----------
    provider : Provider
        Makes the calls.
    run : str
        The run's id, which every batch carries.
    """

    def __init__(self, provider: Provider, run: str) -> None:
        self.provider, self.run = provider, run

    def upload(self, path: Path, name: str) -> str:
        """Return the provider's name for a file. One that is sent twice costs nothing."""

        def send(api: OpenAI) -> FileObject:
            with open(path, "rb") as stream:
                return api.files.create(file=(name, stream), purpose="batch")

        file = made_id(self.provider.again(send))
        if not file:
            raise ShelfmarkError(
                f"{self.provider.url}: a file was sent, and the answer names none; check OPENAI_BASE_URL"
            )
        return file

    def create(self, file: str, told: dict[str, str]) -> str | None:
        """Make a batch of a file that was sent, and return its id; None where nobody knows whether it was made.

        Raises
        ------
        QueueFullError
            When too much is waiting already.
        OutageError
            When it was not made, and may be later.
        UnknownFileError
            When the file is not there (yet).
        ShelfmarkError
            When no such batch will be made.
        """
        metadata = {"shelfmark": self.run, **told}
        try:
            made = self.provider.once(
                lambda api: api.batches.create(
                    input_file_id=file, endpoint=URL, completion_window="24h", metadata=metadata
                )
            )
            return made_id(made) or None
        except RefusedError as error:
            if is_queue_full(error.code, error.reason):
                raise QueueFullError(error.reason) from None
            if file in error.reason or "cannot find file" in error.reason.lower():
                raise UnknownFileError(error.reason) from None
            raise
        except OutageError as error:
            if is_queue_full(error.code, str(error)):
                raise QueueFullError(str(error)) from None
            if error.status == 429:
                raise
            return None

    def look(self, file: str, digest: str, known: set[str]) -> str | None:
        """Look for a batch that may have been made of a file, several times; None where there is none."""
        wait = LOOK_SECONDS
        for looks in range(LOOKS):
            for batch in self.every():
                mine = batch.told.get("shelfmark") == self.run and batch.told.get("chunk") == digest
                if batch.id not in known and (batch.input == file or mine):
                    return batch.id
            if looks + 1 < LOOKS:
                self.provider.sleep(wait)
                wait *= 2
        return None

    def every(self) -> Iterator[Seen]:
        """Yield all batches of the account, the newest first.

        Raises
        ------
        ShelfmarkError
            When the list does not end.
        """
        known = {""}
        last = ""
        for _ in range(MOST_PAGES):
            after = {"after": last} if last else {}
            page = self.provider.again(lambda api, after=after: _page(api.batches.list(limit=PAGE, **after)))  # type: ignore[misc]
            fresh = [batch for batch in map(seen, page.items) if batch.id not in known]
            yield from fresh
            if not fresh or not page.more:
                return
            known.update(batch.id for batch in fresh)
            last = fresh[-1].id
        raise ShelfmarkError(f"{self.provider.url}: its list of batches does not end; check OPENAI_BASE_URL")

    def mine(self) -> Iterator[Seen]:
        """Yield the batches that carry the run's id, the newest first."""
        return (batch for batch in self.every() if batch.told.get("shelfmark") == self.run)

    def retrieve(self, batch: str) -> Seen | None:
        """Return how a batch stands; None where this account knows none of that id."""
        try:
            # By whatever name it answers, it is the one that was asked for.
            return replace(seen(self.provider.again(lambda api: api.batches.retrieve(batch))), id=batch)
        except RefusedError as error:
            if error.status != 404:
                raise
            return None

    def cancel(self, batch: str) -> None:
        """Stop a batch; what is done of it stays, and is paid. One that has ended already is left as it is.

        Raises
        ------
        ShelfmarkError
            When the batch is of another account.
        """
        import openai

        def stop(api: OpenAI) -> Batch | None:
            try:
                return api.batches.cancel(batch)
            except openai.ConflictError:
                return None

        try:
            self.provider.again(stop)
        except RefusedError as error:
            if error.status == 404:
                raise ShelfmarkError(
                    f"{shown_id(batch)}: unknown to the account of the key in OPENAI_API_KEY; take the key of the "
                    "account that began it"
                ) from None

    def download(self, file: str, path: Path, looks: int = LATE) -> bool:
        """Write a file here, whole or not at all; False where the provider does not know it, after some waiting."""

        def take(api: OpenAI) -> None:
            with (
                api.files.with_streaming_response.content(file) as response,
                atomic_write(path, binary=True) as out,
            ):
                for block in self.provider.masked(response.iter_bytes(1 << 20)):
                    out.write(block)

        wait = LOOK_SECONDS / 4
        for tries in range(looks):
            try:
                self.provider.again(take)
                return True
            except RefusedError as error:
                if error.status != 404:
                    raise
            if tries + 1 < looks:
                self.provider.sleep(min(wait, 30.0))
                wait *= 2
        return False
