"""Chunks to the provider and back: each sent once, followed until it ends, its files taken home."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from catalog.errors import ShelfmarkError
from classify.costs import Budget, Load
from classify.engines.ledger import Chunk, Ledger
from classify.provider.batches import ENDED, LATE, Batches, QueueFullError, UnknownFileError, is_queue_full, queue_limit
from classify.provider.client import OutageError, RefusedError

if TYPE_CHECKING:
    from openai.types import Batch

PAUSE = 2.0
"""Seconds: the first wait for a file that is not known yet, or for room in a queue; doubled each time."""
LONGEST_PAUSE = 60.0
SMALLEST_SHARE = 20
"""A chunk is not halved below this part of the queue's limit: then it is others who fill the queue."""

_PASSING = ("internal_error", "server_error", "service_unavailable", "")
"""Codes of failures of a whole batch that may pass; others are told to the user at once."""


class Sender:
    """Sends chunks.

    Parameters
    ----------
    books : Ledger
        Open for writing.
    batches : Batches
        Makes the calls.
    budget : Budget
        What may be spent. What is in the books counts on it.
    limit : float
        Tokens of prompts that may wait at the provider.
    failures : int
        How often a chunk is sent that fails before anything of it is done.
    halve : callable
        Puts two chunks in the place of one.
    tell : callable
        Told of each step, in a line for people.
    """

    def __init__(
        self,
        books: Ledger,
        batches: Batches,
        budget: Budget,
        *,
        limit: float,
        failures: int,
        halve: Callable[[Chunk], None],
        tell: Callable[[str], None],
    ) -> None:
        self.books, self.batches, self.budget, self.limit = books, batches, budget, limit
        self._failures, self._halve, self._tell = failures, halve, tell
        self._before = budget.spent
        self._absent, self._late = Counter[str](), Counter[str]()
        self._failed: Counter[int] = Counter()
        self._uncertain = False
        self.reckon()

    def reckon(self) -> None:
        """Bring the budget up to the books: what was read is spent; what is or will be sent counts as in flight."""
        self.budget.spent = self._before
        self.budget.in_flight = 0.0
        for chunk in self.books:
            if chunk.counts is not None:
                self.budget.spent += self.budget.dollars(chunk.counts["read"], chunk.counts["written"])
            elif not chunk.dropped or chunk.open or chunk.done:
                self.budget.in_flight += self.worst(chunk.load)

    def worst(self, load: Load) -> float:
        """Return what requests cost at most; 0 where the price is not known."""
        return self.budget.dollars(load.most_read, load.most_written)

    def recover(self, *, begun: bool) -> None:
        """Find out what became of what a process did that is gone; drop what was never sent.

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
                self._require_account(chunk)
                self._settle(chunk, self._found(chunk))
            for batch in chunk.sent.values():
                if not batch.ended:
                    self._wait_for(batch.id, lambda name=batch.id: self.batches.retrieve(name) is not None)  # type: ignore[misc]
        if begun:
            self.find_strays()
        for chunk in self.books:
            if chunk.waiting:
                if chunk.file:
                    self.batches.remove(chunk.file)
                self.books.write("dropped", number=chunk.number)
                self.books.requests(chunk).unlink(missing_ok=True)
        self.reckon()

    def submit(self) -> None:
        """Send what fits into the provider's queue.

        Raises
        ------
        ShelfmarkError
            When the provider takes no such batch.
        """
        while (chunk := next((chunk for chunk in self.books if chunk.waiting), None)) is not None:
            waits = sum(other.load.most_read for other in self.books if other.open)
            if chunk.load.most_read > self.limit and chunk.rows > 1:
                self._drop(chunk)
            elif (waits and waits + chunk.load.most_read > self.limit) or not self._send(chunk):
                return

    def follow(self) -> bool:
        """Ask how each batch stands, and take home the files of those that have ended; tell whether one has."""
        ended = False
        for chunk in self.books:
            for sent in list(chunk.sent.values()):
                if sent.ended:
                    continue
                batch = self.batches.retrieve(sent.id)
                if batch is None:
                    self._absent[sent.id] += 1
                    if self._absent[sent.id] > LATE:
                        raise _of_others(sent.id)
                    continue
                sent.status = batch.status
                if batch.status in ENDED and not self._is_late(batch):
                    self._end(chunk, batch)
                    ended = True
        self.reckon()
        return ended

    def find_strays(self) -> None:
        """Enter batches of the run that are not in the books: paid, they are to be read.

        One of a chunk that has another batch already was made twice: it is stopped.
        """
        for batch in list(self.batches.mine()):
            if batch.id in self.books.known:
                continue
            told = batch.metadata or {}
            chunk = next((one for one in self.books if one.digest == told.get("chunk")), None)
            if _is_turned_away(batch):
                continue
            if chunk is None:
                chunk = self._restored(batch)
            elif batch.status not in ENDED and (
                chunk.dropped or any(not other.turned_away for other in chunk.sent.values())
            ):
                self.batches.cancel(batch.id)
            if not self.books.requests(chunk).exists():
                self.batches.download(batch.input_file_id, self.books.requests(chunk))
            self.books.write("created", number=chunk.number, batch=batch.id)
            self._tell(f"batch {batch.id} of chunk {chunk.number} was found at the provider")
        self._uncertain = False
        self.reckon()

    @property
    def uncertain(self) -> bool:
        """Whether a batch may have been made of which nobody heard, and that was not found."""
        return self._uncertain

    def _send(self, chunk: Chunk) -> bool:
        """Make a batch of a chunk; False where the provider has no room for it now."""
        wait = PAUSE
        for tries in range(LATE):
            if not chunk.file or tries == LATE // 2:
                name = f"shelfmark-{self.batches.run[:8]}-{chunk.number:04d}.jsonl"
                self.books.write(
                    "uploaded", number=chunk.number, file=self.batches.upload(self.books.requests(chunk), name)
                )
            self.books.write("creating", number=chunk.number)
            try:
                made = self.batches.create(chunk.file, chunk.digest, chunk.options)
            except QueueFullError as full:
                self._settle(chunk, None)
                self._make_room(chunk, full.limit)
                return False
            except (UnknownFileError, OutageError) as error:
                self._settle(chunk, None)
                if tries + 1 == LATE:
                    raise ShelfmarkError(f"no batch could be made: {error}") from None
            except ShelfmarkError:
                self._settle(chunk, None)
                raise
            else:
                if made is None:
                    made = self._found(chunk)
                self._settle(chunk, made)
                if made is not None:
                    return True
            self.batches.provider.sleep(wait)
            wait = min(wait * 2, LONGEST_PAUSE)
        raise OutageError(f"{self.batches.provider.url}: no batch could be made; give the same command again later")

    def _found(self, chunk: Chunk) -> str | None:
        """Return the batch that was made of a chunk though nobody heard of it; None where there is none to be seen."""
        made = self.batches.look(chunk.file, chunk.digest, self.books.known)
        self._uncertain = self._uncertain or made is None
        return made

    def _settle(self, chunk: Chunk, made: str | None) -> None:
        """Enter what became of the making of a batch."""
        if made is None:
            self.books.write("not created", number=chunk.number)
            return
        self.books.write("created", number=chunk.number, batch=made)
        self._tell(f"batch {made}: {chunk.rows:,} requests sent")
        self.reckon()

    def _make_room(self, chunk: Chunk, limit: int | None) -> None:
        """Learn from a queue that was full how much may wait, and halve a chunk that it will never have room for."""
        others = sum(other.load.most_read for other in self.books if other.open)
        if limit is not None:
            self.limit = min(self.limit, limit)
        if others:
            if limit is None or others + chunk.load.most_read > limit:
                return  # it is sent when they have ended
            self.limit = min(self.limit, others + chunk.load.most_read - 1)
            return
        self._failed[chunk.number] += 1
        if limit is not None and chunk.load.most_read <= limit and self._failed[chunk.number] < 3:
            self._tell("the provider's queue is full of other batches; waiting")
        elif chunk.rows == 1:
            if self._failed[chunk.number] >= LATE:
                raise ShelfmarkError(
                    f"a request of about {chunk.load.most_read:,.0f} tokens is more than the provider lets wait"
                    f"{f' ({limit:,} tokens)' if limit else ''}; shorten it, or ask with --engine server"
                )
        elif limit is None or chunk.load.most_read * SMALLEST_SHARE > limit:
            self._drop(chunk)
        self.batches.provider.sleep(min(PAUSE * 2 ** self._failed[chunk.number], LONGEST_PAUSE))

    def _drop(self, chunk: Chunk) -> None:
        """Send two halves in place of a chunk."""
        if chunk.file:
            self.batches.remove(chunk.file)
        self._halve(chunk)

    def _is_late(self, batch: Batch) -> bool:
        """Tell whether files of a batch that has ended are still to come."""
        counts = batch.request_counts
        done, failed = (counts.completed, counts.failed) if counts else (0, 0)
        lacks = (batch.output_file_id is None and done > 0) or (batch.error_file_id is None and failed > 0)
        lacks = lacks or (batch.status == "completed" and not (batch.output_file_id or batch.error_file_id))
        self._late[batch.id] += lacks
        return lacks and self._late[batch.id] <= LATE

    def _end(self, chunk: Chunk, batch: Batch) -> None:
        """Take home the files of a batch, and enter its end."""
        for kind, file in (("output", batch.output_file_id), ("errors", batch.error_file_id)):
            if file and not self.batches.download(file, self.books.output(chunk, batch.id, kind)):
                self._tell(f"batch {batch.id}: its file {file} is not to be had")
        errors = (batch.errors and batch.errors.data) or []
        code, reason = (errors[0].code or "", errors[0].message or "") if errors else ("", "")
        nothing_done = _is_turned_away(batch)
        usage = None if batch.usage is None else [batch.usage.input_tokens, batch.usage.output_tokens]
        self.books.write(
            "ended",
            number=chunk.number,
            batch=batch.id,
            status=batch.status,
            turned_away=nothing_done,
            usage=usage,
            reason=self.batches.provider.scrub(f"{code} {reason}".strip()),
        )
        if not nothing_done:
            self._tell(f"batch {batch.id}: {batch.status}")
        elif is_queue_full(code, reason):
            self._make_room(chunk, queue_limit(reason))
        else:
            self._failed[chunk.number] += 1
            said = self.batches.provider.scrub(f"{code}: {reason}" if code else reason or "without a reason")
            self._tell(f"batch {batch.id}: failed, {said}")
            if code not in _PASSING or self._failed[chunk.number] > self._failures:
                where = f", line {errors[0].line} of {self.books.requests(chunk)}" if errors and errors[0].line else ""
                raise ShelfmarkError(
                    f"batch {batch.id}: the provider did not take it{where}: {said}; nothing of it was done or billed; "
                    "when that is mended, give the same command again"
                )

    def _restored(self, batch: Batch) -> Chunk:
        """Return a chunk made of a batch's own input: the books that knew it are lost."""
        number = self.books.next_number()
        path = self.books.folder / f"{number:04d}.requests.jsonl"
        if not self.batches.download(batch.input_file_id, path):
            raise ShelfmarkError(f"batch {batch.id} of this run: its input is not to be had; its books are lost")
        return self.books.restore(number, path, batch.metadata or {})

    def _require_account(self, chunk: Chunk) -> None:
        def known() -> bool:
            try:
                self.batches.provider.again(lambda api: api.files.retrieve(chunk.file))
            except RefusedError as error:
                if error.status != 404:
                    raise
                return False
            return True

        self._wait_for(chunk.file, known)

    def _wait_for(self, what: str, known: Callable[[], bool]) -> None:
        """Wait until the provider knows what this run sent there: what is fresh may not be seen yet."""
        wait = PAUSE
        for tries in range(LATE // 2):
            if known():
                return
            if tries + 1 < LATE // 2:
                self.batches.provider.sleep(wait)
                wait = min(wait * 2, LONGEST_PAUSE)
        raise _of_others(what)


def _of_others(what: str) -> ShelfmarkError:
    return ShelfmarkError(
        f"{what}: unknown to the account of the key in OPENAI_API_KEY, though this run sent it; take the key (and "
        "OPENAI_BASE_URL) that it was sent with"
    )


def _is_turned_away(batch: Batch) -> bool:
    """Tell whether a batch ended before anything of it was done, or billed."""
    counts, usage = batch.request_counts, batch.usage
    begun = (counts is not None and counts.completed + counts.failed > 0) or (
        usage is not None and usage.total_tokens > 0
    )
    return batch.status == "failed" and not (begun or batch.output_file_id or batch.error_file_id)
