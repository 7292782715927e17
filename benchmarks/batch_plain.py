"""Batches as scripts mostly do them: files of 50,000 rows, sent, waited for, the output file read. No books.

What it loses or pays twice is what `benchmarks/batch.py` compares with.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path

import openai

ROWS = 50_000
ENDED = ("completed", "failed", "expired", "cancelled")


def ask(api: openai.OpenAI, lines: Iterable[bytes], folder: Path, *, poll: float) -> dict[str, str]:
    """Return the answers by custom_id: those in the output files of batches that completed.

    Parameters
    ----------
    api : openai.OpenAI
        The client, with the retries that it has by itself.
    lines : iterable of bytes
        Requests, as a batch file has them.
    folder : Path
        Gets the files.
    poll : float
        Seconds between two looks.
    """
    batches = []
    for number, part in enumerate(_parts(lines)):
        path = folder / f"plain-{number}.jsonl"
        path.write_bytes(b"".join(part))
        with open(path, "rb") as stream:
            file = api.files.create(file=stream, purpose="batch")
        batches.append(
            api.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        )
    answers: dict[str, str] = {}
    for batch in batches:
        while batch.status not in ENDED:
            time.sleep(poll)
            batch = api.batches.retrieve(batch.id)
        if batch.status != "completed" or batch.output_file_id is None:
            continue
        for line in api.files.content(batch.output_file_id).text.splitlines():
            try:
                row = json.loads(line)
                answers[row["custom_id"]] = row["response"]["body"]["choices"][0]["message"]["content"]
            except (ValueError, LookupError, TypeError):
                continue
    return answers


def _parts(lines: Iterable[bytes]) -> Iterable[list[bytes]]:
    part: list[bytes] = []
    for line in lines:
        part.append(line)
        if len(part) == ROWS:
            yield part
            part = []
    if part:
        yield part
