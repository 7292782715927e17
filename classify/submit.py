"""From a run to a submission: the zip, checked against the test file, and its row on the scoreboard."""

from __future__ import annotations

from pathlib import Path

from catalog.errors import ShelfmarkError
from classify.run import Run
from submissions.archive import Submission, check_name, validate_archive, write_submission
from submissions.scoreboard import add_row


def submit_run(run: Run, name: str | None, test: Path | None, board: Path) -> Submission:
    """Write ``RUN/NAME.zip``, read it back to check it, and add it to the scoreboard.

    Parameters
    ----------
    run : Run
        With predictions.
    name : str or None
        The submission's name; the run's folder name where it is None.
    test : Path or None
        The test file that every row must match; the run's own copy where it is None.
    board : Path
        The scoreboard.

    Raises
    ------
    ShelfmarkError
        When the run has no predictions, or they do not match the test file.
    """
    if not run.predictions.is_file():
        raise ShelfmarkError(f"{run.folder}: no predictions yet; finish it with classify resume {run.folder}")
    name = check_name(name or run.folder.resolve().name)
    test = test or run.test
    archive = run.folder / f"{name}.zip"
    write_submission(run.predictions, test, run.schema, archive, name)
    made = validate_archive(archive, test, run.schema, name)
    add_row(board, name, made.size)
    return made
