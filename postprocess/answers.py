"""Files of raw answers, from wherever they come."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, listed
from catalog.messages import RowId
from catalog.schema import SEPARATOR, Schema
from catalog.tables import Row, read_table
from postprocess.forms import whole_signs

MOST_PARTS = 20
"""Parts of a message within parts, at most; no API answers with more than five."""
_HASHED_ID = re.compile(r"(.+)-([0-9a-f]{8})", re.DOTALL)


@dataclass
class Answers:
    """Raw answers, in the order in which their ids first occur.

    Parameters
    ----------
    said : dict of (int or str) to (str or None)
        The raw answer of each id; None where there was an error instead.
    """

    said: dict[RowId, str | None] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of answers."""
        return len(self.said)

    @property
    def ids(self) -> list[RowId]:
        """The ids."""
        return list(self.said)

    @property
    def texts(self) -> list[str]:
        """The raw answers; empty where there was an error instead."""
        return [text or "" for text in self.said.values()]

    @property
    def failed(self) -> set[int]:
        """The places of the answers that are errors."""
        return {place for place, text in enumerate(self.said.values()) if text is None}


def read_answers(paths: str | Path | Sequence[str | Path], schema: Schema) -> Answers:
    """Read the raw answers of one or several files.

    Parameters
    ----------
    paths : str, Path or sequence of them
        JSON lines, CSV or Parquet (text also gzipped) of one of these kinds, told apart row by row: the id column and
        ``answer``; the id column and the levels (a ``.predict`` file); lines of the Batch API's output and error files
        (``custom_id``, ``response``, ``error``); lines of a run's ``completions.jsonl`` (``id``, ``text``). The hash
        that a run appends to its request ids is taken off again, unless two ids of a file would then be the same, or
        all of the hashes are numbers.
    schema : Schema
        Names the id column and the levels.

    Returns
    -------
    Answers
        One for each id: an answer goes before an error, in one file or in several.

    Raises
    ------
    ShelfmarkError
        When a file or a row of it is none of these, or an id has two answers.
    """
    answers = Answers()
    places: dict[RowId, str] = {}
    found: list[tuple[RowId, str | None, str]] = []
    requests: list[set[RowId]] = []
    for path in [paths] if isinstance(paths, str | Path) else paths:
        requests.append(set())
        for row in read_table(path):
            column = _request_column(row, schema)
            name = row.id(column or schema.id)
            found.append((name, _answer(row, column, schema), f"{path}, {row.place}"))
            if column:
                requests[-1].add(name)
    own = _rows_asked(requests)
    for request, text, place in found:
        name = own.get(request, request)
        if answers.said.get(name) is None:
            answers.said[name] = None if text is None else whole_signs(text)
            places[name] = place
        elif text is not None:
            raise ShelfmarkError(
                f"{place}: the id {name!r} occurs twice, first in {places[name]}; one answer for each id"
            )
    return answers


def _rows_asked(files: Sequence[set[RowId]]) -> dict[RowId, RowId]:
    """Return the row's id of each request's; none where what is behind the ids of the files is no hash of a run's."""
    hashed = [match[2] for name in set().union(*files) if (match := _HASHED_ID.fullmatch(str(name)))]
    if len(hashed) > 1 and all(map(str.isdigit, hashed)):
        return {}  # dates or numbers: of several hashes, one or another has a letter
    own = [{name: row_id(name) for name in names} for names in files]
    if any(len(set(names.values())) < len(names) for names in own):
        return {}
    return {request: name for names in own for request, name in names.items()}


def row_id(request: RowId) -> RowId:
    """Return the row's id of a request's, which has a hash behind it; an id without one as it is."""
    match = _HASHED_ID.fullmatch(request) if isinstance(request, str) else None
    return Row("", "", {"id": match[1]}).id("id") if match else request


def _request_column(row: Row, schema: Schema) -> str | None:
    """Return the column with the id of a request, None where a row has an id of the user's own."""
    if "custom_id" in row.values:
        return "custom_id"
    completion = schema.id not in row.values and "id" in row.values and row.values.keys() & {"text", "error"}
    return "id" if completion else None


def _answer(row: Row, column: str | None, schema: Schema) -> str | None:
    """Return the raw answer of a row, None for an error."""
    values = row.values
    if column is not None:
        return _batch_answer(row) if column == "custom_id" else None if values.get("error") else _raw(row, "text")
    if "answer" in values:
        answer = values["answer"]
        return _written(row, "answer") if isinstance(answer, dict | list) else _raw(row, "answer")
    if any(level in values for level in schema.levels):
        path = [row.text(level, default="") for level in schema.levels]
        if all(path) and not any(SEPARATOR in value for value in path):
            return SEPARATOR.join(path)
        return json.dumps(dict(zip(schema.levels, path, strict=True)), ensure_ascii=False) if any(path) else ""
    raise row.fault(
        f"no answer here; it needs a column 'answer', or the levels ({', '.join(schema.levels)}), or to be a line of "
        f"Batch API output; columns here: {listed(values)}"
    )


def _written(row: Row, column: str) -> str:
    """Return an answer that was given as an object as the text of it, which is read like any other."""
    try:
        return json.dumps(row.values[column], ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # dates and decimals of a Parquet file; nested to Python's limit
        raise row.fault("it cannot be written as JSON; give the answer as text", column) from None


def _raw(row: Row, column: str) -> str:
    # A model's text is taken as it is; what the user's own columns may not hold is no fault of the file here.
    value = row.values.get(column)
    return value if isinstance(value, str) else row.text(column, default="")


def _batch_answer(row: Row) -> str | None:
    response = row.values.get("response")
    if row.values.get("error") or not isinstance(response, dict) or response.get("status_code", 200) != 200:
        return None
    body = response.get("body")
    body = body if isinstance(body, dict) else {}
    said = body.get("choices", body.get("output"))
    if not isinstance(said, list):
        raise row.fault("neither 'choices' nor 'output' in 'response.body': not a line of a batch's output")
    return "".join(_texts(said[:1] if "choices" in body else said)) if said else None


def _texts(said: Any, within: int = 0) -> Iterator[str]:
    """Yield what a message says: its text, the parts of it, or the arguments of the function that it calls."""
    if within > MOST_PARTS:
        return
    if isinstance(said, str):
        yield said
    elif isinstance(said, list):
        for part in said:
            yield from _texts(part, within + 1)
    elif isinstance(said, dict):
        for name in ("message", "content", "text", "tool_calls", "function", "arguments"):
            yield from _texts(said.get(name), within + 1)
