"""A job that is killed: run as ``python killed_job.py FOLDER TRAIN TEST``, for test_resume.py.

Reads one word a line: ``whole NAME`` carries out the job in FOLDER/NAME, ``kill NAME N`` does, but the process is
killed (SIGKILL) at its Nth event, ``sleep NAME SECONDS`` kills it after a time. An event is a block of lines that is
half-written, or a file or folder that is opened for writing, renamed, made or removed in FOLDER. Answers with the
number of events, or with the signal that ended the process.

Each job is a process of its own, forked from this one, which has the imports done and nothing computed.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import IO, Any

import faiss  # noqa: F401
import pandas  # noqa: F401
import sklearn.feature_extraction.text
import sklearn.isotonic
import sklearn.linear_model  # noqa: F401

import classify.run
import postprocess.snap  # noqa: F401
import rag.vote
from catalog.schema import PRESETS
from classify.job import Job
from classify.lines import GrowingLines
from classify.run import Run
from classify.strategies.rag import RagOptions

classify.run.BLOCK_ROWS = 16
classify.run.FLUSH_SECONDS = 0.0
rag.vote.HELD_OUT_ROWS = 60
FOLDER, TRAIN, TEST = (Path(argument) for argument in sys.argv[1:])
EVENTS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir"}


class Counter:
    """Counts events and kills this process at one of them."""

    def __init__(self, last: int) -> None:
        self.count, self.last = 0, last

    def event(self) -> None:
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, name: str, arguments: tuple) -> None:
        written = name == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if (written or name in EVENTS) and str(arguments[0]).startswith(str(FOLDER)):
            self.event()


class Halves:
    """A file that writes half of what it is given, and counts that."""

    def __init__(self, stream: IO[bytes], counter: Counter, pause: float) -> None:
        self.stream, self.counter, self.pause = stream, counter, pause

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, data: bytes) -> int:
        count = self.stream.write(data if len(data) < 200 else data[: len(data) // 2])
        self.counter.event()
        time.sleep(self.pause)
        return count


def carry_out(name: str, last: int, pause: float) -> int:
    counter, make = Counter(last), GrowingLines.__init__

    def make_halves(lines: GrowingLines, path: Path, keep: int | None = None) -> None:
        make(lines, path, keep)
        lines._stream = Halves(lines._stream, counter, pause)

    GrowingLines.__init__ = make_halves
    sys.addaudithook(counter.audit)
    job = Job("rag", "", PRESETS["indoml"], RagOptions().model_dump(), 0, TEST, train=(TRAIN,))
    Run.start(FOLDER / name, job).execute()
    return counter.count


print("ready", flush=True)
for line in sys.stdin:
    what, name, *rest = line.split()
    told, answer = os.pipe()
    child = os.fork()
    if child == 0:
        last, pause = (int(rest[0]) if what == "kill" else -1), (0.01 if what == "sleep" else 0.0)
        try:
            os.write(answer, b"%d" % carry_out(name, last, pause))
        finally:
            os._exit(0)
    os.close(answer)
    if what == "sleep":
        time.sleep(float(rest[0]))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    print(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.read(told, 20).decode() or "failed", flush=True)
    os.close(told)
