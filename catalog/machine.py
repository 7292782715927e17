"""What this machine has: cores, memory, GPUs. Within a container, what the container may use. Imports no library."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PATIENCE_SECONDS = 5


@dataclass(frozen=True)
class Gpu:
    """A GPU: its name, its memory in bytes, its driver's version."""

    name: str
    memory: float
    driver: str


def cores(root: Path = Path("/")) -> float:
    """Return how many cores this process may use; under a quota it need not be a whole number."""
    try:
        mine = float(len(os.sched_getaffinity(0)))
    except AttributeError:  # elsewhere than on Linux
        mine = float(os.cpu_count() or 1)
    for folder in _control_groups(root):
        words = _words(folder / "cpu.max") or [
            word for name in ("quota", "period") for word in _words(folder / f"cpu.cfs_{name}_us")
        ]
        if len(words) == 2 and all(word.isdigit() for word in words):  # without a quota: "max", or -1
            mine = min(mine, int(words[0]) / int(words[1]))
    return mine


def memory(root: Path = Path("/")) -> tuple[float, float]:
    """Return the bytes of memory that there are, and those that a process could get now."""
    try:
        lines = dict(line.split(":") for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines())
        total, free = (float(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        total = free = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for folder in _control_groups(root):
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            most, taken = _number(folder / limit), _number(folder / used)
            if most is not None:
                # The cache of files counts as used, and is given up when somebody needs the room.
                kept = (taken or 0.0) - _cached(folder / "memory.stat")
                total, free = min(total, most), min(free, max(most - kept, 0.0))
    return total, free


def gpus() -> list[Gpu]:
    """Return NVIDIA's GPUs, as their driver's own tool lists them; none where it is not there or does not answer."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS)  # noqa: S603 -- constant words
        rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
        return [Gpu(name, float(size) * 2**20, driver) for name, size, driver in rows]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def _control_groups(root: Path) -> Iterator[Path]:
    """Yield the folders in which Linux keeps the limits of this process, from its own upwards."""
    top = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        at = top / kinds / path.strip("/")
        while at != top.parent:
            yield at
            at = at.parent


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").split()
    except OSError:
        return []


def _number(file: Path) -> float | None:
    words = _words(file)
    return float(words[0]) if words and words[0].isdigit() else None


def _cached(file: Path) -> float:
    words = _words(file)
    at = words.index("inactive_file") if "inactive_file" in words else None
    return 0.0 if at is None else float(words[at + 1])
