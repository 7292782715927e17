"""What the books of a run's batches say of each request: where its answer is, or will be; how often it was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from classify.engines.base import Constrain
from classify.engines.batch_answers import take_in
from classify.engines.chunks import chunk_lines
from classify.engines.ledger import Chunk, Ledger


@dataclass
class Survey:
    """What is known of requests before they are drawn.

    Attributes
    ----------
    here : dict of str to int
        The chunk in whose files the answer of a request is, or in whose batch it is being made.
    waiting : dict of str to int
        The chunk in which a request is to be sent.
    before : set of str
        Requests that were asked before, and have no answer in `here`.
    tried : Counter of str
        How many batches ended without a request, since it was last given up.
    untold : dict of str to int
        The chunk whose files tell nothing of a request, though it may be done and paid: it is not asked again before
        a person has given it up.
    """

    here: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    before: set[str] = field(default_factory=set)
    tried: Counter[str] = field(default_factory=Counter)
    untold: dict[str, int] = field(default_factory=dict)

    def count_tries(self, books: Ledger, chunk: Chunk, missing: Iterable[str]) -> None:
        """Count a batch that ended without these requests; one that somebody stopped does not count."""
        for name in missing:
            self.before.add(name)
            self.tried[name] += not chunk.cancelled and books.given_up.get(name, 0) < chunk.number


def survey(books: Ledger, chunks: Iterable[Chunk], constrain: Constrain) -> Survey:
    """Read the books, and of the files of batches as much as it takes to tell which requests have an answer.

    Parameters
    ----------
    books : Ledger
        Of the run.
    chunks : iterable of Chunk
        Those that count: they ask what is asked now. Of others nothing is looked at.
    constrain : {'json', 'off'}
        How answers were held to the candidates.
    """
    found = Survey()
    for chunk in chunks:
        if not books.requests(chunk).exists():
            continue  # it was read long ago, and somebody took its requests away
        if not (chunk.open or chunk.waiting or chunk.done):
            continue
        for name, _ in chunk_lines(books, chunk):
            found.untold.pop(name, None)  # of several chunks the last tells
        if chunk.open or chunk.waiting:
            place = found.here if chunk.open else found.waiting
            place.update((name, chunk.number) for name, _ in chunk_lines(books, chunk))
        elif chunk.done:
            taken = take_in(books, chunk, constrain, None)
            for name in taken.untold:
                if books.given_up.get(name, 0) >= chunk.number:
                    found.before.add(name)
                elif name not in found.here:
                    found.untold[name] = chunk.number
            for name, outcome in taken.outcomes.items():
                # A refusal that was handed on before is asked for again where somebody wants it again.
                if outcome.kind == "answer" or (outcome.kind == "refused" and chunk.unread):
                    found.here[name] = chunk.number
                elif outcome.kind == "refused":
                    found.before.add(name)
            found.count_tries(books, chunk, taken.missing)
    return found
