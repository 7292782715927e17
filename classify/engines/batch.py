"""The Batch API of OpenAI, or of a provider that has the same: half the price, an answer within a day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from catalog.errors import ShelfmarkError
from catalog.messages import Completion, Request
from classify.costs import Budget
from classify.engines.batch_answers import Taken, take_in
from classify.engines.batch_files import Outcome, request_line
from classify.engines.batch_options import BatchOptions
from classify.engines.books_report import books_report
from classify.engines.chunks import ChunkWriter, chunk_lines, options_hash, some_lines
from classify.engines.finding import Finder
from classify.engines.forms import AnswerForm
from classify.engines.ledger import Chunk, Ledger
from classify.engines.sending import Sender
from classify.engines.survey import survey
from classify.provider.batches import Batches
from classify.provider.client import OutageError, Provider
from classify.provider.seen import shown_id
from classify.token_counts import token_counts

FIRST_POLL = 1.0
"""Seconds between the first two looks at batches; doubled while nothing ends, up to `BatchOptions.poll`."""
PATIENCE = 20
"""So many looks in a row may find the provider out of reach."""


def nobody(line: str) -> None:
    """Tell nobody."""
    del line


class BatchEngine:
    """Asks by batches, and keeps books, so that nothing is paid twice and nothing that is paid is lost.

    A request that was not done, as the provider says (its batch expired, it failed), is asked again, `retries` times
    at most. One of which nothing is told though it may be done is not, as it may be paid: a person decides. A refusal
    is an answer, and so is one that used up its tokens.
    """

    name: ClassVar[str] = "batch"
    needs: ClassVar[tuple[str, str] | None] = None
    options_class: ClassVar[type[BatchOptions]] = BatchOptions
    deterministic: ClassVar[bool] = False

    def __init__(self, options: BatchOptions) -> None:
        self.options = options
        self.form: AnswerForm | None = None
        self.report: dict[str, Any] = {}
        self._folder: Path | None = None

    def keep_books(
        self,
        folder: Path,
        run: str,
        budget: Budget,
        *,
        begun: bool,
        written: float | None = None,
        tell: Callable[[str], None] = nobody,
    ) -> None:
        """Say where the books are; to be called before anything is asked.

        Parameters
        ----------
        folder : Path
            Of the run's batches.
        run : str
            The run's id, which every batch carries.
        budget : Budget
            What may be spent.
        begun : bool
            Whether batches may have been sent for this run that are not in the books.
        written : float, optional
            Tokens of an answer, expected.
        tell : callable
            Told of each step, in a line for people.
        """
        self._folder, self._run, self._budget, self._begun = folder, run, budget, begun
        self._written, self._tell = written, tell

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion for each request, as batches end.

        Raises
        ------
        ShelfmarkError
            When there are no books, no model, no key or no money, it would cost more than it may, somebody stopped a
            batch, or the provider takes none. What is in flight stays there, and is taken in by the next call.
        """
        if self._folder is None:
            raise ShelfmarkError("--engine batch keeps books of what is paid: use it by the command, with a --run")
        if not self.options.llm:
            raise ShelfmarkError("--llm NAME: name the model that is to answer")
        self._batches = Batches(Provider(self.options.base_url, self.options.timeout), self._run)
        self._counts = token_counts(self.options.llm)
        self._hash = options_hash(self.options.model_dump(exclude=set(self.options.free)))
        self._wanted: dict[str, Request] = {}  # without their turns, which take memory and are in the chunks
        self._stopped, self._too_dear = False, 0
        self._later = (0, 0.0)
        self._untold: dict[str, int] = {}
        with Ledger.writing(self._folder) as books:
            self._books = books
            self._sender = Sender(
                books,
                self._batches,
                self._budget,
                limit=self.options.most_waiting([] if self._budget.price is None else self._budget.price.enqueued),
                failures=self.options.retries,
                halve=self._halve,
                tell=self._tell,
            )
            self._finder = Finder(books, self._batches, self._sender, self._counts, self._tell)
            try:
                self._finder.recover(begun=self._begun)
                self._draw(requests)
                yield from self._answers()
            finally:
                self._write_report()
        self._require_all()

    def _draw(self, requests: Iterable[Request]) -> None:
        """Part the requests into those that are in flight, answered or waiting already, and chunks of the others."""
        self._survey = survey(self._books, self._mine(), self.options.constrain)
        known = self._survey
        first, again = self._writer(again=False), self._writer(again=True)
        try:
            for request in requests:
                self._wanted[request.id] = replace(request, messages=[])
                if request.id in known.here or request.id in known.waiting or self._is_exhausted(request.id):
                    continue
                if request.id in known.untold:
                    self._untold[request.id] = known.untold[request.id]
                    continue
                line = request_line(request, self.options, self.form, logprobs=self.options.logprobs)
                (again if request.id in known.before else first).add(line)
            self._drop_unwanted(first, again)
            self._require_budget(first, again)
            first.enter()
            again.enter()
        except BaseException:
            first.discard()
            again.discard()
            raise
        self._tell_cost()

    def _is_exhausted(self, name: str) -> bool:
        return self._survey.tried[name] > self.options.retries

    def _drop_unwanted(self, first: ChunkWriter, again: ChunkWriter) -> None:
        """Drop chunks that wait to be sent and ask what is not asked any more; what of them is, is written anew."""
        for chunk in self._books:
            if not chunk.waiting:
                continue
            mine = chunk.options == self._hash and self._books.requests(chunk).exists()
            lines = list(chunk_lines(self._books, chunk)) if mine else []
            if lines and all(name in self._wanted for name, _ in lines):
                continue
            for name, line in lines:
                if name in self._wanted:
                    (again if name in self._survey.before else first).add(line)
            self._books.write("dropped", number=chunk.number)

    def _require_budget(self, first: ChunkWriter, again: ChunkWriter) -> None:
        """Refuse to send what could cost too much; but what is bought is taken in first: it may come to less.

        Raises
        ------
        ShelfmarkError
            When nothing is to be taken in.
        """
        load = first.load() + again.load() + self._sender.waiting()
        dollars = self._sender.worst(load)
        if not load.rows or self._budget.affords(dollars):
            return
        if not any(chunk.open or chunk.unread for chunk in self._books):
            self._budget.check(dollars, f"{load.rows:,} requests")
        first.discard()
        again.discard()
        self._later = (load.rows, dollars)

    def _mine(self) -> list[Chunk]:
        """Return the chunks that ask what is asked now."""
        return [chunk for chunk in self._books if chunk.options == self._hash]

    def _answers(self) -> Iterator[Completion]:
        """Send, wait, and hand on what comes, until nothing is left to wait for."""
        here = {self._survey.here[name] for name in self._wanted if name in self._survey.here}
        short = set(self._untold.values())
        for chunk in self._books:
            if chunk.unread or (chunk.done and chunk.number in here):
                yield from self._deliver(chunk, self._taken(chunk))
            if chunk.number in short and self._sender.fetch_again(chunk):
                yield from self._take(chunk)
        yield from self._give_up([name for name in self._wanted if self._is_exhausted(name)], {})
        wait, out_of_reach = FIRST_POLL, 0
        while True:
            sending = not (self._stopped or self._later[0] or self._loses())
            if sending:
                self._sender.submit()
            if not any(chunk.open or (sending and chunk.waiting) for chunk in self._books):
                if not self._books.doubtful:
                    return
                self._finder.look_for_doubtful()
                continue
            try:
                ended = self._sender.follow()
                out_of_reach = 0
            except OutageError:
                out_of_reach += 1
                if out_of_reach == PATIENCE:
                    raise
                ended = False
            for chunk in self._books:
                if chunk.unread:
                    yield from self._take(chunk)
            wait = FIRST_POLL if ended else wait * 2
            if not ended:
                self._batches.provider.sleep(min(wait, self.options.poll))

    def _taken(self, chunk: Chunk) -> Taken:
        return take_in(self._books, chunk, self.options.constrain, self._wanted, scrub=self._batches.provider.scrub)

    def _take(self, chunk: Chunk) -> Iterator[Completion]:
        """Hand on what came of a chunk, and have asked again what did not."""
        taken = self._taken(chunk)
        yield from self._deliver(chunk, taken)
        untold = {name: chunk.number for name in taken.untold if name in self._wanted}
        others = {name: number for name, number in self._untold.items() if number != chunk.number}
        self._untold = {**others, **untold} if chunk.options == self._hash else others
        missing = [name for name in taken.missing if name in self._wanted and chunk.options == self._hash]
        if chunk.cancelled:  # by a person, who does not want to pay for more, unless the program did it
            self._stopped = self._stopped or not chunk.dropped
            return
        self._survey.count_tries(self._books, chunk, missing)
        yield from self._give_up([name for name in missing if self._is_exhausted(name)], taken.outcomes)
        self._ask_again(chunk, [name for name in missing if name in self._wanted])

    def _loses(self) -> bool:
        """Tell whether most of a chunk was lost: then no more is sent, as it would be lost, too."""
        lost = Counter(self._untold.values())
        return any(2 * rows > self._books.chunks[number].rows for number, rows in lost.items())

    def _deliver(self, chunk: Chunk, taken: Taken) -> Iterator[Completion]:
        """Hand on the answers and, the first time, the refusals of a chunk; then it is read."""
        for name, found in taken.outcomes.items() if chunk.options == self._hash else ():
            if name in self._wanted and (found.kind == "answer" or (found.kind == "refused" and chunk.unread)):
                del self._wanted[name]
                yield found.completion
        if chunk.unread:
            self._books.write("read", number=chunk.number, counts=taken.counts)
            self._sender.reckon()

    def _give_up(self, names: list[str], outcomes: Mapping[str, Outcome]) -> Iterator[Completion]:
        for name in names:
            del self._wanted[name]
            why = (outcomes[name].completion.error if name in outcomes else "") or "no line about it"
            yield Completion(name, error=f"no answer in {self._survey.tried[name]} batches ({why})")
        if names:
            self._books.write("gave up", ids=names)

    def _ask_again(self, chunk: Chunk, names: list[str]) -> None:
        if not names:
            return
        writer = self._writer(again=True)
        for line in some_lines(self._books, chunk, names):
            writer.add(line)
        if not self._budget.affords(self._sender.worst(writer.load() + self._sender.waiting())):
            writer.discard()
            self._too_dear += len(names)
            return
        writer.enter()
        self._sender.reckon()
        self._tell(f"{len(names):,} requests are asked again that batches ended without")

    def _halve(self, chunk: Chunk) -> None:
        """Put two chunks in the place of one that was not sent."""
        for half in (0, 1):
            writer = self._writer(again=chunk.again)
            middle = chunk.rows // 2
            for place, (_, line) in enumerate(chunk_lines(self._books, chunk)):
                if (place >= middle) == bool(half):
                    writer.add(line)
            writer.enter()
        self._books.write("dropped", number=chunk.number)

    def _writer(self, *, again: bool) -> ChunkWriter:
        most = self._sender.limit
        return ChunkWriter(self._books, self._hash, self._counts, written=self._written, most_tokens=most, again=again)

    def _tell_cost(self) -> None:
        """Say what it will cost, before the first is sent."""
        load = self._sender.waiting()
        if not load.rows or self._later[0]:
            return
        cost = "at an unknown price"
        if self._budget.price is not None:
            expected, most = load.dollars(self._budget.price, batch=True)
            cost = f"for about ${expected:,.4f}, at most ${most:,.4f}"
        self._tell(f"{load.rows:,} requests by batches, {cost} (tokens {self._counts.by})")

    def _write_report(self) -> None:
        self.report.update(books_report(self._books, self._budget))
        self.report["tokens_by"] = self._counts.by

    def _require_all(self) -> None:
        """Refuse to end as if all were answered.

        Raises
        ------
        ShelfmarkError
            When requests are left that nobody asked.
        """
        untold = {name: number for name, number in self._untold.items() if name in self._wanted}
        if untold:
            first = self._books.chunks[min(untold.values())]
            batch = next(one.id for one in first.sent.values() if one.short)
            run = self._books.folder.parent
            raise ShelfmarkError(
                f"batch {shown_id(batch)}: done and billed, as the provider counts, and its files lack answers; "
                f"{len(untold):,} requests are not asked again, as that costs again: classify resume {run} fetches the "
                f"files once more, classify batches {run} shows the batch, and classify resume {run} --give-up goes on "
                "without them"
            )
        if self._stopped and self._wanted:
            raise ShelfmarkError(
                f"{len(self._wanted):,} requests have no answer: a batch was stopped; what was done is kept, and "
                "resuming the run asks the others"
            )
        if self._too_dear:
            raise ShelfmarkError(
                f"--max-cost {self._budget.cap:g}: ${self._budget.spent:,.4f} spent, and to ask "
                f"{self._too_dear:,} requests again that batches ended without could go beyond it; resume the "
                "run with a higher one"
            )
        rows, dollars = self._later
        if rows:
            self._budget.check(dollars, f"{rows:,} requests")
            raise ShelfmarkError(
                f"--max-cost {self._budget.cap:g}: what was in flight is taken in; resume the run to ask the "
                f"{rows:,} requests that are left"
            )
