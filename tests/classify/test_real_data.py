"""The main job on public product data: accuracy, calibration, a submission that validates."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.schema import PRESETS
from submissions.archive import validate_archive

DATA = os.environ.get("SHELFMARK_DATA")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(DATA is None, reason="SHELFMARK_DATA does not name a folder with real data"),
]

SETTINGS = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(("name", "least"), [("coles", 0.645), ("receipts", 0.38), ("bigbasket", 0.39)])
def test_the_default_job(command, name: str, least: float, tmp_path) -> None:
    folder, run = Path(DATA or "") / name, tmp_path / "run"
    files = ["--train", folder / "train.features", "--test", folder / "dev.features", "--run", run]
    # A process of its own: here votes are tuned quickly.
    job = [sys.executable, "-m", "classify.cli", "--strategy", "rag", *map(str, files)]
    done = subprocess.run(job, capture_output=True, text=True, check=False, env=SETTINGS)
    assert (done.returncode, done.stderr) == (0, "")
    evaluated = command("evaluate", run, folder / "dev.labels", "--train", folder, "--json")
    assert (evaluated.code, evaluated.err) == (0, "")
    scores = json.loads(evaluated.out)
    assert scores["item_accuracy"] >= least
    assert scores["ece"] <= 0.06
    assert scores["valid"] == 1
    assert scores["rows"] == len((folder / "dev.features").read_text().splitlines())
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["evaluation"]["item_accuracy"] == scores["item_accuracy"]
    assert command("submit", run).code == 0
    assert validate_archive(run / "run.zip", folder / "dev.features", PRESETS["indoml"], "run").rows == scores["rows"]
