"""What a page says of the run itself: what it was told, what made it, what it took."""

from __future__ import annotations

import re
import shlex
from typing import Any

from classify.rundir import RunDirectory
from classify.tables import add_answers

Pairs = list[tuple[str, str]]
_WHO = re.compile(r"(?<=://)[^/@\s]+@")


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
    if not manifest.get("asking") or manifest["engine"] == "neighbours":
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


def command(run: RunDirectory) -> str:
    """Return the command that began the run, as it is typed; without a name or password in an address."""
    words = run.manifest["command"]
    return _WHO.sub("", shlex.join(["classify" if words[0].startswith("cli.py") else words[0], *words[1:]]))


def _pairs(values: dict[str, Any]) -> Pairs:
    return [(name.replace("_", "-"), _shown(value)) for name, value in values.items()]


def _shown(value: Any) -> str:
    if value is None or value == "" or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return _WHO.sub("", str(value))
