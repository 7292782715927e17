"""What came of a chunk: its output and error files against the requests that went in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from catalog.messages import Completion, Request
from classify.engines.base import Constrain
from classify.engines.batch_files import Outcome, outcome, output_lines
from classify.engines.chunks import chunk_lines
from classify.engines.ledger import Chunk, Ledger

_RANK = {"answer": 3, "refused": 2, "missing": 1, "silent": 0}


@dataclass
class Taken:
    """What the files of a chunk say.

    Attributes
    ----------
    outcomes : dict of str to Outcome
        Of each request of which they say anything.
    missing : list of str
        The requests that were not done, as the provider says, in order: they may be asked again.
    untold : list of str
        The requests of which nothing is told, though they may be done and paid, in order.
    counts : dict of str to int
        ``answers``, ``refused``, ``missing``; of the answers that are ``cut``; of the missing those that are ``lost``,
        of which not even an error came; lines ``unknown``, ``repeated`` and ``damaged``; tokens billed, ``read`` and
        ``written``; and the ``unsure`` requests whose tokens are in them at their most, since neither the provider
        nor a line tells what they cost.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def take_in(
    books: Ledger,
    chunk: Chunk,
    constrain: Constrain,
    wanted: Mapping[str, Request] | None,
    scrub: Callable[[str], str] = str,
) -> Taken:
    """Read the files of a chunk that has ended.

    Of several lines about a request an answer goes before a refusal, and the first before the second. What a batch
    cost is what the provider says; where it does not, what the lines say, each request once. A request without a line
    was not done where the files are whole; where they are short (`Sent.short`), nobody knows.

    Parameters
    ----------
    books : Ledger
        Knows the files.
    chunk : Chunk
        All its batches have ended.
    constrain : {'json', 'off'}
        How the answers were held to the candidates.
    wanted : mapping of str to Request, or None
        The requests whose answers are wanted; their turns are not looked at. With None it is only told which requests
        have an answer, which is quicker.
    scrub : callable
        Takes out of an error what nobody is to read.
    """
    asked = dict.fromkeys(name for name, _ in chunk_lines(books, chunk))
    each = math.ceil(chunk.load.most_read / chunk.rows), math.ceil(chunk.load.most_written / chunk.rows)
    reader = _Reader(asked, constrain, wanted, lambda: each, scrub)
    counts = reader.counts
    for batch in chunk.sent.values():
        reader.own = {}
        for path in books.outputs(chunk, batch.id):
            reader.read(path)
        if batch.turned_away:
            continue
        sure = [one for one in reader.own.values() if not one.unsure]
        read, written = batch.usage or (0, 0)
        counts["read"] += max(read, sum(completion.prompt_tokens for completion in sure))
        counts["written"] += max(written, sum(completion.completion_tokens for completion in sure))
        if batch.usage is None:
            unsure = len(asked) - len(sure)
            counts["unsure"] += unsure
            counts["read"] += math.ceil(chunk.load.most_read * unsure / chunk.rows)
            counts["written"] += math.ceil(chunk.load.most_written * unsure / chunk.rows)
    short = any(batch.short for batch in chunk.sent.values() if not batch.turned_away)
    taken = Taken(reader.outcomes)
    for name in asked:
        found = taken.outcomes.get(name)
        kind = "silent" if found is None else found.kind
        counts[{"answer": "answers", "silent": "missing"}.get(kind, kind)] += 1
        counts["cut"] += found is not None and found.cut
        counts["lost"] += found is None
        if kind == "silent" and short:
            taken.untold.append(name)
        elif kind in ("missing", "silent"):
            taken.missing.append(name)
    taken.counts = dict(counts)
    return taken


def told_rows(asked: Container[str], output: Path, errors: Path) -> set[str]:
    """Return the requests that the files of a batch show to be done: with a line of the output, or an answer.

    Parameters
    ----------
    asked : container of str
        The requests that went in.
    output, errors : Path
        The files; either may be missing.
    """
    told = set()
    for path, kinds in ((output, ("answer", "refused", "missing")), (errors, ("answer",))):
        for line in output_lines(path) if path.exists() else ():
            if line is None or line["custom_id"] not in asked:
                continue
            name = line["custom_id"]
            if name not in told and outcome(Request(name, []), line, "off", probabilities=False).kind in kinds:
                told.add(name)
    return told


def count_told(path: Path) -> int:
    """Return how many requests the lines of a file are about."""
    return len({line["custom_id"] for line in output_lines(path) if line is not None})


class _Reader:
    """Reads the files of a chunk's batches, one after the other."""

    def __init__(
        self,
        asked: Mapping[str, None],
        constrain: Constrain,
        wanted: Mapping[str, Request] | None,
        most: Callable[[], tuple[int, int]],
        scrub: Callable[[str], str],
    ) -> None:
        self._asked, self._constrain, self._wanted, self._most, self._scrub = asked, constrain, wanted, most, scrub
        self.outcomes: dict[str, Outcome] = {}
        self.counts = Counter[str]()
        self.own: dict[str, Completion] = {}
        """Of the batch whose files are being read: what each request came to."""

    def read(self, path: Path) -> None:
        for line in output_lines(path):
            if line is None:
                self.counts["damaged"] += 1
                continue
            name = line["custom_id"]
            if name not in self._asked:
                self.counts["unknown"] += 1
                continue
            # Without candidates its log-probabilities would be of the text: read where they are wanted, and right.
            request = (self._wanted or {}).get(name)
            found = outcome(
                request or Request(name, []),
                line,
                self._constrain,
                most=self._most,
                probabilities=request is not None,
            )
            if found.completion.error is not None:
                found = replace(found, completion=replace(found.completion, error=self._scrub(found.completion.error)))
            if name in self.own:
                self.counts["repeated"] += 1
            if name not in self.own or self.own[name].error is not None:
                self.own[name] = found.completion
            before = self.outcomes.get(name)
            if before is None or _RANK[found.kind] > _RANK[before.kind]:
                self.outcomes[name] = found
