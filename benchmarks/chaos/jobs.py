"""A command to carry out, how it dies or starves, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

PATIENCE = 60.0
"""Seconds after which a command counts as hanging."""
Target = Literal["group", "parent", "helper"]


@dataclass(frozen=True)
class Kill:
    """A death (SIGKILL): of the whole process group, of the command alone, or of one of its helpers.

    `at` is an event: a half-written block of lines, a file or folder that is opened for writing, renamed, made or
    removed, or a call of a provider's or its answer. Else it comes `after` so many seconds; with `helpers`, so many
    seconds after the command has helpers.
    """

    target: Target = "group"
    at: int = 0
    after: float = 0.0
    helpers: bool = False


@dataclass(frozen=True)
class Job:
    """A command to carry out.

    Attributes
    ----------
    arguments : tuple of str
        Of ``classify``.
    folder : Path
        Where it is carried out; relative paths begin there.
    writes : tuple of str
        What it may write, relative to `folder`: files, and folders with all that is in them.
    environment : dict
        Variables to set.
    kill : Kill, optional
        When it dies.
    block : int, optional
        Rows that are worked on at once.
    page : bool
        Whether a run that is done is drawn as a page.
    share : int, optional
        So many answers are worth a helper process.
    file_bytes, files, memory_mib : int, optional
        Limits: of the size of a file, of open files, of memory beyond what there is at the start.
    limit : float
        Seconds after which it hangs.
    """

    arguments: tuple[str, ...]
    folder: Path
    writes: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    kill: Kill | None = None
    block: int | None = None
    page: bool = False
    share: int | None = None
    file_bytes: int | None = None
    files: int | None = None
    memory_mib: int | None = None
    limit: float = PATIENCE

    def line(self) -> str:
        """Return the command line."""
        return " ".join(["classify", *self.arguments])


@dataclass(frozen=True)
class Ended:
    """How a job ended: negative codes are signals.

    `trace` is the traceback of a bug, `outside` what was written where nothing may be, `orphans` how many helpers
    lived on after the command had ended, `hit` tells whether the kill came in time, and `cpu` are processor seconds.
    """

    code: int
    out: str
    err: str
    seconds: float
    events: int
    outside: tuple[str, ...]
    trace: str = ""
    hung: bool = False
    hit: bool = False
    orphans: int = 0
    cpu: float = 0.0
