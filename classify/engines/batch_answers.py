"""What came of a chunk: its output and error files against the requests that went in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from catalog.messages import Completion, LabelPath, Request
from classify.engines.base import Constrain
from classify.engines.batch_files import Outcome, outcome, output_lines
from classify.engines.chunks import chunk_lines
from classify.engines.ledger import Chunk, Ledger

_RANK = {"answer": 2, "refused": 1, "missing": 0}


@dataclass
class Taken:
    """What the files of a chunk say.

    Attributes
    ----------
    outcomes : dict of str to Outcome
        Of each request of which they say anything.
    missing : list of str
        The requests that may be answered if they are asked again, in order.
    counts : dict of str to int
        ``answers``, ``refused``, ``missing``; of the answers that are ``cut``; of the missing those that are ``lost``,
        of which not even an error came; lines ``unknown``, ``repeated`` and ``damaged``; tokens billed, ``read`` and
        ``written``; and the ``unsure`` requests whose tokens are in them at their most, since neither the provider
        nor a line tells what they cost.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def take_in(
    books: Ledger,
    chunk: Chunk,
    constrain: Constrain,
    candidates: Mapping[str, Sequence[LabelPath]] | None,
    scrub: Callable[[str], str] = str,
) -> Taken:
    """Read the files of a chunk that has ended.

    Of several lines about a request an answer goes before a refusal, and the first before the second. What a batch
    cost is what the provider says; where it does not, what the lines say, each request once.

    Parameters
    ----------
    books : Ledger
        Knows the files.
    chunk : Chunk
        All its batches have ended.
    constrain : {'json', 'off'}
        How the answers were held to the candidates.
    candidates : mapping of str to label paths, or None
        Of the requests whose answers are wanted. With None it is only told which requests have one, which is quicker.
    scrub : callable
        Takes out of an error what nobody is to read.
    """
    asked = dict.fromkeys(name for name, _ in chunk_lines(books, chunk))
    taken, counts = Taken(), Counter[str]()
    for batch in chunk.sent.values():
        own: dict[str, Completion] = {}
        for path in books.outputs(chunk, batch.id):
            _read_file(path, asked, constrain, candidates, taken, own, counts, scrub)
        if batch.turned_away:
            continue
        read, written = batch.usage or (0, 0)
        counts["read"] += max(read, sum(completion.prompt_tokens for completion in own.values()))
        counts["written"] += max(written, sum(completion.completion_tokens for completion in own.values()))
        if batch.usage is None:
            unsure = len(asked) - len(own)
            counts["unsure"] += unsure
            counts["read"] += math.ceil(chunk.load.most_read * unsure / chunk.rows)
            counts["written"] += math.ceil(chunk.load.most_written * unsure / chunk.rows)
    for name in asked:
        found = taken.outcomes.get(name)
        kind = "missing" if found is None else found.kind
        counts["answers" if kind == "answer" else kind] += 1
        counts["cut"] += found is not None and found.cut
        counts["lost"] += found is None
        if kind == "missing":
            taken.missing.append(name)
    taken.counts = dict(counts)
    return taken


def _read_file(
    path: Path,
    asked: Mapping[str, None],
    constrain: Constrain,
    candidates: Mapping[str, Sequence[LabelPath]] | None,
    taken: Taken,
    own: dict[str, Completion],
    counts: Counter[str],
    scrub: Callable[[str], str],
) -> None:
    for line in output_lines(path):
        if line is None:
            counts["damaged"] += 1
            continue
        name = line["custom_id"]
        if name not in asked:
            counts["unknown"] += 1
            continue
        request = Request(name, [], list((candidates or {}).get(name, ())))
        found = outcome(request, line, constrain, probabilities=candidates is not None)
        if found.completion.error is not None:
            found = replace(found, completion=replace(found.completion, error=scrub(found.completion.error)))
        if name in own:
            counts["repeated"] += 1
        if name not in own or own[name].error is not None:
            own[name] = found.completion
        before = taken.outcomes.get(name)
        if before is None or _RANK[found.kind] > _RANK[before.kind]:
            taken.outcomes[name] = found
