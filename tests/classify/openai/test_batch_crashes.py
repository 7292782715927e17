"""A run by batches, killed at every single moment and resumed: each batch is paid once, each answer is there once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.schema import SEPARATOR
from tests.openai_server import KEY, ORG, Server, running
from tests.openai_server.driving import check_books, check_costs, some_requests
from tests.openai_server.state import Tuned
from tests.openai_server.taught import Taught

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("killed.py")
ROWS = 12
OWN = "ft:gpt-4o-mini:loopback::own"
Killed = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def killed() -> Iterator[Killed]:
    """Do a job in a process of its own; ``killed.py`` says with what options."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(PROGRAM)], **pipes, env=settings) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        def do(server: Server, **job: Any) -> dict[str, Any]:
            job["environment"] = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.url}
            print(json.dumps(job), file=process.stdin, flush=True)
            assert process.stdout is not None
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            return answer

        yield do
        process.stdin.close()


def begin(folder: Path) -> Path:
    folder.mkdir()
    lines = [json.dumps(request.to_dict()) + "\n" for request in some_requests(ROWS)]
    (folder / "requests.jsonl").write_text("".join(lines))
    return folder


def check(folder: Path, server: Server, lines: Callable[[Path], list[dict[str, Any]]]) -> None:
    found = [line["id"] for line in lines(folder / "completions.jsonl")]
    assert sorted(found) == sorted(request.id for request in some_requests(ROWS))
    check_books(folder / "batches", server.state)
    check_costs(json.loads((folder / "report.json").read_text()), server.state)


@pytest.mark.parametrize(
    ("faults", "batches"),
    [
        ({"expire": 1}, 2),
        ({"hide_batch": 2, "hide_file": 1}, 1),
        ({"after_500": 1, "after_routes": ["POST /v1/batches"]}, 1),
    ],
    ids=["half expired", "late listings", "nobody heard"],
)
def test_killed_at_every_moment(killed, tmp_path: Path, lines, faults: dict[str, Any], batches: int) -> None:
    moment, code = 0, -signal.SIGKILL
    while code != 0:
        moment += 1
        folder = begin(tmp_path / f"run-{moment}")
        with running(steps_per_batch=2) as server:
            server.faults.update(faults)
            first = killed(server, folder=str(folder), kill_at=moment)
            code = first["code"]
            assert code in (0, -signal.SIGKILL), first["err"]
            if code:
                again = killed(server, folder=str(folder))
                assert again["code"] == 0, (moment, first["events"][-3:], again["err"])
            check(folder, server, lines)
            assert len(server.state.batches) == batches, (moment, first["events"][-3:])
            assert set(server.state.processed().values()) == {1}, (moment, first["events"][-3:])
    assert moment > 30


def test_the_whole_command_killed_at_some_moments(killed, shop, tmp_path: Path, lines) -> None:
    """From the first line of the books on; what was before is in the tests of killed runs."""
    with running(steps_per_batch=2) as server:
        server.state.tuned[OWN] = Tuned(OWN, ORG, 0, Taught())
        server.state.tuned[OWN].taught.learn(
            [{"role": "user", "content": "a"}, {"role": "assistant", "content": SEPARATOR.join(shop.train.labels[0])}]
        )

        def command(folder: Path) -> list[str]:
            files = ["--train", shop.train_file, "--test", shop.test_file, "--limit", ROWS, "--run", folder]
            return list(map(str, ["--strategy", "openai", "--model", OWN, *files, "--poll", 0.01]))

        whole = killed(server, arguments=command(tmp_path / "whole"))
        assert whole["code"] == 0, whole["err"]
        for moment in range(1, len(whole["events"]) + 1, 5):
            folder = tmp_path / f"run-{moment}"
            for kept in (server.state.batches, server.state.files, server.state.ledger):
                kept.clear()
            server.faults.expire = 1
            assert killed(server, arguments=command(folder), kill_at=moment)["code"] == -signal.SIGKILL
            again = killed(server, arguments=["resume", str(folder)])
            assert again["code"] == 0, (moment, again["err"])
            check_books(folder / "batches", server.state)
            assert set(server.state.processed().values()) == {1}
            assert len(server.state.batches) == 2
            assert len(lines(folder / "completions.jsonl")) == len(lines(folder / "predictions.jsonl")) == ROWS
