"""Chunks to the provider and back: each sent once, followed until it ends, its files taken home."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from catalog.errors import ShelfmarkError
from classify.costs import Budget, Load
from classify.engines.batch_answers import count_told, told_rows
from classify.engines.chunks import chunk_lines
from classify.engines.ledger import Chunk, Ledger
from classify.provider.batches import LATE, Batches, QueueFullError, UnknownFileError, is_queue_full, queue_limit
from classify.provider.client import OutageError
from classify.provider.seen import Seen, shown_id

PAUSE = 2.0
"""Seconds: the first wait for a file that is not known yet, or for room in a queue; doubled each time."""
LONGEST_PAUSE = 60.0
SMALLEST_SHARE = 20
"""A chunk that fits is not halved below this part of the queue's limit: then it is others who fill the queue."""
FEWEST_ROWS = 20
"""Nor below so many rows, where the provider names no limit."""
IN_VAIN = 3
"""A chunk that should fit is halved after it was turned away so often: the provider may count more than we do."""

FETCHES = 3
"""How often the files of a batch are fetched that tell of fewer requests than the provider did."""
KINDS = ("output", "errors")

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
        self._absent, self._late, self._strange = Counter[str](), Counter[str](), Counter[str]()
        self._failed: Counter[int] = Counter()
        self.reckon()

    def reckon(self) -> None:
        """Bring the budget up to the books: what was read is spent, what was sent and not read is in flight."""
        self.budget.spent = self._before
        self.budget.in_flight = 0.0
        for chunk in self.books:
            if chunk.counts is not None:
                self.budget.spent += self.budget.dollars(chunk.counts["read"], chunk.counts["written"])
            elif chunk.open or chunk.creating or chunk.done:
                self.budget.in_flight += self.worst(chunk.load)

    def worst(self, load: Load) -> float:
        """Return what requests cost at most; 0 where the price is not known."""
        return self.budget.dollars(load.most_read, load.most_written)

    def waiting(self) -> Load:
        """Return the tokens of all that is to be sent."""
        return sum((chunk.load for chunk in self.books if chunk.waiting), Load())

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
                self._halve(chunk)
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
                    if self._absent[sent.id] > LATE and not self.find_renamed(chunk, sent.id):
                        raise of_others(sent.id)
                    continue
                if not batch.known:
                    self._strange[sent.id] += 1
                    if self._strange[sent.id] > LATE:
                        raise ShelfmarkError(
                            f"batch {shown_id(sent.id)}: the provider shows {_state(batch.status)} for long; it stays "
                            "in the books, and the same command looks at it again"
                        )
                    continue
                self._strange[sent.id] = 0
                sent.status = batch.status
                if batch.ended and not self._is_late(batch):
                    self._end(chunk, batch)
                    ended = True
        self.reckon()
        return ended

    def settle(self, chunk: Chunk, made: str | None, *, sure: bool = True) -> None:
        """Enter what became of the making of a batch.

        Parameters
        ----------
        chunk : Chunk
            What it was made of.
        made : str or None
            The batch; None where there is none.
        sure : bool
            Whether there is none for certain, and not only none to be seen.
        """
        if made is None:
            self.books.write("not created", number=chunk.number, sure=sure)
            return
        self.books.write("created", number=chunk.number, batch=made)
        self._tell(f"batch {shown_id(made)}: {chunk.rows:,} requests sent")
        self.reckon()

    def find_renamed(self, chunk: Chunk, unknown: str) -> bool:
        """Look for the batch of a chunk whose making was answered with an id that the provider does not know.

        Returns
        -------
        bool
            Whether the provider lists one that was made of the chunk's file; it takes the place of the unknown one.
        """
        made = self.batches.look(chunk.file, chunk.digest, self.books.known)
        if made is None:
            return False
        gone = Seen(unknown, "failed", code="unknown_id", reason=f"the provider calls it {shown_id(made)}")
        self._enter_end(chunk, gone, short=False)
        self.settle(chunk, made)
        return True

    def look(self, chunk: Chunk) -> bool:
        """Look for the batch of a chunk of whose making nobody heard the end, and enter it; tell whether there is."""
        made = self.batches.look(chunk.file, chunk.digest, self.books.known)
        self.settle(chunk, made, sure=made is not None)
        return made is not None

    def _send(self, chunk: Chunk) -> bool:
        """Make a batch of a chunk; False where the provider has no room for it now."""
        wait = PAUSE
        told = {"chunk": chunk.digest, "number": str(chunk.number), "options": chunk.options}
        for tries in range(LATE):
            if not chunk.file or tries == LATE // 2:
                name = f"shelfmark-{self.batches.run[:8]}-{chunk.number:04d}.jsonl"
                file = self.batches.upload(self.books.requests(chunk), name)
                self.books.write("uploaded", number=chunk.number, file=file)
            self.books.write("creating", number=chunk.number)
            try:
                made = self.batches.create(chunk.file, told)
            except QueueFullError as full:
                self.settle(chunk, None)
                self._make_room(chunk, full.limit)
                return False
            except (UnknownFileError, OutageError) as error:
                self.settle(chunk, None)
                if tries + 1 == LATE:
                    raise ShelfmarkError(f"no batch could be made: {error}") from None
            except ShelfmarkError:
                self.settle(chunk, None)
                raise
            else:
                if made is not None:
                    self.settle(chunk, made)
                    return True
                if self.look(chunk):
                    return True
            self.batches.provider.sleep(wait)
            wait = min(wait * 2, LONGEST_PAUSE)
        raise OutageError(f"{self.batches.provider.url}: no batch could be made; give the same command again later")

    def _make_room(self, chunk: Chunk, limit: int | None) -> None:
        """Learn from a queue that was full how much may wait, and halve a chunk that it will never have room for."""
        tokens = chunk.load.most_read
        others = sum(other.load.most_read for other in self.books if other.open)
        if limit is not None:
            self.limit = min(self.limit, limit)
        if others:
            if limit is not None and others + tokens <= limit:  # the provider counts more than we do
                self.limit = min(self.limit, others + tokens - 1)
            return  # it is sent when they have ended
        self._failed[chunk.number] += 1
        if limit is not None and chunk.rows == 1 and tokens + chunk.load.most_written > limit:
            raise ShelfmarkError(
                f"a request of about {tokens:,.0f} tokens is more than the provider lets wait ({limit:,} tokens); "
                "shorten it, or ask with --engine server"
            )
        too_large = limit is not None and tokens > limit
        may_be = chunk.rows > FEWEST_ROWS if limit is None else tokens * SMALLEST_SHARE > limit
        if chunk.rows > 1 and (too_large or (may_be and self._failed[chunk.number] >= IN_VAIN)):
            self._halve(chunk)
        elif not too_large:
            self._tell("the provider's queue is full, of other batches as it seems; waiting")
        self.batches.provider.sleep(min(PAUSE * 2.0 ** min(self._failed[chunk.number], 16), LONGEST_PAUSE))

    def fetch_again(self, chunk: Chunk) -> bool:
        """Take the files of a chunk home once more that told of too few requests; tell whether they tell of more."""
        better = False
        for sent in list(chunk.sent.values()):
            batch = self.batches.retrieve(sent.id) if sent.short else None
            if batch is None or not batch.ended:
                continue
            before = self._told(chunk, sent.id)
            short = self._take_home(chunk, batch, 1)
            if not short or self._told(chunk, sent.id) != before:
                self._enter_end(chunk, batch, short)
                better = True
        return better

    def _take_home(self, chunk: Chunk, batch: Seen, looks: int) -> bool:
        """Take home the files of a batch; tell whether they tell of fewer requests than the provider did.

        Where they do they are fetched again, `FETCHES` times in all: a download may have been cut. Of each file that
        telling most is kept.
        """
        if batch.turned_away:
            return False
        rows = {name for name, _ in chunk_lines(self.books, chunk)}
        for tries in range(FETCHES):
            gone = False
            for kind, file in zip(KINDS, (batch.output, batch.errors), strict=True):
                gone |= bool(file) and not self._fetch(chunk, batch.id, kind, file, looks if not tries else 1)
            told = self._told(chunk, batch.id)
            # Where it is not told how many were done, a batch that ended well did all.
            all_done = gone or batch.status == "completed"
            done = min(batch.completed, len(rows)) if batch.counted else len(rows) if all_done else 0
            if len(told) >= done:
                return False
            if tries + 1 < FETCHES:
                self.batches.provider.sleep(PAUSE * 2.0**tries)
        return True

    def _fetch(self, chunk: Chunk, batch: str, kind: str, file: str, looks: int) -> bool:
        """Take a file home, unless one is here that tells more; tell whether the provider has it."""
        path = self.books.output(chunk, batch, kind)
        fresh = path.with_name(f".{path.name}.tmp")
        if not self.batches.download(file, fresh, looks):
            self._tell(f"batch {shown_id(batch)}: its file {shown_id(file)} is not to be had")
            return False
        if path.exists() and count_told(fresh) <= count_told(path):
            fresh.unlink()
        else:
            fresh.replace(path)
        return True

    def _told(self, chunk: Chunk, batch: str) -> set[str]:
        """Return the requests that the files of a batch show to be done."""
        rows = {name for name, _ in chunk_lines(self.books, chunk)}
        output, errors = (self.books.output(chunk, batch, kind) for kind in KINDS)
        return told_rows(rows, output, errors)

    def _enter_end(self, chunk: Chunk, batch: Seen, short: bool) -> None:
        self.books.write(
            "ended",
            number=chunk.number,
            batch=batch.id,
            status=batch.status,
            turned_away=batch.turned_away,
            usage=batch.usage,
            reason=self._said(batch),
            **({"short": True} if short else {}),
        )

    def _said(self, batch: Seen) -> str:
        return self.batches.provider.scrub(f"{batch.code}: {batch.reason}" if batch.code else batch.reason)

    def _is_late(self, batch: Seen) -> bool:
        """Tell whether to wait for files of a batch that has ended."""
        self._late[batch.id] += batch.lacks_files
        return batch.lacks_files and self._late[batch.id] <= LATE

    def _end(self, chunk: Chunk, batch: Seen) -> None:
        """Take home the files of a batch, and enter its end."""
        for kind in KINDS:  # of another one, where somebody moved the books away
            self.books.output(chunk, batch.id, kind).unlink(missing_ok=True)
        short = self._take_home(chunk, batch, LATE)
        self._enter_end(chunk, batch, short)
        said = self._said(batch)
        if not batch.turned_away:
            self._tell(f"batch {shown_id(batch.id)}: {batch.status}")
        elif is_queue_full(batch.code, batch.reason):
            self._make_room(chunk, queue_limit(batch.reason))
        else:
            self._failed[chunk.number] += 1
            said = said or "without a reason"
            self._tell(f"batch {shown_id(batch.id)}: failed, {said}")
            if batch.code not in _PASSING or self._failed[chunk.number] > self._failures:
                where = f", line {batch.line} of {self.books.requests(chunk)}" if batch.line else ""
                raise ShelfmarkError(
                    f"batch {shown_id(batch.id)}: the provider did not take it{where}: {said}; nothing of it was "
                    "done or billed; when that is mended, give the same command again"
                )


def _state(status: str) -> str:
    return f"a state that there is not, {shown_id(status)}," if status else "no state"


def of_others(what: str) -> ShelfmarkError:
    """Return what to say of something that this run sent and this account does not know."""
    return ShelfmarkError(
        f"{shown_id(what)}: unknown to the account of the key in OPENAI_API_KEY, though this run sent it; take the key "
        "(and OPENAI_BASE_URL) that it was sent with"
    )
