"""Batches as processes of their own that can be killed: run as ``python killed.py``, from the root.

Importing takes a second, a small job does not: this process imports what a job needs and forks one process for each
job. Reads one JSON object a line, and answers each with one:

``folder``
    Of the job: ``requests.jsonl`` is asked, answers go where those of a run go.
``arguments``, in its place
    Of the command ``classify``.
``kill_at``, optional
    Kill the process (SIGKILL) at this event. An event is the moment after a call of the provider's, or in the middle
    of or after a line of the books or of the answers. Before one it is as it was after the one before.
``options``, ``environment``
    Of the engine, and of the process.

Answers with the exit ``code`` (negative: the signal), ``out``, ``err`` and the names of all ``events``.
"""

import functools
import gc
import json
import os
import signal
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Any

import openai
import openai.types

import classify.batch_list
import classify.cli
import classify.run
import classify.strategies.openai
import classify.tables
from classify.asking import ask
from classify.costs import Budget, load_prices
from classify.engines.batch import BatchEngine
from classify.engines.batch_options import BatchOptions
from classify.lines import GrowingLines
from classify.progress import silent
from classify.provider.client import Provider

# A process that is killed loses nothing that the system has, and certificates are the same for all.
os.fsync = lambda number: None
ssl.create_default_context = functools.cache(ssl.create_default_context)
openai.OpenAI(api_key="none").batches  # noqa: B018 -- imports its parts
WATCHED = ("ledger.jsonl", "completions.jsonl")


class Events:
    """Writes down what happens, and kills this process at one of the events."""

    def __init__(self, file: Path, kill_at: int) -> None:
        self.record = os.open(file, os.O_WRONLY | os.O_CREAT)
        self.left = kill_at

    def add(self, name: str) -> None:
        os.write(self.record, f"{name}\n".encode())
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Torn:
    """A file that writes in two halves, with events around them."""

    def __init__(self, stream: Any, name: str, events: Events) -> None:
        self.stream, self.name, self.events, self.torn = stream, name, events, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, data: bytes) -> int:
        half = data if self.torn else data[: len(data) // 2]
        count: int = self.stream.write(half)
        self.events.add(f"{'after' if self.torn else 'in'} a line of {self.name}")
        self.torn = not self.torn
        return count


def watch(events: Events) -> None:
    """Have calls and lines count as events, and nobody wait."""
    once, make = Provider.once, GrowingLines.__init__

    def watched(provider: Provider, call: Any) -> Any:
        try:
            return once(provider, call)
        finally:
            events.add("after a call")

    def torn(lines: GrowingLines, path: Path, keep: int | None = None) -> None:
        make(lines, path, keep)
        if path.name in WATCHED:
            lines._stream = Torn(lines._stream, path.name, events)

    Provider.once, GrowingLines.__init__ = watched, torn
    Provider.sleep = staticmethod(lambda seconds: None)


def ask_all(folder: Path, options: dict[str, Any]) -> None:
    """Have the engine answer, as a run does."""
    engine = BatchEngine(BatchOptions(llm="gpt-4o-mini", poll=0.01, constrain="off", **options))
    budget = Budget(None, load_prices().of("gpt-4o-mini"), batch=True)
    begun = (folder / "begun").exists()
    (folder / "begun").touch()
    engine.keep_books(folder / "batches", folder.name, budget, begun=begun)
    ask(folder, engine, [folder / "requests.jsonl"], progress=silent)
    (folder / "report.json").write_text(json.dumps(engine.report))


def carry_out(job: dict[str, Any], place: Path) -> None:
    """Do the job in this process, which ends with it."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(place / name, os.O_WRONLY | os.O_CREAT), number)
    os.environ.update(job["environment"])
    watch(Events(place / "events", job.get("kill_at", 0)))
    if "folder" in job:
        return ask_all(Path(job["folder"]), job.get("options", {}))
    sys.argv = ["classify", *job["arguments"]]
    return classify.cli.main()


gc.freeze()  # the processes share what is here
print("ready", flush=True)
for line in sys.stdin:
    wanted = json.loads(line)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                carry_out(wanted, place)
                code = 0
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 0
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        texts = {
            name: (place / name).read_text() if (place / name).exists() else "" for name in ("out", "err", "events")
        }
    code = os.waitstatus_to_exitcode(status)
    answer = {"code": code, "out": texts["out"], "err": texts["err"], "events": texts["events"].splitlines()}
    print(json.dumps(answer), flush=True)
