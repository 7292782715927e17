"""What a page says of the run itself: what it was told, what made it, what it took."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError
from catalog.files import content_hash
from classify.cost_rows import dollars
from classify.provenance import without_secrets
from classify.rundir import NO_LLM, RunDirectory
from classify.tables import add_answers

Pairs = list[tuple[str, str]]


class _Listed:
    """Takes the lines of a table as pairs."""

    def __init__(self) -> None:
        self.pairs: Pairs = []

    def add_row(self, *cells: Any) -> None:
        name, value = map(str, cells)
        self.pairs.append((name, value))


def about(run: RunDirectory) -> dict[str, Pairs]:
    """Return tables of two columns by their titles: what was chosen, time and money, versions, inputs."""
    manifest = run.manifest
    options = {**manifest["options"], "seed": manifest.get("seed"), "limit": manifest["limit"]}
    chosen = [("strategy", manifest["strategy"]), *_pairs(options)]
    if manifest["engine"]:
        chosen += [("engine", manifest["engine"]), *_pairs(manifest.get("engine_options", {}))]
    chosen += _pairs({name: manifest.get(name) for name in ("max_cost", "gpu_price", "prices") if manifest.get(name)})
    taken = _Listed()
    for stage, done in manifest["stages"].items():
        speed = f" ({done['rows'] / done['seconds']:,.0f} rows/s)" if done["seconds"] >= 0.1 else ""
        taken.add_row(stage, f"{done['seconds']:,.1f} s{speed}")
    add_answers(taken, manifest)
    if "runs" in manifest:
        paid = _paid(manifest)
        if paid is not None:
            taken.add_row("cost of the runs voted over", dollars(paid))
    elif not manifest.get("asking") or manifest["engine"] == NO_LLM:
        taken.add_row("money", "none: nobody was paid for answers")
    for name in ("started", "finished"):
        if manifest.get(name):
            taken.add_row(name, manifest[name].replace("T", " ").replace("+00:00", " UTC"))
    versions: Pairs = [("Python", manifest["python"]), *manifest["packages"].items()]
    versions += [("platform", manifest["platform"]), ("source", manifest["commit"] or "not known")]
    inputs: Pairs = []
    if manifest.get("train"):
        inputs.append(("train", ", ".join(manifest["train"])))
    if manifest.get("model"):
        inputs.append(("model", manifest["model"]))
    inputs += [("run", str(folder)) for folder in manifest.get("runs", [])]
    inputs += [(f"{name}, SHA-256", digest) for name, digest in manifest["inputs"].items()]
    return {"Options": chosen, "Time and money": taken.pairs, "Versions": versions, "Inputs": inputs}


def _paid(manifest: dict[str, Any], within: frozenset[str] = frozenset()) -> float | None:
    """Return what a run's answers cost, or those of the runs it was voted over; None where nobody can tell."""
    if "runs" not in manifest:
        asking = manifest.get("asking")
        return asking.get("cost") if asking and manifest["engine"] != NO_LLM else 0.0
    costs = []
    for number, folder in enumerate(manifest["runs"], 1):
        if folder in within:  # a damaged manifest: a run that was voted over itself
            return None
        try:
            run = RunDirectory.open(Path(folder))
            same = content_hash(run.predictions) == manifest["inputs"].get(f"predictions {number}")
        except (ShelfmarkError, OSError):
            return None
        costs.append(_paid(run.manifest, within | {folder}) if same else None)
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def command(run: RunDirectory) -> str:
    """Return the command that began the run, as it is typed; without the secrets of an address."""
    words = run.manifest["command"]
    name = "classify" if words[0].startswith("cli.py") else words[0]
    return shlex.join([name, *map(without_secrets, words[1:])])


def _pairs(values: dict[str, Any]) -> Pairs:
    return [(name.replace("_", "-"), _shown(value)) for name, value in values.items()]


def _shown(value: Any) -> str:
    if value is None or value == "" or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(without_secrets(str(one)) for one in value)
    return without_secrets(str(value))
