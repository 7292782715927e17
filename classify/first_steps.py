"""What to do next, as far as the working folder tells."""

from __future__ import annotations

import json
from pathlib import Path

ALWAYS = """\
classify doctor shows what can run on this machine, and how to enable the rest.
classify --help shows the options, classify COMMAND --help those of one command.
classify --install-completion has your shell complete commands, options and names."""


def first_steps(folder: Path) -> str:
    """Return what to do next in a folder: go on with a run, use the data that are there, or make some up."""
    steps = []
    run, finished = _last_run(folder / "runs")
    if run is not None:
        command, what = ("submit", "is finished") if finished else ("resume", "stopped before its end")
        steps.append(f"The last run here {what}:\n\n  classify {command} {run.relative_to(folder)}")
    data = next((place for place in (folder, folder / "sample") if _has_data(place)), None)
    job = "classify --strategy tree --train {0}train.features --test {0}test.features --run runs/{1}"
    name = "first" if run is None else "next"
    if data is not None:
        steps.append(f"With the data here:\n\n  {job.format('' if data == folder else 'sample/', name)}")
    else:
        made = "classify sample --rows 20000 --test-rows 2000 --out sample"
        then = "" if run is not None else "\n  classify submit runs/first"
        steps.append(f"With data made up for trying it out:\n\n  {made}\n  {job.format('sample/', name)}{then}")
    return "\n\n".join(["classify puts products on the right shelf.", *steps, ALWAYS])


def _has_data(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("train.features", "train.labels", "test.features"))


def _last_run(folder: Path) -> tuple[Path | None, bool]:
    """Return the run that was begun last, and whether it is finished."""
    begun = []
    for file in folder.glob("*/manifest.json"):
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
            begun.append((str(manifest["started"]), file.parent, "finished" in manifest))
        except (OSError, ValueError, KeyError, TypeError):  # no run of ours; here nobody asked about it
            continue
    return max(begun)[1:] if begun else (None, False)
