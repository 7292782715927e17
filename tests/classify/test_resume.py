import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import classify.run
from catalog.product_files import write_products
from classify.run import STAGES, Run
from classify.submit import submit_run

SETTINGS = {**os.environ, "OMP_NUM_THREADS": "1"}
STEPS = ("fit", "requests", "completions", "predictions", "rest")


@pytest.fixture(scope="module")
def few(shop, forked) -> Path:
    """A part of the sample shop, in a few blocks: here it matters that all is done once."""
    folder = forked.folder.with_name(f"{forked.folder.name}-few")
    write_products(folder, "train", [shop.train.take(range(120))], shop.schema)
    write_products(folder, "test", [shop.test.take(range(60))], shop.schema)
    return folder


@pytest.fixture(scope="module")
def job(forked, few):
    """Carry out the job in the folder of that name."""

    def run(name: str, **options: float):
        files = ["--train", few / "train.features", "--test", few / "test.features", "--run", forked.folder / name]
        return forked(*files, block=16, **options)

    return run


@pytest.fixture(scope="module")
def unbroken(forked, job) -> tuple[list[str], Path]:
    """The events of an unbroken run, each as the step that it belongs to; and the run."""
    done = job("whole")
    assert (done.code, done.err) == (0, "")
    names = [
        Path(event).relative_to(forked.folder / "whole").parts
        for event in done.events
        if event != str(forked.folder / "whole")
    ]
    steps = []
    for parts in names:
        first = "fit" if "model" in parts[0] else parts[0].partition(".")[0]
        steps.append(first if first in STEPS else "rest")
    return steps, forked.folder / "whole"


def test_killed_at_any_of_ten_moments_the_same_bytes_come_out(forked, job, unbroken, contents) -> None:
    steps, whole = unbroken
    draw = random.Random(11)
    # Two moments of each step, so that none is passed over.
    moments = [
        moment + 1
        for step in STEPS
        for moment in draw.sample([place for place, other in enumerate(steps) if other == step], 2)
    ]
    for moment in moments:
        folder = forked.folder / f"at-{moment}"
        assert job(folder.name, kill_at=moment).code == -signal.SIGKILL
        done = job(folder.name)
        assert (done.code, done.err) == (0, "")
        assert contents(folder) == contents(whole), f"killed at event {moment} of {len(steps)}, {steps[moment - 1]}"
        assert Run.open(folder).finished
        assert not [path for path in folder.rglob("*") if path.name.endswith((".tmp", ".partial"))]


def test_killed_again_and_again(forked, job, unbroken, contents) -> None:
    steps, whole = unbroken
    draw = random.Random(3)
    kills = 0
    while job("often", kill_at=draw.randint(len(steps) // 8, len(steps) // 3)).code != 0:
        kills += 1
        assert kills < 100
    assert kills >= 2
    assert contents(forked.folder / "often") == contents(whole)


def test_killed_by_the_clock(forked, job, unbroken, contents) -> None:
    _, whole = unbroken
    draw = random.Random(5)
    for _ in range(3):
        job("clock", kill_after=round(draw.uniform(0.05, 1.0), 3))
    assert job("clock").code == 0
    assert contents(forked.folder / "clock") == contents(whole)


def test_resume_carries_on_as_well(forked, job, unbroken, contents) -> None:
    steps, whole = unbroken
    job("resumed", kill_at=steps.index("completions") + 3)
    done = forked("resume", forked.folder / "resumed", block=16)
    assert (done.code, done.err) == (0, "")
    assert contents(forked.folder / "resumed") == contents(whole)


@pytest.mark.parametrize("name", ["requests.jsonl.partial", "completions.jsonl", "predictions.jsonl.partial"])
@pytest.mark.parametrize("cut", [1, 17, 400, 5000])
def test_a_torn_end(unbroken, tmp_path, contents, monkeypatch: pytest.MonkeyPatch, name: str, cut: int) -> None:
    """What a killed process had not written yet is missing, down to a part of a line."""
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
    for gone in later:
        (folder / f"{gone}.jsonl").unlink(missing_ok=True)
    (folder / name).write_bytes(torn)
    Run.open(folder).execute()
    assert contents(folder) == contents(whole)


def test_a_submission_after_a_kill_has_the_same_bytes(forked, job, unbroken, tmp_path) -> None:
    steps, whole = unbroken
    job("zipped", kill_at=len(steps) * 2 // 3)
    job("zipped")
    made = [
        submit_run(Run.open(folder), "mine", None, tmp_path / "scoreboard.csv").sha256
        for folder in (whole, forked.folder / "zipped")
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("step", STEPS)
def test_ctrl_c_stops_with_a_hint_and_is_carried_on(forked, job, unbroken, contents, step: str) -> None:
    steps, whole = unbroken
    folder = forked.folder / f"stopped-{step}"
    done = job(folder.name, interrupt_at=steps.index(step) + 3)
    assert done.code == 130, done.err
    begun = (folder / "manifest.json").exists()
    hint = f"carry on with: classify resume {folder}" if begun else "nothing was begun; give the command again"
    assert done.err.split("\n")[0] == f"classify: stopped; {hint}"
    assert done.err.strip().count("\n") == 0
    assert done.out == ""
    again = forked("resume", folder, block=16) if begun else job(folder.name)
    assert (again.code, again.err) == (0, "")
    assert contents(folder) == contents(whole)


def test_ctrl_c_from_outside(shop, model: Path, tmp_path) -> None:
    """The same with a real process, as a terminal does it."""
    folder = tmp_path / "run"
    # A process that a shell starts in the background ignores ctrl-C, and so would its children: undo that.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code = heed + "import classify.run; classify.run.BLOCK_ROWS = 1; import classify.cli; classify.cli.main()"
    files = ["--model", str(model), "--test", str(shop.known), "--run", str(folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, *files], **pipes, env=SETTINGS) as process:
        while not (folder / "requests.jsonl.partial").exists() and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert err.strip() == f"classify: stopped; carry on with: classify resume {folder}"
    assert out == ""
