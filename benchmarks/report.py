"""How long the report of the datathon's test set takes to make and to open: python benchmarks/report.py

A run of made-up products (`rag`, no LLM, 2,000 rows) is repeated, under new ids, until it has as many rows as are asked
for; then `classify report` makes its page in a process of its own, with labels and without, and chromium opens it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from catalog.sample import write_sample
from classify.job import Job
from classify.run import Run
from classify.strategies.rag import RagOptions

SMALL = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=184_664)
    parser.add_argument("--run", type=Path, help="a finished run, in place of one made up")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = {"the run": chosen.run} if chosen.run else make_runs(Path(folder), chosen.rows)
        print(f"{'':<16}{'rows':>9}{'seconds':>9}{'CPU s':>8}{'MiB':>7}{'page KB':>9}  opened in, ms")
        for name, run in runs.items():
            seconds, busy, size = timed(run)
            rows = json.loads((run / "manifest.json").read_text())["rows"]
            page = run / "report.html"
            opened = ", ".join(f"{took:.0f}" for took in load(page))
            weight = page.stat().st_size / 1024
            print(f"{name:<16}{rows:>9,}{seconds:>9.1f}{busy:>8.1f}{size:>7.0f}{weight:>9.0f}  {opened}")


def make_runs(folder: Path, rows: int) -> dict[str, Path]:
    from catalog.schema import PRESETS

    schema = PRESETS["indoml"]
    write_sample(folder / "sample", rows=20_000, test_rows=SMALL, schema=schema)
    options = RagOptions().model_dump()
    job = Job("rag", "", schema, options, 0, folder / "sample", train=(folder / "sample",))
    small = folder / "small"
    Run.start(small, job).execute()
    whole = folder / "with labels"
    shutil.copytree(small, whole)
    for name in ("predictions.jsonl", "requests.jsonl", "inputs/test.features", "inputs/test.labels"):
        repeat(whole / name, rows)
    manifest = json.loads((whole / "manifest.json").read_text())
    (whole / "manifest.json").write_text(json.dumps({**manifest, "rows": rows}))
    bare = folder / "without"
    shutil.copytree(whole, bare)
    (bare / "inputs" / "test.labels").unlink()
    return {"with labels": whole, "without labels": bare}


def repeat(file: Path, rows: int) -> None:
    """Repeat a file of `SMALL` JSON lines, under ids that count on."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]
    with open(file, "w", encoding="utf-8") as out:
        for row in range(rows):
            line = dict(lines[row % len(lines)])
            if "id" in line:
                line["id"] = f"{row}-{line['id'].rpartition('-')[2]}"
            else:
                line["indoml_id"] = row
            out.write(json.dumps(line, ensure_ascii=False) + "\n")


def timed(run: Path) -> tuple[float, float, float]:
    """Return the seconds, the processor's seconds and the most memory (MiB) that the command takes."""
    program = [sys.executable, "-m", "classify.cli", "report", str(run)]
    root = Path(__file__).parent.parent
    started = time.perf_counter()
    process = subprocess.Popen(program, env={**os.environ, "PYTHONPATH": str(root)}, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit("classify report failed")
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def load(page: Path) -> list[float]:
    """Return the milliseconds until the page is loaded (Navigation Timing), several times, each from a new tab."""
    place = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        place = None
    if place is None:
        return []
    took = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=place, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(5):
            tab = browser.new_page()
            tab.goto(page.resolve().as_uri())
            took.append(float(tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")))
            tab.close()
        browser.close()
    return took


if __name__ == "__main__":
    main()
