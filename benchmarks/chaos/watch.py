"""What a process does, seen from within: what it writes and connects to, and the events at which it may be killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from benchmarks.chaos.jobs import Job

WRITING: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.rename": ((0, 2), (1, 3)),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.truncate": ((0, None),),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.chmod": ((0, 2),),
    "os.utime": ((0, 3),),
}
"""Of each audit event, which of its values are paths that are written, and which the folders that these begin in."""
EVENTS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir"}
HARMLESS = ("/dev/null", "/dev/tty", "/dev/shm/", "/proc/self/", "/proc/thread-self/")
LOCAL = ("127.0.0.1", "::1", "localhost", "")


class Watch:
    """Sees what a process writes and where it connects to, and kills it at an event."""

    def __init__(self, job: Job, place: Path) -> None:
        self.me, self.kill = os.getpid(), job.kill
        self.left = job.kill.at if job.kill is not None else 0
        self.record = os.open(place / "events", os.O_WRONLY | os.O_CREAT)
        self.folder, self.busy = str(job.folder), False
        self.allowed = (*(str((job.folder / name).resolve()) for name in job.writes), str(place))

    def event(self) -> None:
        if os.getpid() != self.me:  # a helper
            return
        os.write(self.record, b"e")
        self.left -= 1
        if self.left == 0 and self.kill is not None:
            os.write(self.record, b"k")
            (os.killpg if self.kill.target == "group" else os.kill)(self.me, signal.SIGKILL)

    def audit(self, what: str, given: tuple[Any, ...]) -> None:
        if self.busy:
            return
        if what == "open":
            path, mode, flags = given
            written = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if not written or isinstance(path, int):
                return
            self.seen(path, event=isinstance(mode, str))
        elif what in WRITING:
            for place, beside in WRITING[what]:
                folder = -1 if beside is None else given[beside]
                self.seen(given[place], event=what in EVENTS and place == 0, folder=folder)
        elif what == "socket.connect" and isinstance(given[1], tuple) and given[1][0] not in LOCAL:
            self.outside(f"connects to {given[1][0]}:{given[1][1]}")

    def seen(self, path: Any, *, event: bool, folder: int = -1) -> None:
        if isinstance(path, int):
            return
        self.busy = True
        try:
            name = Path(os.fsdecode(path))
            name = name if folder < 0 else Path(f"/proc/self/fd/{folder}").readlink() / name
            # The name itself may be a link that is made, moved or removed: only what leads to it is followed.
            real = str(name.parent.resolve() / name.name)
            if not real.startswith(HARMLESS) and not self.may(real):
                self.outside(real)
        finally:
            self.busy = False
        if event and real.startswith(self.folder):
            self.event()

    def may(self, path: str) -> bool:
        """Tell whether a path may be written: it is allowed, in or above what is, or a temporary name beside it."""
        return any(
            path == one or path.startswith((f"{one}/", f"{one.rpartition('/')[0]}/.")) or one.startswith(f"{path}/")
            for one in self.allowed
        )

    def outside(self, what: str) -> None:
        os.write(self.record, f"\n{what}\n".encode(errors="replace"))


class Halves:
    """A file that writes half of what it is given at a time, and counts that as an event."""

    def __init__(self, stream: Any, watch: Watch) -> None:
        self.stream, self.watch = stream, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, data: Any) -> int:
        count: int = self.stream.write(data if len(data) < 200 else data[: len(data) // 2])
        self.watch.event()
        return count
