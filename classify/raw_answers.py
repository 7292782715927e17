"""Raw answers to be snapped: of files, and of run directories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from catalog.errors import ShelfmarkError
from catalog.messages import RowId
from catalog.schema import SEPARATOR, Schema
from classify.asking import ANSWERS
from classify.asking import read_answers as read_completions
from classify.recorded_lines import read_requests
from classify.rundir import RunDirectory
from postprocess.answers import Answers, read_answers, row_id
from postprocess.forms import whole_signs


def raw_answers(places: Sequence[Path], schema: Schema) -> Answers:
    """Read the raw answers of one run directory, or of one or several files (see `postprocess.read_answers`).

    Raises
    ------
    ShelfmarkError
        When a file is wrong, an id has two answers, or a run has none.
    """
    folders = [place for place in places if place.is_dir()]
    if not folders:
        return read_answers(places, schema)
    if len(places) > 1:
        raise ShelfmarkError(f"{folders[0]}: a run directory; give it alone, or files")
    return _of_run(folders[0])


def _of_run(folder: Path) -> Answers:
    """Return the answers to a run's requests, not those about held-out rows; a request without one is an error."""
    if (folder / "manifest.json").is_file():
        RunDirectory.open(folder).request_files()
    requests = folder / "requests.jsonl"
    for file in (requests, folder / ANSWERS):
        if not file.is_file():
            raise ShelfmarkError(f"{folder}: no {file.name}: not the directory of a run that has asked for answers")
    found = read_completions(folder)
    said: dict[RowId, str | None] = {}
    for request in read_requests(requests):
        name = row_id(request.id)
        completion = found.get(request.id)
        if not request.messages and request.candidates:
            said[name] = SEPARATOR.join(request.candidates[0])  # settled without being asked about
        elif completion is None or completion.error is not None:
            said[name] = None
        else:
            said[name] = whole_signs(completion.text)
    return Answers(said)
