"""The command in processes of their own that are cheap to start, and can be killed, starved and watched.

Importing takes seconds, a small job does not. A `Forker` is a process that has imported everything and computed
nothing; it forks one process for each job. It has no threads, so that what it forks is whole: servers run elsewhere.
"""

from __future__ import annotations

import faulthandler
import functools
import gc
import importlib
import multiprocessing
import os
import pkgutil
import random
import resource
import select
import signal
import ssl
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.chaos.jobs import Ended, Job, Kill
from benchmarks.chaos.watch import Halves, Watch

ROOT = Path(__file__).parents[2]


def _nothing(number: int) -> None:
    """Do what `os.fsync` does where no power is cut."""
    del number


def warm() -> None:
    """Import what any command needs, and make once what is the same for all."""
    import faiss  # noqa: F401
    import openai
    import openai.types
    import pandas  # noqa: F401
    import pyarrow.dataset
    import pyarrow.pandas_compat
    import pyarrow.parquet  # noqa: F401
    import sklearn.feature_extraction.text
    import sklearn.isotonic
    import sklearn.linear_model  # noqa: F401
    import typer.main

    import classify.cli
    import pages.drawing

    for package in ("catalog", "classify", "measure", "pages", "postprocess", "rag", "student", "submissions"):
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            if module.name != "classify.cli.__main__":
                importlib.import_module(module.name)
    assert "torch" not in sys.modules, "what has threads cannot be forked"
    pages.drawing.plot("", "", lambda axes: axes.plot([0, 1]))  # it finds the fonts
    typer.main.get_command = functools.cache(typer.main.get_command)
    typer.main.get_command(classify.cli.app)
    ssl.create_default_context = functools.cache(ssl.create_default_context)
    client = openai.OpenAI(api_key="none")
    client.files, client.batches, client.fine_tuning.jobs  # noqa: B018 -- imports its parts
    os.fsync = _nothing  # a process that is killed loses nothing that the system has
    gc.collect()
    gc.freeze()  # the processes share what is here


def _no_page(run: Any) -> None:
    """Draw nothing: it takes longer than all else that a small job does."""
    del run


def _prepare(job: Job, watch: Watch) -> None:
    """Have small jobs go through what large ones go through, wait for nothing, and count events."""
    import classify.run
    import classify.vote
    import postprocess.processes
    import rag.vote
    from classify.engines import retry
    from classify.engines.server import ServerEngine
    from classify.lines import GrowingLines
    from classify.provider.client import Provider

    rag.vote.HELD_OUT_ROWS, rag.vote.PRICE_WEIGHTS, rag.vote.OTHER_WEIGHTS = 60, (0.0, 0.2), (0.7, 1.0)
    retry.FIRST_WAIT = 0.0
    if not job.page:
        classify.run.try_report = classify.vote.try_report = _no_page
    if job.block is not None:
        classify.run.BLOCK_ROWS = job.block
    if job.share is not None:
        postprocess.processes.LEAST = job.share
    once, make, sleep = Provider.once, GrowingLines.__init__, ServerEngine.sleep

    def counted(provider: Provider, call: Any) -> Any:
        watch.event()
        try:
            return once(provider, call)
        finally:
            watch.event()

    def torn(lines: GrowingLines, path: Path, keep: int | None = None) -> None:
        make(lines, path, keep)
        lines._stream = Halves(lines._stream, watch)

    Provider.once, GrowingLines.__init__ = counted, torn  # type: ignore[method-assign]
    Provider.sleep = staticmethod(lambda seconds: time.sleep(min(seconds, 0.001)))  # type: ignore[method-assign]
    ServerEngine.sleep = staticmethod(lambda seconds: sleep(min(seconds, 0.001)))  # type: ignore[method-assign]


def _starve(job: Job) -> None:
    if job.file_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.file_bytes, job.file_bytes))
    if job.files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (job.files, job.files))
    if job.memory_mib is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + job.memory_mib * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _carry_out(job: Job, place: Path) -> None:
    """Do the job in this process, which ends with it."""
    os.setsid()
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    faulthandler.enable(file=2)
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
    os.chdir(job.folder)
    (place / "home").mkdir()
    (place / "tmp").mkdir()
    os.environ.update(HOME=str(place / "home"), TMPDIR=str(place / "tmp"), COLUMNS="100", **job.environment)
    tempfile.tempdir = None
    import classify.cli

    fail = classify.cli._fail

    def failed(message: str, code: int = 2) -> None:
        if code == 1:
            (place / "trace").write_text(traceback.format_exc())
        fail(message, code)

    classify.cli._fail = failed
    watch = Watch(job, place)
    _prepare(job, watch)
    sys.addaudithook(watch.audit)
    # A process that a shell starts in the background ignores ctrl-C, and so would this one: undo that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["classify", *job.arguments]
    _starve(job)
    classify.cli.main()


def _child(job: Job, place: Path) -> None:
    code = 1
    try:
        _carry_out(job, place)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _helpers(process: int) -> list[int]:
    try:
        return [int(name) for name in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def _group(leader: int) -> list[int]:
    """Return the processes of a group that live."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                after = Path(f"/proc/{entry.name}/stat").read_text().rpartition(")")[2].split()
                if int(after[2]) == leader and after[0] != "Z":
                    found.append(int(entry.name))
    return found


def _wait(child: int, seconds: float) -> bool:
    """Wait for a process to end; tell whether it did."""
    handle = os.pidfd_open(child)
    try:
        return bool(select.select([handle], [], [], max(seconds, 0.0))[0])
    finally:
        os.close(handle)


def _strike(child: int, kill: Kill, limit: float) -> bool:
    """Kill by the clock; tell whether there was anything left to kill."""
    until = time.monotonic() + limit
    if kill.helpers or kill.target == "helper":
        while not _helpers(child):
            if _wait(child, 0.002):
                return False
            if time.monotonic() > until:
                return False
    if _wait(child, kill.after):
        return False
    with suppress(ProcessLookupError):
        if kill.target == "helper":
            found = _helpers(child)
            if not found:
                return False
            os.kill(random.choice(found), signal.SIGKILL)
        else:
            (os.killpg if kill.target == "group" else os.kill)(child, signal.SIGKILL)
    return True


def _do(job: Job) -> Ended:
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        place, started = Path(temporary), time.monotonic()
        child = os.fork()
        if child == 0:
            _child(job, place)
        hit = hung = False
        if job.kill is not None and not job.kill.at:
            time.sleep(0.001)  # until it has its group
            hit = _strike(child, job.kill, job.limit)
        if not _wait(child, job.limit - (time.monotonic() - started)):
            hung = True
            os.kill(child, signal.SIGUSR1)  # it tells where it is
            time.sleep(0.2)
            os.kill(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
        seconds = time.monotonic() - started
        orphans = _left_of(child)
        texts = {
            name: (place / name).read_text(errors="replace") if (place / name).exists() else ""
            for name in ("out", "err", "events", "trace")
        }
    events, *outside = texts["events"].split("\n")
    for text in outside:
        if text.strip("ek"):
            continue
        events += text
    return Ended(
        os.waitstatus_to_exitcode(status),
        texts["out"],
        texts["err"],
        seconds,
        events.count("e"),
        tuple(dict.fromkeys(text for text in outside if text.strip("ek"))),
        texts["trace"],
        hung,
        hit or "k" in events,
        orphans,
        used.ru_utime + used.ru_stime,
    )


def _left_of(child: int, patience: float = 5.0) -> int:
    """Return how many helpers live on though the command has ended, and end them."""
    until = time.monotonic() + patience
    left = _group(child)
    while left and time.monotonic() < until:
        time.sleep(0.02)
        left = _group(child)
    for process in left:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return len(left)


def _serve(pipe: Connection[Ended, Job]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warm()
    pipe.send(None)  # type: ignore[arg-type]
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(_do(job))


class Forker:
    """Carries out jobs one after the other; several forkers do so side by side."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,))
        self._process.start()
        theirs.close()
        self._ready = False

    def start(self, job: Job) -> None:
        """Begin a job; `ended` waits for it."""
        if not self._ready:
            self._ready = self._pipe.recv() is None
        self._pipe.send(job)

    def ended(self) -> Ended:
        """Wait for the job that was begun."""
        return self._pipe.recv()

    def __call__(self, job: Job) -> Ended:
        """Carry a job out."""
        self.start(job)
        return self.ended()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(10)


@contextmanager
def forkers(count: int) -> Iterator[list[Forker]]:
    """Give so many forkers while the block runs."""
    made = [Forker() for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            one.close()
