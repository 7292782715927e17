import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from classify.run import STAGES, Run

SCRIPT = Path(__file__).with_name("killed_job.py")
SETTINGS = {**os.environ, "OMP_NUM_THREADS": "1"}


class Killer:
    """Talks to ``killed_job.py``."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process, self.folder = process, folder

    def __call__(self, *words: object) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(*words, file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def killer(shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, str(SCRIPT), *map(str, (folder, shop.train_file, shop.known))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, env=SETTINGS) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Killer(process, folder)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="module")
def unbroken(killer: Killer) -> tuple[int, Path]:
    """An unbroken run, and how many events it has."""
    return killer("whole", "whole"), killer.folder / "whole"


def stage(folder: Path) -> str:
    """Return what a killed run was doing."""
    if not (folder / "manifest.json").exists():
        return "start"
    manifest = json.loads((folder / "manifest.json").read_text())
    waiting = [name for name in ("fit", *STAGES) if name not in manifest["stages"]]
    return waiting[0] if waiting else "end"


def test_killed_at_any_of_ten_moments_the_same_bytes_come_out(killer: Killer, unbroken, contents) -> None:
    events, whole = unbroken
    draw = random.Random(11)
    # One moment from each tenth of the job, so that none of its parts is passed over.
    moments = [draw.randint(1 + events * part // 10, events * (part + 1) // 10) for part in range(10)]
    seen = set()
    for moment in moments:
        name = f"at-{moment}"
        assert killer("kill", name, moment) == -signal.SIGKILL
        seen.add(stage(killer.folder / name))
        assert killer("whole", name) > 0
        assert contents(killer.folder / name) == contents(whole), f"killed at event {moment} of {events}"
        assert Run.open(killer.folder / name).finished
        assert not [path for path in (killer.folder / name).rglob("*") if path.name.endswith((".tmp", ".partial"))]
    assert {"fit", "requests", "completions", "predictions"} <= seen


def test_killed_again_and_again(killer: Killer, unbroken, contents) -> None:
    events, whole = unbroken
    draw = random.Random(3)
    for _ in range(200):
        ended = killer("kill", "often", draw.randint(1, events // 4))
        if ended > 0:
            break
    assert ended > 0
    assert contents(killer.folder / "often") == contents(whole)


def test_killed_by_the_clock(killer: Killer, unbroken, contents) -> None:
    _, whole = unbroken
    draw = random.Random(5)
    for _ in range(4):
        killer("sleep", "clock", round(draw.uniform(0.05, 1.0), 3))
    assert killer("whole", "clock") > 0
    assert contents(killer.folder / "clock") == contents(whole)


@pytest.mark.parametrize("name", ["requests.jsonl.partial", "completions.jsonl", "predictions.jsonl.partial"])
@pytest.mark.parametrize("cut", [1, 17, 400, 5000])
def test_a_torn_end(unbroken, tmp_path, contents, monkeypatch: pytest.MonkeyPatch, name: str, cut: int) -> None:
    """What a killed process had not written yet is missing, down to a part of a line."""
    import classify.run

    monkeypatch.setattr(classify.run, "BLOCK_ROWS", 16)
    _, whole = unbroken
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    first = name.partition(".")[0]
    later = STAGES[STAGES.index(first) :]
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["finished"]
    manifest["stages"] = {key: value for key, value in manifest["stages"].items() if key not in later}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    torn = (folder / f"{first}.jsonl").read_bytes()[:-cut]
    for gone in later[:3]:
        (folder / f"{gone}.jsonl").unlink()
    (folder / name).write_bytes(torn)
    Run.open(folder).execute()
    assert contents(folder) == contents(whole)


def test_a_submission_after_a_kill_has_the_same_bytes(killer: Killer, unbroken, tmp_path) -> None:
    from classify.submit import submit_run

    events, whole = unbroken
    killer("kill", "zipped", events * 2 // 3)
    killer("whole", "zipped")
    made = [
        submit_run(Run.open(folder), "mine", None, tmp_path / "scoreboard.csv").sha256
        for folder in (whole, killer.folder / "zipped")
    ]
    assert made[0] == made[1]


def command(shop, folder: Path) -> list[str]:
    code = "import classify.run; classify.run.BLOCK_ROWS = 2; import classify.cli; classify.cli.main()"
    files = ["--train", str(shop.train_file), "--test", str(shop.known), "--run", str(folder)]
    return [sys.executable, "-c", code, *files]


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists() and process.poll() is None:
        time.sleep(0.005)


@pytest.mark.parametrize("file", ["manifest.json", "requests.jsonl.partial"])
def test_ctrl_c_stops_with_a_hint(shop, finished: Path, tmp_path, contents, file: str) -> None:
    folder = tmp_path / "run"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command(shop, folder), **pipes, env=SETTINGS) as process:
        wait_for(folder / file, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert [line for line in err.splitlines() if line] == [
        f"classify: stopped; carry on with: classify resume {folder}"
    ]
    assert out == ""
    assert not Run.open(folder).finished
    resumed = subprocess.run(
        [sys.executable, "-m", "classify.cli", "resume", str(folder)], capture_output=True, text=True, env=SETTINGS
    )
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert re.search("item accuracy", resumed.stdout)
    assert len(contents(folder)) == len(contents(finished))
