"""What goes wrong while the command works: kills, broken files, a provider's faults, two at once, full disks, size.

    python -m benchmarks.chaos [--parts kills,mutations,provider,pairs,limits] [--scale 1] [--seed 0] [--only CASE]
                               [--out FOLDER] [--markdown docs/reliability.md]

Everything is drawn from the seed: a case that failed is told by its name, and ``--parts mutations --only 0:17`` does
it again. What failed is printed as it happens; `--out` keeps all of it in ``failures.txt``. Exit code 1 says that
something failed that must hold. Without ``scale``, which takes hours, it is half an hour of two cores. `--markdown`
writes the table into a page, between the lines ``<!-- chaos -->`` and ``<!-- /chaos -->``.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

# Before anything computes: each job has one thread, so that it can be forked, and as many jobs run as there are cores.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")

from benchmarks.chaos.findings import Row, kinds, table
from benchmarks.chaos.forker import Forker, forkers
from benchmarks.chaos.kills import kills
from benchmarks.chaos.limits import limits
from benchmarks.chaos.mutations import mutations
from benchmarks.chaos.pairs import pairs
from benchmarks.chaos.provider import provider
from benchmarks.chaos.scale import PIECES, scale
from benchmarks.chaos.shelf import Shelf, stocked

Part = Callable[[Shelf, list[Forker], float, int, list[str]], list[Row]]
PARTS: dict[str, Part] = {"kills": kills, "mutations": mutations, "pairs": pairs, "limits": limits}
EVERY = (*PARTS, "provider", "scale")
BEGIN, END = "<!-- chaos -->", "<!-- /chaos -->"


def _told(rows: list[Row], given: argparse.Namespace, seconds: float) -> str:
    """Return the table, and what it was made with."""
    day = f"{datetime.now(UTC):%d %B %Y}".lstrip("0")
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {day}, {seconds / 60:.0f} minutes"
    share = "" if given.scale == 1 else f" --scale {given.scale:g}"
    command = f"python -m benchmarks.chaos --parts {given.parts} --seed {given.seed}{share}"
    lines = [table(rows), "", f"`{command}`: {machine}."]
    lines += ["", *(f"- {row.name}: {told}" for row in rows if (told := _notes(row)))]
    return "\n".join(lines).rstrip() + "\n"


def _notes(row: Row) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(row.notes.items()))


def _write_page(page: Path, text: str) -> None:
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page}: has no {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")


def _carry_out(parts: list[str], given: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []

    def add(name: str, made: list[Row], started: float) -> None:
        for row in made:
            row.seconds = time.monotonic() - started
            print(f"{name}: {row.name}: {row.count:,} cases, {len(row.failures)} failed; {_notes(row)}", flush=True)
        rows.extend(made)

    needed = [name for name in parts if name in PARTS]
    if needed:
        with tempfile.TemporaryDirectory(prefix="chaos-shelf-") as scratch, forkers(given.processes) as ready:
            print("making what the cases work on ...", flush=True)
            with stocked(Path(scratch), ready[0]) as shelf:
                for name in needed:
                    print(f"{name} ...", flush=True)
                    started = time.monotonic()
                    add(name, PARTS[name](shelf, ready, given.scale, given.seed, given.only), started)
    if "provider" in parts:
        print("provider ...", flush=True)
        started = time.monotonic()
        add("provider", provider(given.scale, given.seed, given.processes, given.only), started)
    if "scale" in parts:
        print("scale ...", flush=True)
        started = time.monotonic()
        add("scale", scale(given.scale, given.pieces.split(",")), started)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = ",".join(name for name in EVERY if name != "scale")
    parser.add_argument("--parts", default=usual, help=f"of {', '.join(EVERY)}; default: {usual}")
    parser.add_argument("--pieces", default=",".join(PIECES), help=f"of scale: {', '.join(PIECES)}; default: all")
    parser.add_argument("--scale", type=float, default=1.0, help="The part of all cases, and of all rows.")
    parser.add_argument("--only", action="append", default=[], help="Of one part, the case of this name alone.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="Cases at once.")
    parser.add_argument("--out", type=Path, help="A folder for failures.txt and table.md.")
    parser.add_argument("--markdown", type=Path, help="A page that gets the table.")
    given = parser.parse_args()
    parts = given.parts.split(",")
    if unknown := [name for name in parts if name not in EVERY]:
        parser.error(f"no such part: {', '.join(unknown)}; there are: {', '.join(EVERY)}")
    started = time.monotonic()
    rows = _carry_out(parts, given)
    failures = [failure for row in rows for failure in row.failures]
    text = _told(rows, given, time.monotonic() - started)
    print(f"\n{text}")
    for count, failure in kinds(failures):
        print(f"{count} times, first as\n{failure.told()}")
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "table.md").write_text(text)
        (given.out / "failures.txt").write_text("".join(f"{failure.part}\n{failure.told()}\n" for failure in failures))
    if given.markdown is not None:
        _write_page(given.markdown, text)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
