"""Runs written by hand, in the files of a run: what people type, and what they did not think of."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog.product_files import write_products
from catalog.products import Products
from catalog.schema import PRESETS, SEPARATOR, Schema
from catalog.taxonomy import Taxonomy
from classify.run import Run

INDOML = PRESETS["indoml"]
HOSTILE = [
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "\"quoted\" & 'single' {{ 7 * 7 }} {% raw %}",
    "حليب كامل الدسم \N{RIGHT-TO-LEFT OVERRIDE}1 لتر",
    "🍫🥛 emoji 👩‍👩‍👧‍👦",
    "w" * 400,
    "$x^2$ and $y$ \\frac \0 end".replace("\0", "\N{LINE SEPARATOR}"),
    "",
]
MakeRun = Callable[..., Run]


@dataclass(frozen=True)
class Row:
    """One row of a run: the product, the answer, the truth."""

    text: str
    predicted: tuple[str, ...]
    truth: tuple[str, ...]
    confidence: float = 0.9
    status: str = "exact"


def shelf_rows(count: int = 60) -> list[Row]:
    """Return rows in which every level goes wrong somewhere, over names that no page expects."""
    rows = []
    for at in range(count):
        word = HOSTILE[(at + at // 8) % len(HOSTILE)]
        truth = ("food", f"group {at % 3}", f"{word[:90]} m{at % 7}", f"brand {at % 5}")
        predicted = list(truth)
        if at % 4:
            for level in range(at % 4 - 1 if at % 8 < 4 else 3, 4):
                predicted[level] = f"other {at % 6}{word[:30]}"
        if at % 19 == 18:
            predicted[2:] = ["", ""]
        status = "abstained" if at % 19 == 18 else ("exact", "repaired")[at % 10 == 0]
        rows.append(Row(f"{word} {at}", tuple(predicted), truth, round(0.05 + 0.93 * ((at * 37) % 60) / 60, 6), status))
    return rows


@pytest.fixture(scope="session")
def row() -> type[Row]:
    return Row


@pytest.fixture(scope="session", name="shelf_rows")
def _shelf_rows() -> Callable[..., list[Row]]:
    return shelf_rows


@pytest.fixture(scope="session", name="write_run")
def _write_run() -> MakeRun:
    return write_run


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    return lambda *arguments, **changes: write_run(tmp_path / "runs", *arguments, **changes)


def write_run(
    folder: Path,
    name: str = "one",
    rows: list[Row] | None = None,
    *,
    schema: Schema = INDOML,
    labels: bool = True,
    requests: bool = True,
    level_confidence: bool = False,
    answers: bool = False,
    top: bool = False,
    **manifest: Any,
) -> Run:
    """Write a finished run, by hand."""
    rows = shelf_rows() if rows is None else rows
    place = folder / name
    shops = ["corner", "<b>bold & co</b>", "", "متجر", "s" * 80]
    prices = [0.99, 2.5, float("nan"), 10.0, 1234.5, 3.0]
    products = Products(
        ids=list(range(100, 100 + len(rows))),
        columns={column: [row.text if at == 0 else "" for row in rows] for at, column in enumerate(schema.text)},
        retailers=[shops[at % len(shops)] if schema.retailer else "" for at in range(len(rows))],
        prices=np.array([prices[at % len(prices)] if schema.price else float("nan") for at in range(len(rows))]),
        labels=[row.truth for row in rows] if labels else None,
    )
    write_products(place / "inputs", "test", [products], schema)
    counts = {row.truth: 1 + at % 40 for at, row in enumerate(rows) if at % 3}
    Taxonomy(schema.levels, counts or {rows[0].truth: 1}).write(place / "taxonomy.csv")
    lines, asked, said = [], [], []
    for at, (row, number) in enumerate(zip(rows, products.ids, strict=True)):
        line = {schema.id: number, **dict(zip(schema.levels, row.predicted, strict=True))}
        line |= {"confidence": row.confidence, "status": row.status}
        if level_confidence:
            line["level_confidence"] = [min(1.0, row.confidence + 0.02 * up) for up in range(len(row.predicted))][::-1]
        if top:
            line["top"] = [[list(row.predicted), row.confidence], [list(row.truth), 0.04]]
        lines.append(line)
        near = "\n".join(f"- {row.text} like {n} | corner | 1.00 -> {SEPARATOR.join(row.truth)}" for n in range(at % 4))
        shown = f"Similar products and their labels:\n{near}\n\n" if near else ""
        messages = [{"role": "user", "content": f"{shown}Product: {row.text}\nLabel:"}]
        candidates = [list(row.predicted), list(row.truth)]
        request = {
            "id": f"{number}-x",
            "messages": messages,
            "candidates": candidates,
            "scores": [row.confidence, 0.01],
        }
        asked.append({**request, "max_tokens": 64})
        said.append({"id": f"{number}-x", "text": f"<i>{row.text}</i>", "prompt_tokens": 9, "completion_tokens": 2})
    files = {"predictions.jsonl": lines, **({"requests.jsonl": asked} if requests else {})}
    files |= {"completions.jsonl": said} if answers else {}
    for file, values in files.items():
        (place / file).write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values))
    asking = {
        "answers": len(rows),
        "errors": 0,
        "prompt_tokens": 9,
        "completion_tokens": 2,
        "asked_again": 0,
        "cost": 1.5,
    }
    about = {
        "format": 2,
        "strategy": "rag",
        "engine": "server" if answers else "neighbours",
        "engine_options": {"base_url": "http://me:password@localhost/v1"} if answers else {},
        "gpu_price": None,
        "max_cost": None,
        "schema": schema.to_dict(),
        "options": {"policy": "path", "top_k": 5},
        "seed": 0,
        "limit": None,
        "train": ["/somewhere/train"],
        "model": None,
        "inputs": {"test": "0" * 64},
        "rows": len(rows),
        "test": "inputs/test.features",
        "started": "2026-01-02T03:04:05+00:00",
        "command": ["classify", "--train", "some where", "--base-url", "http://me:password@localhost/v1"],
        "python": "3.11",
        "platform": "Linux",
        "packages": {"shelfmark": "0.1.0"},
        "commit": None,
        "stages": {"predictions": {"rows": len(rows), "seconds": 1.5}, "report": {"rows": len(rows), "seconds": 0.1}},
        **({"asking": asking} if answers else {}),
        **manifest,
        "finished": "2026-01-02T04:04:05+00:00",
    }
    (place / "manifest.json").write_text(json.dumps(about))
    return Run.open(place)
