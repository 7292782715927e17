"""Held-out rows: training rows that are asked about, as if they were new, because their labels are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.messages import Completion, LabelPath, Request
from classify.answers import MISSING, AnswerReader, confidence
from classify.joint import Joint
from classify.lines import GrowingLines
from classify.recorded_lines import read_labelled
from classify.trust import Trust

HELD_OUT = "calibration.jsonl"
"""Requests about held-out rows, each with its label."""
COMPARED = "comparison.jsonl"
"""The same for each of several numbers of neighbours."""
Labelled = tuple[Request, LabelPath]


def write_held_out(path: Path, held: Sequence[Labelled]) -> None:
    """Write requests with their labels, each once: the file is whole or absent."""
    partial = path.with_name(path.name + ".partial")
    with GrowingLines(partial, keep=0) as out:
        once = {request.id: (request, label) for request, label in held}
        out.append({**request.to_dict(), "label": list(label)} for request, label in once.values())
    partial.replace(path)


def read_held_out(path: Path) -> list[Labelled]:
    """Read what `write_held_out` wrote."""
    return list(read_labelled(path))


def learn_joint(held: Sequence[Labelled], answers: Mapping[str, Completion], reader: AnswerReader) -> Joint | None:
    """Learn from the answers to held-out rows how far to trust the engine; None where there are too few."""
    requests, said, labels = _answered(held, answers, candidates=True)
    paths = [path for path, _, _ in _paths(reader, requests, said)]
    return Joint.fit(requests, said, paths, labels)


def learn_trust(held: Sequence[Labelled], answers: Mapping[str, Completion], reader: AnswerReader) -> Trust | None:
    """Learn how sure to be of answers to requests without candidates; None where there are too few of them.

    An answer of no use is not among them: what takes its place has a confidence of 0.
    """
    requests, said, labels = _answered(held, answers, candidates=False)
    read = _paths(reader, requests, said)
    told = [
        (confidence(answer, sure), path == label)
        for answer, label, (path, _, sure) in zip(said, labels, read, strict=True)
        if path is not None
    ]
    return Trust.fit([raw for raw, _ in told], [right for _, right in told])


def _answered(
    held: Sequence[Labelled], answers: Mapping[str, Completion], *, candidates: bool
) -> tuple[list[Request], list[Completion], list[LabelPath]]:
    """Return the requests with candidates, or those without, that have an answer; the answers; the labels."""
    usable = [
        (request, answers[request.id], label)
        for request, label in held
        if bool(request.candidates) == candidates and request.id in answers and answers[request.id].error is None
    ]
    for request, answer, _ in usable:
        answer.check_answers(request)
    return [one[0] for one in usable], [one[1] for one in usable], [one[2] for one in usable]


def compare_top_k(
    held: Mapping[int, Sequence[Labelled]], answers: Mapping[str, Completion] | None, reader: AnswerReader
) -> dict[str, Any]:
    """Score each number of neighbours on held-out rows.

    Parameters
    ----------
    held : mapping of int to sequence of (Request, label)
        For each number of neighbours, the requests about the same rows.
    answers : mapping of request id to Completion, or None
        An engine's answers; None for the retriever's own.
    reader : AnswerReader
        Reads them.

    Returns
    -------
    dict
        ``chosen``, the best number, the smaller one where two are as good; and ``compared``: for each, item accuracy
        of the ``retriever``, of the ``answers`` and of both (``joint``), as far as there are any.
    """
    compared = []
    for top_k, pairs in held.items():
        scores: dict[str, Any] = {"top_k": top_k, "rows": len(pairs)}
        if all(request.candidates for request, _ in pairs):
            scores["retriever"] = _share([request.candidates[0] == label for request, label in pairs])
        if answers is not None:
            requests = [request for request, _ in pairs]
            said = [answers.get(request.id, MISSING) for request in requests]
            read = _paths(reader, requests, said)
            scores["answers"] = _share(
                [
                    (path or (request.candidates or [()])[0]) == label
                    for (path, _, _), (request, label) in zip(read, pairs, strict=True)
                ]
            )
            joint = learn_joint(pairs, answers, reader)
            if joint is not None:
                scores["joint"] = max(joint.report["joint"], joint.report["retriever"])
        compared.append(scores)
    best = max(compared, key=lambda scores: (_standing(scores), -scores["top_k"]))
    return {"chosen": best["top_k"], "compared": compared}


def _standing(scores: Mapping[str, Any]) -> float:
    return float(scores.get("joint", scores.get("answers", scores.get("retriever", 0.0))))


def _paths(
    reader: AnswerReader, requests: Sequence[Request], answers: Sequence[Completion]
) -> list[tuple[LabelPath | None, Any, float]]:
    nothing = [""] * len(requests)
    return reader.paths(requests, answers, nothing, nothing)


def _share(hits: Sequence[bool]) -> float:
    return round(sum(hits) / max(len(hits), 1), 6)
