"""Commands without room: a disk that is full, few open files, little memory; and once there is room, they go on."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.chaos.findings import Failure, Goal, Outcome, Row
from benchmarks.chaos.forker import Forker
from benchmarks.chaos.jobs import Ended, Job
from benchmarks.chaos.judge import in_parallel, judge
from benchmarks.chaos.kills import WORKS, Place, Work, answered_twice, servers
from benchmarks.chaos.shelf import Shelf

PART = "limits"
ALL = 90
KINDS = ("disk", "files", "memory")
LARGEST = {"disk": 400_000, "files": 60, "memory": 64}


@dataclass(frozen=True)
class Limited:
    """A work with so little of something: bytes of disk or of a file, open files, or MiB of memory."""

    name: str
    work: Work
    kind: str
    room: int


def _cases(count: int, seed: int) -> Iterator[Limited]:
    draw = random.Random(f"limits {seed}")
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        work = WORKS[number // len(KINDS) % len(WORKS)]
        # From hardly anything to nearly enough, by orders of magnitude.
        room = round(LARGEST[kind] ** draw.uniform(0.3, 1))
        yield Limited(f"{seed}:{number}", work, kind, max(room, 2))


@contextmanager
def _small_disk(folder: Path, room: int) -> Iterator[bool]:
    """Have a folder on a disk of its own with so many bytes of room, where this process may mount one."""
    options = ["-t", "tmpfs", "-o", f"size={room // 4096 * 4096 + 4096}"]
    try:
        mounted = subprocess.run(["mount", *options, "tmpfs", str(folder)], capture_output=True).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def _size(folder: Path) -> int:
    """Return how many bytes a folder takes, by whole pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 + 4096 for path in folder.rglob("*"))


def _starved(place: Place, case: Limited, fork: Forker, notes: Outcome) -> tuple[Job, Ended]:
    """Carry a work out with little room."""
    job = place.job()
    if case.kind == "files":
        job = replace(job, files=case.room)
    elif case.kind == "memory":
        job = replace(job, memory_mib=case.room)
    else:
        kept = place.folder.with_name("kept")
        shutil.copytree(place.folder, kept)
        with _small_disk(place.folder, _size(place.folder) + case.room) as mounted:
            if mounted:
                shutil.copytree(kept, place.folder, dirs_exist_ok=True)
                done = fork(job)
                shutil.rmtree(kept)
                shutil.copytree(place.folder, kept, symlinks=True)
                notes.notes["on a full disk"] += 1
        if not mounted:
            job = replace(job, file_bytes=max(case.room // 4, 1))
            notes.notes["under a limit of file sizes"] += 1
            shutil.rmtree(kept)
            return job, fork(job)
        shutil.rmtree(place.folder)
        kept.replace(place.folder)
        return job, done
    return job, fork(job)


def limits(shelf: Shelf, forkers: list[Forker], scale: float, seed: int, only: Collection[str] = ()) -> list[Row]:
    """Carry the part out."""
    count = max(round(ALL * scale), 1)
    rows = {
        "disk": Row("full disks"),
        "files": Row("few open files"),
        "memory": Row("little memory"),
    }
    cases = [case for case in _cases(count, seed) if not only or case.name in only]
    undisturbed: dict[str, dict[str, bytes]] = {}

    def whole(work: Work, fork: Forker) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="chaos-case-") as temporary, servers() as used:
            place = Place(work, Path(temporary) / "case", shelf, used)
            job = place.job()
            done = fork(job)
            undisturbed[work.name] = place.results()
        return Outcome("disk", 0, judge(PART, f"{work.name}, undisturbed", job, done))

    def one(case: Limited, fork: Forker) -> Outcome:
        outcome = Outcome(case.kind)
        told = f"case {case.name}, {case.work.name}, {case.room} of {case.kind}"
        with tempfile.TemporaryDirectory(prefix="chaos-case-") as temporary, servers() as used:
            place = Place(case.work, Path(temporary) / "case", shelf, used)
            job, done = _starved(place, case, fork, outcome)
            outcome.failures = judge(PART, told, job, done)
            outcome.notes["refused" if done.code == 2 else "done" if not done.code else "failed"] += 1
            job = place.job()
            done = fork(job)
            outcome.failures += judge(PART, f"{told}, then with room", job, done)
            names = place.differing(undisturbed[case.work.name])
            for what in (f"with room again, {', '.join(names)} is another" if names else "", answered_twice(place)):
                if what:
                    failure = Failure(PART, Goal.LOST, what, told, job.line(), (done.trace or done.err)[-1500:])
                    outcome.failures.append(failure)
        return outcome

    works = [work for work in WORKS if work.name in {case.work.name for case in cases}]
    in_parallel(works, forkers, whole, rows["disk"].add, total=len(works), what=f"{PART}, undisturbed")

    def add(outcome: Outcome) -> None:
        rows.get(outcome.row, rows["disk"]).add(outcome)

    in_parallel(cases, forkers, one, add, total=len(cases), what=PART)
    return list(rows.values())
