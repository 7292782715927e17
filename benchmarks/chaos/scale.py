"""Size: a million rows through `tree`, `snap` and `rag`, and a taxonomy of 100,000 paths; seconds and peak memory."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.findings import Failure, Goal, Row
from catalog.products import stream_products
from catalog.sample import write_sample
from catalog.schema import PRESETS, SEPARATOR

PART = "scale"
ROOT = Path(__file__).parents[2]
SCHEMA = PRESETS["indoml"]
ROWS, TRAIN, PATHS = 1_000_000, 40_000, 100_000


@dataclass(frozen=True)
class Ran:
    """What a command took."""

    code: int
    seconds: float
    mib: float
    err: str


def _run(folder: Path, *arguments: str) -> Ran:
    """Run the command in a process of its own."""
    print(f"  classify {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "classify.cli", *arguments]
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # as people run it
        settings.pop(name, None)
    started = time.monotonic()
    with open(folder / "err.txt", "wb") as err:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=err, env=settings)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    text = (folder / "err.txt").read_text(errors="replace")
    return Ran(process.returncode, time.monotonic() - started, used.ru_maxrss / 1024, text)


class _Piece:
    """One piece: its steps, and what is wrong with what came out."""

    def __init__(self, name: str, rows: int) -> None:
        self.row = Row(name, rows)
        self.told: list[str] = []

    def step(self, name: str, ran: Ran, rows: int) -> bool:
        told = f"{name} {ran.seconds:.0f} s, {rows / max(ran.seconds, 1e-9):,.0f} rows/s, {ran.mib:,.0f} MiB"
        self.told.append(told)
        print(f"    {told}", flush=True)
        if ran.code:
            self.fail(Goal.ABORT, f"{name}: exit code {ran.code}", ran.err[-1500:])
        return not ran.code

    def fail(self, goal: Goal, what: str, detail: str = "") -> None:
        self.row.failures.append(Failure(PART, goal, what, self.row.name, detail=detail))

    def check(self, predictions: Path, test: Path, rows: int) -> None:
        """Check that each id came out once, in order."""
        wrong = count = 0
        ids = (name for block in stream_products(test, SCHEMA, chunk_rows=50_000) for name in block.ids)
        with open(predictions, encoding="utf-8") as lines:
            for line in lines:
                count += 1
                wrong += json.loads(line)[SCHEMA.id] != next(ids, None)
        if wrong or count != rows:
            self.fail(Goal.LOST, f"{count:,} predictions of {rows:,} rows, {wrong:,} not of the row in their place")

    def done(self) -> Row:
        self.row.name += f": {'; '.join(self.told)}"
        return self.row


def _strategy(name: str, folder: Path, rows: int, train: int) -> Row:
    piece = _Piece(f"{rows:,} rows through `{name}`", rows)
    write_sample(folder / "data", rows=train, test_rows=rows, schema=SCHEMA)
    (folder / "data" / "test.labels").unlink()
    chosen = ("--strategy", name, "--train", "data/train.features", "--out", "model")
    if piece.step("fit", _run(folder, "fit", *chosen), train):
        asked = ("--model", "model", "--test", "data/test.features", "--run", "run")
        if piece.step("classify", _run(folder, *asked), rows):
            piece.check(folder / "run" / "predictions.jsonl", folder / "data" / "test.features", rows)
    return piece.done()


def _tree(folder: Path, share: float) -> Row:
    return _strategy("tree", folder, max(round(ROWS * share), 100), max(round(TRAIN * share), 2000))


def _rag(folder: Path, share: float) -> Row:
    return _strategy("rag", folder, max(round(ROWS * share), 100), max(round(TRAIN * share), 2000))


def _snap(folder: Path, share: float) -> Row:
    """Have answers snapped, of which one of three is as it should be, and the others are mistyped or cut."""
    rows = max(round(ROWS * share), 100)
    piece = _Piece(f"{rows:,} answers through `snap`", rows)
    write_sample(folder / "data", rows=max(round(TRAIN * share), 2000), test_rows=1, schema=SCHEMA)
    with open(folder / "data" / "train.labels", encoding="utf-8") as lines:
        paths = sorted({SEPARATOR.join(json.loads(line)[level] for level in SCHEMA.levels) for line in lines})
    draw = random.Random(0)
    with open(folder / "answers.jsonl", "w", encoding="utf-8") as out:
        for row in range(rows):
            text = draw.choice(paths)
            place = draw.randrange(len(text))
            changed = (text, text[:place] + draw.choice("abcdefgh ") + text[place + 1 :], text[: max(place, 3)])[
                row % 3
            ]
            out.write(json.dumps({SCHEMA.id: row, "answer": changed}) + "\n")
    ran = _run(folder, "snap", "answers.jsonl", "--train", "data/train.features", "--out", "out.jsonl")
    if piece.step("snap", ran, rows):
        with open(folder / "out.jsonl", encoding="utf-8") as lines:
            wrong = sum(json.loads(line)[SCHEMA.id] != row for row, line in enumerate(lines))
        with open(folder / "out.jsonl", "rb") as raw:
            count = sum(1 for _ in raw)
        if wrong or count != rows:
            piece.fail(Goal.LOST, f"{count:,} predictions of {rows:,} answers, {wrong:,} not of the one in their place")
    return piece.done()


def _taxonomy(folder: Path, share: float) -> Row:
    """Have products of a taxonomy of 100,000 paths made, learned from and classified, and answers snapped onto it."""
    paths = max(round(PATHS * share), 500)
    piece = _Piece(f"a taxonomy of {paths:,} paths", paths)
    with open(folder / "paths.csv", "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow([*SCHEMA.levels])
        for number in range(paths):
            module = number // 20
            names = (
                f"super {module // 200}",
                f"group {module // 20}",
                f"module {module}",
                f"brand {number * 7919 % (paths // 4)}",
            )
            writer.writerow(names)
    rows = paths * 2
    made = _run(
        folder, "sample", "--rows", str(rows), "--test-rows", "2000", "--taxonomy", "paths.csv", "--out", "data"
    )
    if not piece.step("sample", made, rows):
        return piece.done()
    for name in ("rag", "tree"):
        chosen = ("--strategy", name, "--train", "data/train.features", "--out", name)
        if piece.step(f"fit {name}", _run(folder, "fit", *chosen), rows):
            asked = ("--model", name, "--test", "data/test.features", "--run", f"run-{name}")
            if piece.step(f"classify {name}", _run(folder, *asked), 2000):
                piece.check(folder / f"run-{name}" / "predictions.jsonl", folder / "data" / "test.features", 2000)
    with open(folder / "data" / "test.labels", encoding="utf-8") as lines, open(folder / "answers.jsonl", "w") as out:
        for line in lines:
            label = json.loads(line)
            text = SEPARATOR.join(label[level] for level in SCHEMA.levels)
            out.write(json.dumps({SCHEMA.id: label[SCHEMA.id], "answer": text[:-1]}) + "\n")
    snapped = _run(folder, "snap", "answers.jsonl", "--taxonomy", "paths.csv", "--out", "out.jsonl")
    piece.step("snap", snapped, 2000)
    return piece.done()


PIECES: dict[str, Callable[[Path, float], Row]] = {"tree": _tree, "snap": _snap, "rag": _rag, "taxonomy": _taxonomy}


def scale(share: float, pieces: list[str]) -> list[Row]:
    """Carry the part out, one piece after the other, and one command at a time."""
    rows = []
    for name in pieces:
        folder = Path(tempfile.mkdtemp(prefix="chaos-scale-"))
        try:
            rows.append(PIECES[name](folder, share))
        finally:
            shutil.rmtree(folder)
        print(f"  {rows[-1].name}", flush=True)
    return rows
