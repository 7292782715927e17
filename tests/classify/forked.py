"""Jobs as processes of their own that can be killed and starved: run as ``python forked.py FOLDER``.

Importing takes seconds, a small job does not: this process imports what a job needs, computes nothing, and forks one
process for each job that it is asked for. Reads one JSON object a line, and answers each with one:

``arguments``
    Of the command ``classify``.
``block``, optional
    Rows that are worked on at once.
``kill_at``, optional
    Kill the process (SIGKILL) at this event. An event is a half-written block of lines, or a file or folder in FOLDER
    that is opened for writing, renamed, made or removed.
``interrupt_at``, optional
    Press ctrl-C at this event.
``kill_after``, optional
    Kill it after so many seconds.
``environment``, optional
    Variables to set.
``calls``, optional
    A call of a provider's API is an event, too, and so is its answer; and nothing is waited for.
``largest``, optional
    No file may grow beyond so many bytes: what a full disk does.

Answers with the exit ``code`` (negative: the signal), ``out``, ``err`` and the names of the files of all ``events``.
"""

import functools
import gc
import json
import os
import resource
import signal
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import faiss  # noqa: F401
import openai
import openai.types
import pandas  # noqa: F401
import sklearn.feature_extraction.text
import sklearn.isotonic
import sklearn.linear_model  # noqa: F401
import typer.main

import classify.cli
import classify.run
import classify.strategies.openai
import classify.strategies.rag
import classify.submit
import postprocess.snap  # noqa: F401
import rag.ngram
import rag.vote
from classify.lines import GrowingLines
from classify.provider.client import Provider

# What is the same for all jobs is made before they are: the parser, certificates, the client's parts.
typer.main.get_command = functools.cache(typer.main.get_command)
typer.main.get_command(classify.cli.app)
ssl.create_default_context = functools.cache(ssl.create_default_context)
client = openai.OpenAI(api_key="none")
client.files, client.fine_tuning.jobs  # noqa: B018 -- imports its parts
os.fsync = lambda number: None  # a process that is killed loses nothing that the system has

FOLDER = sys.argv[1]
EVENTS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir"}


class Events:
    """Writes down what happens, and sends this process a signal at one of them."""

    def __init__(self, file: Path, job: dict[str, Any]) -> None:
        self.record = os.open(file, os.O_WRONLY | os.O_CREAT)
        self.signal = signal.SIGKILL if "kill_at" in job else signal.SIGINT
        self.left = job.get("kill_at", job.get("interrupt_at", 0))

    def add(self, name: str) -> None:
        os.write(self.record, f"{name}\n".encode())
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.signal)

    def audit(self, what: str, arguments: tuple) -> None:
        written = what == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if (written or what in EVENTS) and str(arguments[0]).startswith(FOLDER):
            self.add(str(arguments[0]))


class Halves:
    """A file that writes half of what it is given, and counts that as an event."""

    def __init__(self, stream: IO[bytes], name: str, events: Events, pause: float) -> None:
        self.stream, self.name, self.events, self.pause = stream, name, events, pause

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, data: bytes) -> int:
        count = self.stream.write(data if len(data) < 200 else data[: len(data) // 2])
        self.events.add(self.name)
        time.sleep(self.pause)
        return count


def count_calls(events: Events) -> None:
    """Make events of the calls of a provider's API, and wait for nothing."""
    once = Provider.once

    def counted(self: Provider, call: Any) -> Any:
        events.add("call")
        answer = once(self, call)
        events.add("answer")
        return answer

    Provider.once, Provider.sleep = counted, staticmethod(lambda seconds: None)  # type: ignore[method-assign]


def carry_out(job: dict[str, Any], place: Path) -> None:
    """Run the command in this process, which ends with it."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(place / name, os.O_WRONLY | os.O_CREAT), number)
    if "block" in job:
        classify.run.BLOCK_ROWS = job["block"]
    classify.run.try_report = lambda run: None  # it comes after all else, and takes longer
    rag.vote.HELD_OUT_ROWS, rag.vote.PRICE_WEIGHTS, rag.vote.OTHER_WEIGHTS = 60, (0.0, 0.2), (0.7, 1.0)
    events, make = Events(place / "events", job), GrowingLines.__init__
    os.environ.update(job.get("environment", {}))
    if "calls" in job:
        count_calls(events)

    def make_halves(lines: GrowingLines, path: Path, keep: int | None = None) -> None:
        make(lines, path, keep)
        lines._stream = Halves(lines._stream, str(path), events, 0.01 if "kill_after" in job else 0.0)

    GrowingLines.__init__ = make_halves
    if "largest" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest"], job["largest"]))
    else:
        sys.addaudithook(events.audit)
    # A process that a shell starts in the background ignores ctrl-C, and so would this one: undo that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["classify", *job["arguments"]]
    classify.cli.main()


gc.freeze()  # the processes share what is here
print("ready", flush=True)
for line in sys.stdin:
    wanted = json.loads(line)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                carry_out(wanted, place)
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 0
            except BaseException as error:
                print(f"Traceback: {error!r}", file=sys.stderr)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        if "kill_after" in wanted:
            time.sleep(wanted["kill_after"])
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        texts = {
            name: (place / name).read_text() if (place / name).exists() else "" for name in ("out", "err", "events")
        }
    code = os.waitstatus_to_exitcode(status)
    answer = {"code": code, "out": texts["out"], "err": texts["err"], "events": texts["events"].splitlines()}
    print(json.dumps(answer), flush=True)
