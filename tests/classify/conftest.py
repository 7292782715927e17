"""The command, called in this process, and what a run wrote."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import classify.cli
import rag.vote

SERVER = Path(__file__).with_name("forked.py")
RUN_FILES = ("requests.jsonl", "completions.jsonl", "predictions.jsonl", "taxonomy.csv", "metrics.json")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


def tune_quickly(patch: pytest.MonkeyPatch) -> None:
    """Tune votes on few rows and few weights: here it matters that a job is done, not how well."""
    patch.setattr(rag.vote, "HELD_OUT_ROWS", 60)
    patch.setattr(rag.vote, "PRICE_WEIGHTS", (0.0, 0.2))
    patch.setattr(rag.vote, "OTHER_WEIGHTS", (0.7, 1.0))


@pytest.fixture(autouse=True)
def _tune_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    tune_quickly(monkeypatch)


@dataclass(frozen=True)
class Ended:
    """How a process of its own ended: negative codes are signals."""

    code: int
    out: str
    err: str
    events: list[str]


class Forked:
    """Runs ``classify`` in processes of their own, in `folder`; ``forked.py`` says with what options."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process, self.folder = process, folder

    def __call__(self, *arguments: object, **options: float) -> Ended:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps({"arguments": list(map(str, arguments)), **options}), file=self.process.stdin, flush=True)
        return Ended(**json.loads(self.process.stdout.readline()))


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    folder = tmp_path_factory.mktemp("forked")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    settings = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, str(SERVER), str(folder)], **pipes, env=settings) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Forked(process, folder)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``classify`` with these arguments."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["classify", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            classify.cli.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return Done(0 if code is None else int(code), out, err)

    return run


@pytest.fixture
def refused(command: Command) -> Callable[..., str]:
    """Run ``classify`` with arguments that it must refuse: exit code 2 and one line, which is returned."""

    def run(*arguments: object) -> str:
        done = command(*arguments)
        assert done.code == 2, (done.out, done.err)
        assert done.err.startswith("classify: ")
        assert done.err.count("\n") == 1, done.err
        assert done.err.endswith("\n")
        assert "Traceback" not in done.err
        return done.err.strip()

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a run that must not differ between two runs of one job."""
    return {name: (folder / name).read_bytes() for name in RUN_FILES if (folder / name).exists()}


def lines(path: Path) -> list[dict]:
    # Not splitlines: a value may hold a line separator (U+2028), which JSON leaves as it is.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


@pytest.fixture(scope="session", name="contents")
def _contents() -> Callable[[Path], dict[str, bytes]]:
    return contents


@pytest.fixture(scope="session", name="lines")
def _lines() -> Callable[[Path], list[dict]]:
    return lines


@pytest.fixture(scope="session")
def model(shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the sample shop, saved."""
    from classify import fit

    folder = tmp_path_factory.mktemp("model") / "rag"
    with pytest.MonkeyPatch.context() as patch:
        tune_quickly(patch)
        fit(shop.train).save(folder)
    return folder


@pytest.fixture(scope="session")
def finished(shop, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the sample shop; to be looked at, not changed."""
    from classify.job import Job
    from classify.model import describe
    from classify.run import Run

    folder = tmp_path_factory.mktemp("runs") / "first"
    options = describe(model)["options"]
    Run.start(folder, Job("rag", "", shop.schema, options, 0, shop.known, model=model)).execute()
    return folder
