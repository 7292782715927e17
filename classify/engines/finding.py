"""What a process that is gone may have left at the provider, found and brought into the books."""

from __future__ import annotations

import json
from collections.abc import Callable

from catalog.errors import ShelfmarkError
from classify.costs import Load
from classify.engines.ledger import Chunk, Ledger
from classify.engines.sending import LONGEST_PAUSE, PAUSE, Sender, of_others
from classify.loads import load_of_body
from classify.provider.batches import LATE, LOOKS, Batches
from classify.provider.client import RefusedError
from classify.provider.seen import Seen
from classify.token_counts import TokenCounts


class Finder:
    """Finds batches of a run that are not in its books, or whose requests are not here.

    Parameters
    ----------
    books : Ledger
        Open for writing.
    batches : Batches
        Makes the calls.
    sender : Sender
        Knows the books, too.
    counts : TokenCounts
        Counts the tokens of requests that are brought back.
    tell : callable
        Told of what is found, in a line for people.
    """

    def __init__(
        self, books: Ledger, batches: Batches, sender: Sender, counts: TokenCounts, tell: Callable[[str], None]
    ) -> None:
        self.books, self.batches, self._sender, self._counts, self._tell = books, batches, sender, counts, tell

    def recover(self, *, begun: bool) -> None:
        """Find out what became of what a process did that is gone.

        Parameters
        ----------
        begun : bool
            Whether the run may have sent something that is not in the books.

        Raises
        ------
        ShelfmarkError
            When the key is of another account than the one that sent it.
        """
        for chunk in self.books:
            if chunk.creating:
                self._wait_for(chunk.file, lambda chunk=chunk: self._knows_file(chunk.file))  # type: ignore[misc]
                self._sender.look(chunk)
            for batch in list(chunk.sent.values()):
                if not batch.ended:
                    self._wait_for_batch(chunk, batch.id)
            if (chunk.open or chunk.unread) and not self.books.requests(chunk).exists():
                self._bring_back(chunk)
        if begun:
            self.find_strays()

    def find_strays(self) -> None:
        """Enter batches of the run that are not in the books: paid, they are to be read.

        One whose requests another batch has, or other chunks, was made twice: it is stopped.
        """
        for batch in list(self.batches.mine()):
            if batch.id in self.books.known or batch.turned_away:
                continue
            chunk = self._chunk_of(batch) or self._restored(batch)
            if chunk is None:
                continue
            if not self.books.requests(chunk).exists() and not self._fetch(batch, chunk.number):
                continue
            twice = chunk.dropped or any(not other.turned_away for other in chunk.sent.values())
            if twice and not batch.ended:
                self.batches.cancel(batch.id)
            self.books.write("created", number=chunk.number, batch=batch.id)
            self._tell(f"batch {batch.id} was found at the provider{', a second one: stopped' if twice else ''}")
        self._sender.reckon()

    def look_for_doubtful(self) -> None:
        """Look a last time, and for a while, for batches of which nobody heard, and that were not to be seen."""
        doubtful, known = self.books.doubtful, self.books.known
        wait = PAUSE
        for looks in range(LOOKS):
            self.find_strays()
            if self.books.known != known:
                break
            if looks + 1 < LOOKS:
                self.batches.provider.sleep(wait)
                wait *= 2
        for chunk in doubtful:
            self.books.write("looked", number=chunk.number)

    def _chunk_of(self, batch: Seen) -> Chunk | None:
        """Return what a batch was made of: the chunk whose file it has, else one with the same requests."""
        same = [chunk for chunk in self.books if chunk.digest == batch.told.get("chunk")]
        own = [chunk for chunk in same if chunk.file == batch.input]
        return next(iter(own or [chunk for chunk in same if not chunk.dropped] or same), None)

    def _restored(self, batch: Seen) -> Chunk | None:
        """Return a chunk made of a batch's own input: the books that knew it are lost."""
        number = self.books.next_number()
        if not self._fetch(batch, number):
            return None
        load = Load()
        with open(self.books.folder / f"{number:04d}.requests.jsonl", "rb") as lines:
            for line in lines:
                load += load_of_body(json.loads(line)["body"], self._counts, None)
        return self.books.restore(number, batch.told.get("options", ""), load)

    def _bring_back(self, chunk: Chunk) -> None:
        for name in chunk.sent:
            batch = self.batches.retrieve(name)
            if batch is not None and self._fetch(batch, chunk.number):
                return
        path = self.books.requests(chunk)
        raise ShelfmarkError(f"{path}: missing, and the provider does not have it any more; put it back from a copy")

    def _fetch(self, batch: Seen, number: int) -> bool:
        """Write the input of a batch here; False where it is not to be had."""
        path = self.books.folder / f"{number:04d}.requests.jsonl"
        if self.batches.download(batch.input, path):
            return True
        self._tell(f"batch {batch.id} is of this run, and its input {batch.input} is not to be had: left alone")
        return False

    def _knows_file(self, file: str) -> bool:
        try:
            self.batches.provider.again(lambda api: api.files.retrieve(file))
        except RefusedError as error:
            if error.status != 404:
                raise
            return False
        return True

    def _wait_for_batch(self, chunk: Chunk, name: str) -> None:
        try:
            self._wait_for(name, lambda: self.batches.retrieve(name) is not None)
        except ShelfmarkError:
            if not self._sender.find_renamed(chunk, name):
                raise

    def _wait_for(self, what: str, known: Callable[[], bool]) -> None:
        """Wait until the provider knows what this run sent there: what is fresh may not be seen yet."""
        wait = PAUSE
        for tries in range(LATE // 2):
            if known():
                return
            if tries + 1 < LATE // 2:
                self.batches.provider.sleep(wait)
                wait = min(wait * 2, LONGEST_PAUSE)
        raise of_others(what)
