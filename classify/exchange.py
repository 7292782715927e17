"""Requests out to files that others answer (the OpenAI Batch API, vLLM's run-batch), and their answers back in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, nearest
from catalog.files import atomic_write
from catalog.messages import Completion
from catalog.text_lines import text_lines
from classify.asking import ANSWERS, read_answers, read_requests, unanswered
from classify.engines.base import ApiOptions
from classify.engines.batch_files import MOST_BYTES, MOST_ROWS, outcome, request_line
from classify.engines.beside import decode
from classify.lines import GrowingLines, count_lines
from classify.names import STAGES
from classify.questions import asked_options
from classify.run import Run
from classify.rundir import IMPORTED, NO_LLM
from classify.strategies.base import check_options

FORMATS = ("openai-batch",)
_EXPORTED = re.compile(r"requests-(\d{3,})\.jsonl")


def export_requests(run: Run, folder: Path, format: str, given: dict[str, Any]) -> list[tuple[Path, int]]:
    """Write the requests of a run that have no answer, or an error for one.

    Parameters
    ----------
    run : Run
        With its requests written.
    folder : Path
        Gets ``requests-001.jsonl`` and so on, each of 50,000 requests and 200 MB at most; older ones are replaced.
    format : str
        One of `FORMATS`.
    given : dict
        Options of the model (`ApiOptions`); what they leave out is as in the run. The answer is constrained by ``json``
        unless they say otherwise: OpenAI knows no ``choice``.

    Returns
    -------
    list of (Path, int)
        Each file and how many requests it holds.

    Raises
    ------
    ShelfmarkError
        When there are no requests, or none without an answer, no model is named, levels are asked for one by one, or
        batches of them are at a provider.
    """
    if format not in FORMATS:
        raise ShelfmarkError(f"--format {format}: unknown{nearest(format, FORMATS)}; there are: {', '.join(FORMATS)}")
    if run.manifest["options"].get("ask_by") == "level":
        raise ShelfmarkError(
            "--ask-by level asks each question by the answer before; a file of requests cannot do that"
        )
    run.request_files()
    run.require_no_batches()
    engine = run.manifest["engine_options"] if given.get("llm") else asked_options(run)
    kept = {name: engine.get(name) for name in ("llm", "temperature", "max_tokens", "stop")}
    given = {"constrain": "json", **{name: value for name, value in kept.items() if value is not None}, **given}
    options = check_options(ApiOptions, "export", given)
    if not options.llm:
        raise ShelfmarkError("--llm NAME: name the model; it stands in every request of the file")
    with run.locked():
        run.mend()
        waiting = unanswered(run.folder, run.request_files(), again=True)
        first = next(waiting, None)
        if first is None:
            raise ShelfmarkError(
                f"{run.folder}: every request has an answer; carry on with classify resume {run.folder}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        form = run.answer_form()
        lines = (request_line(request, options, form) for request in chain([first], waiting))
        written = _write_files(lines, folder)
        run.record(exported={"llm": options.llm, "constrain": options.constrain})
    return written


def _write_files(lines: Iterator[bytes], folder: Path) -> list[tuple[Path, int]]:
    """Write the lines to as many files as the limits ask for; files of an earlier export go."""
    written: list[tuple[Path, int]] = []
    line = next(lines, None)
    while line is not None:
        file = folder / f"requests-{len(written) + 1:03d}.jsonl"
        rows = size = 0
        with atomic_write(file, binary=True) as out:
            while line is not None and rows < MOST_ROWS and size + len(line) <= MOST_BYTES:
                out.write(line)
                rows, size = rows + 1, size + len(line)
                line = next(lines, None)
        written.append((file, rows))
    for file in folder.iterdir():
        number = _EXPORTED.fullmatch(file.name)
        if number and int(number[1]) > len(written):
            file.unlink()
    return written


def import_answers(run: Run, files: Iterable[Path]) -> str:
    """Record answers from files: the Batch API's output and error files or run-batch's, in any order, whole or in part.

    Nothing is recorded unless every file can be read. An answer goes before an error, the first of two answers before
    the second; what is recorded already stays, but an answer takes the place of an error.

    Returns
    -------
    str
        What was taken and what is missing, for people.

    Raises
    ------
    ShelfmarkError
        When a file is missing or no such output, nothing in them belongs to the run, or batches of it are in flight.
    """
    with run.locked():
        run.mend()
        run.require_no_batches()
        if run.manifest["engine"] == NO_LLM and count_lines(run.folder / ANSWERS):
            raise ShelfmarkError(
                f"{run.folder}: the retriever has answered; delete completions.jsonl to import a model's answers"
            )
        wanted = {request.id: request for request in read_requests(run.request_files())}
        constrain = run.manifest.get("exported", {}).get("constrain", "json")
        found: dict[str, Completion] = {}
        unknown = twice = 0
        for name, line in _outputs(files):
            request = wanted.get(name)
            if request is None:
                unknown += 1
                continue
            answer = outcome(request, line, constrain).completion
            if name in found and (answer.error is None) <= (found[name].error is None):
                twice += 1
                continue
            found[name] = answer
        if not found:
            raise ShelfmarkError(f"{run.folder}: nothing in the files answers a request of this run ({unknown} others)")
        known = read_answers(run.folder) if (run.folder / ANSWERS).exists() else {}
        fresh = [
            answer
            for answer in found.values()
            if answer.id not in known or (known[answer.id].error is not None and answer.error is None)
        ]
        with GrowingLines(run.folder / ANSWERS) as lines:
            lines.append(answer.to_dict() for answer in fresh)
        run.forget(STAGES[1:])
        if run.manifest["engine"] == NO_LLM:
            run.record(engine=IMPORTED, engine_options={}, deterministic=False)
        errors = sum(answer.error is not None for answer in fresh)
        missing = sum(1 for _ in unanswered(run.folder, run.request_files()))
    said = f"{len(fresh) - errors:,} answers taken, {errors:,} errors"
    said += f"; {unknown:,} of other runs" if unknown else ""
    said += f"; {twice:,} given twice" if twice else ""
    said += f"; {len(found) - len(fresh):,} known already" if len(found) > len(fresh) else ""
    if missing:
        return (
            f"{said}; {missing:,} requests have no answer yet: import more, or classify export {run.folder} writes them"
        )
    return f"{said}; none is missing: carry on with classify resume {run.folder}"


def _outputs(files: Iterable[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in files:
        for number, text in text_lines(file):
            if text.strip():
                yield _output(text.strip(), f"{file}, line {number}")


def _output(text: str, where: str) -> tuple[str, dict[str, Any]]:
    try:
        line = decode(text)
    except ValueError as error:
        raise ShelfmarkError(f"{where}: not JSON ({error}); download the file again") from None
    if (
        not isinstance(line, dict)
        or not isinstance(line.get("custom_id"), str)
        or not line.keys() & {"response", "error"}
    ):
        raise ShelfmarkError(f"{where}: not a batch's output (custom_id with response or error); give the output file")
    return line["custom_id"], line
