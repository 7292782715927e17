"""The command, called in this process, and what a run wrote."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import classify.cli
import rag.vote

RUN_FILES = ("requests.jsonl", "completions.jsonl", "predictions.jsonl", "taxonomy.csv", "metrics.json")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture(autouse=True)
def _tune_on_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rag.vote, "HELD_OUT_ROWS", 60)


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
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


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
        patch.setattr(rag.vote, "HELD_OUT_ROWS", 60)
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
