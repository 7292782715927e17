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
pytestmark = pytest.mark.skipif(DATA is None, reason="SHELFMARK_DATA does not name a folder with real data")

SETTINGS = {**os.environ, "OMP_NUM_THREADS": "1"}


def classify(*arguments: object) -> str:
    command = [sys.executable, "-m", "classify.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=SETTINGS)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(("name", "least"), [("coles", 0.645), ("receipts", 0.38), ("bigbasket", 0.39)])
def test_the_default_job(name: str, least: float, tmp_path) -> None:
    folder, run = Path(DATA or "") / name, tmp_path / "run"
    classify("--strategy", "rag", "--train", folder / "train.features", "--test", folder / "dev.features", "--run", run)
    arguments = ("evaluate", run, folder / "dev.labels", "--train", folder, "--json")
    scores = json.loads(classify(*arguments))
    assert scores["item_accuracy"] >= least
    assert scores["ece"] <= 0.06
    assert scores["valid"] == 1
    assert scores["rows"] == len((folder / "dev.features").read_text().splitlines())
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["evaluation"]["item_accuracy"] == scores["item_accuracy"]
    classify("submit", run)
    assert validate_archive(run / "run.zip", folder / "dev.features", PRESETS["indoml"], "run").rows == scores["rows"]
