"""What to do next, as far as the working folder tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.errors import ShelfmarkError
from classify.next_commands import next_commands

if TYPE_CHECKING:
    from submissions.scoreboard import ScoreRow

ALWAYS = """\
classify doctor shows what can run on this machine, and how to enable the rest.
classify --help shows the options, classify COMMAND --help those of one command.
classify --install-completion has your shell complete commands, options and names."""
TRAIN, LABELS, TEST = "train.features", "train.labels", "test.features"


def first_steps(folder: Path) -> str:
    """Return what to do next in a folder: go on with a run, use the data that are there, or make some up."""
    steps = []
    last = _last_run(folder / "runs")
    if last is not None:
        steps.append(_told(*_of_run(last[0].relative_to(folder), last[1], folder)))
    job = "classify --strategy tree --train {0} --test {1} --run runs/" + ("first" if last is None else "next")
    here = {name for name in (TRAIN, LABELS, TEST) if (folder / name).is_file()}
    if here == {TRAIN, LABELS, TEST}:
        steps.append(_told("With the data here", job.format(TRAIN, TEST)))
    elif {TRAIN, LABELS} <= here:
        steps.append(_told(f"{TRAIN} is here; give the products to classify as TEST", job.format(TRAIN, "TEST")))
    elif TRAIN in here:
        steps.append(f"{TRAIN} is here, and {LABELS} is to be put beside it.")
    elif TEST in here:
        steps.append(_told(f"{TEST} is here; give labelled products as TRAIN", job.format("TRAIN", TEST)))
    elif all((folder / "sample" / name).is_file() for name in (TRAIN, LABELS, TEST)):
        steps.append(_told("With the data here", job.format(f"sample/{TRAIN}", f"sample/{TEST}")))
    else:
        made = "classify sample --rows 20000 --test-rows 2000 --out sample"
        then = () if last is not None else ("classify submit runs/first",)
        commands = (made, job.format(f"sample/{TRAIN}", f"sample/{TEST}"), *then)
        steps.append(_told("With data made up for trying it out", *commands))
    return "\n\n".join(["classify puts products on the right shelf.", *steps, ALWAYS])


def _told(what: str, *commands: str) -> str:
    return "\n".join([f"{what}:", "", *(f"  {command}" for command in commands)])


def _of_run(run: Path, manifest: dict[str, Any], folder: Path) -> tuple[str, ...]:
    """Return how a run stands, and the commands that go on from there."""
    commands = next_commands(run, manifest)
    if "finished" not in manifest:
        return "The last run here stopped before its end", *commands
    handed_in = _handed_in(folder / run)
    if handed_in is None:
        return "The last run here is finished", *commands
    looks = (f"classify report {run}", f"classify evaluate {run} LABELS")
    if handed_in.score is not None:
        return f"The last run here is submitted, and scored {handed_in.score:g}", *looks
    name = handed_in.file_name.removesuffix(".zip")
    return "The last run here is submitted", *looks, f"classify submit --score SCORE --of {name}"


def _handed_in(run: Path) -> ScoreRow | None:
    """Return the newest row of the scoreboard that is of a run."""
    from submissions.scoreboard import read_scoreboard  # which loads much; where nothing is finished it is not needed

    try:
        rows = read_scoreboard(run.parent / "scoreboard.csv")
    except (OSError, ShelfmarkError):  # here nobody asked about it
        return None
    return next((row for row in reversed(rows) if (run / row.file_name).is_file()), None)


def _last_run(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the run that was begun last, and its manifest."""
    begun = []
    for file in folder.glob("*/manifest.json"):
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
            begun.append((str(manifest["started"]), file.parent, {"engine": "", "stages": {}, **manifest}))
        except (OSError, ValueError, KeyError, TypeError):  # no run of ours; here nobody asked about it
            continue
    return max(begun, key=lambda one: one[:2])[1:] if begun else None
