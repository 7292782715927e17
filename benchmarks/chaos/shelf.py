"""What the cases work on: made once, by the command itself; each case gets a copy of what it needs."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet

import rag
from benchmarks.chaos.forker import Forker
from benchmarks.chaos.jobs import Job, Kill
from catalog.sample import write_sample
from catalog.schema import PRESETS, SEPARATOR
from tests.openai_server import KEY, Server, running
from tests.openai_server.taught import last_user
from tests.search_server import SearchServer, searching

SCHEMA = PRESETS["indoml"]
TRAIN_ROWS, TEST_ROWS, PATHS = 120, 24, 40
MANY_ANSWERS = 400
MODEL = "gpt-4o-mini"


def first_candidate(body: dict[str, Any]) -> str:
    """Answer with the first label that the schema of a request allows, else with a path, a little wrong."""
    form = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    labels = form.get("properties", {}).get("label", {}).get("enum")
    return json.dumps({"label": labels[0]}) if labels else last_user(body["messages"])[-40:]


@dataclass(frozen=True)
class Shelf:
    """The folder, and the servers that its runs were answered by."""

    folder: Path
    api: Server
    search: SearchServer

    def ids(self) -> list[str]:
        """Return the ids of the products that are classified, in order."""
        return [
            str(json.loads(line)[SCHEMA.id])
            for line in (self.folder / "data" / "test.features").read_text().splitlines()
        ]

    def environment(self, server: Server | None = None) -> dict[str, str]:
        """Return the variables that a job needs: the address and the key of a server."""
        url = (server or self.api).url
        return {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": url, "OMP_NUM_THREADS": "1"}

    def place(self, case: Path, names: tuple[str, ...], changed: str = "") -> None:
        """Give a case some files and folders: copies; of models and data links, but of `changed`."""
        for name in names:
            source, target = self.folder / name, case / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if name.startswith(("data", "models")):
                _linked(source, target)
            elif source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy(source, target)
        if changed:  # a file of its own, not a link
            target = case / changed
            content = target.read_bytes()
            target.unlink()
            target.write_bytes(content)


def _linked(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, copy_function=os.link, dirs_exist_ok=True)
    else:
        os.link(source, target)


ENGINE_TOML = """
url = "{url}/search?q={{query}}"
query = "{{description}}"
results = "web.results"
title = "title"
link = "url"
text = "description"

[headers]
X-Version = "1"
"""
SCHEMA_TOML = """
id = "indoml_id"
text = ["description"]
retailer = "retailer"
price = "price"
levels = ["supergroup", "group", "module", "brand"]
"""
PRICES_TOML = """
["gpt-4o-mini"]
input = 0.15
output = 0.60
training = 3.0
batch = 0.5
enqueued = [2_000_000, 20_000_000]
as_of = "2026-04"
"""
RECIPE_TOML = """
about = "a recipe of one's own"
sample = 110
epochs = 2
batch_size = 4
rank = 8
learning_rate = 1e-4
"""
CARDS_TOML = """
[cards.A40]
dollars = 0.39
priced = "2026-12-01"
source = "a provider"

[cards.Own]
memory = 24
tflops = 100
bandwidth = 600
bfloat16 = true
dollars = 0.2
"""


def _write_data(folder: Path) -> None:
    """Write the products in all forms, and answers to them in all forms."""
    data = folder / "data"
    write_sample(data, rows=TRAIN_ROWS, test_rows=TEST_ROWS, schema=SCHEMA)
    paths = (data / "taxonomy.csv").read_text().split("\n")
    (data / "taxonomy.csv").write_text("\n".join(paths[: PATHS + 1]) + "\n")
    (data / "known").mkdir()
    for name in ("test.features", "test.labels"):
        shutil.copy(data / name, data / "known" / name)
    (data / "test.labels").unlink()

    def rows(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (data / name).read_text().splitlines()]

    trained = [{**one, **label} for one, label in zip(rows("train.features"), rows("train.labels"), strict=True)]
    tested = rows("test.features")
    for name, table in (("train", trained), ("test", tested)):
        arrow = pyarrow.Table.from_pylist(table)
        pyarrow.csv.write_csv(arrow, data / f"{name}.csv")
        pyarrow.parquet.write_table(arrow, data / f"{name}.parquet")
        lines = "".join(json.dumps(row) + "\n" for row in table)
        (data / f"{name}.jsonl").write_text(lines)
        (data / f"{name}.zipped.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    _write_answers(folder, trained, rows("known/test.labels"))
    _write_texts(folder)


def _write_answers(folder: Path, trained: list[dict[str, Any]], known: list[dict[str, Any]]) -> None:
    paths = [SEPARATOR.join(row[level] for level in SCHEMA.levels) for row in trained]
    answers = [
        {SCHEMA.id: row, "answer": paths[row * 7 % len(paths)][: 60 if row % 3 else None] + "x" * (row % 2)}
        for row in range(MANY_ANSWERS)
    ]
    arrow = pyarrow.Table.from_pylist(answers)
    pyarrow.csv.write_csv(arrow, folder / "answers.csv")
    pyarrow.parquet.write_table(arrow, folder / "answers.parquet")
    (folder / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers[:TEST_ROWS]))
    (folder / "answers.predict").write_text("".join(json.dumps(row) + "\n" for row in known))


def _write_texts(folder: Path) -> None:
    (folder / "schema.toml").write_text(SCHEMA_TOML)
    (folder / "prices.toml").write_text(PRICES_TOML)
    (folder / "recipe.toml").write_text(RECIPE_TOML)
    (folder / "cards.toml").write_text(CARDS_TOML)
    shutil.copy(Path(rag.__file__).with_name("product.jinja"), folder / "prompt.jinja")


LORA = {
    "base": "loopback/base",
    "backend": "trl",
    "rows": 60,
    "label_paths": 21,
    "validation_rows": 2,
    "most_answer_tokens": 40,
    "steps": 20,
    "seconds": 432.5,
    "device": "cpu",
    "versions": {"torch": "2.13.0", "python": "3.11.9"},
    "lengths": {"limit": 512, "longest": 97, "mean": 61.3, "histogram": [[30, 49, 12], [50, 97, 48]]},
    "history": [{"step": 10, "loss": 1.5, "learning_rate": 1e-4, "eval_loss": 1.2, "item_accuracy": 0.4}],
    "best": {"step": 10, "item_accuracy": 0.4},
    "stopped_early": False,
    "merge": {"rows": 2, "same_answer": 2, "same_path": 2, "precision": "float32"},
    "notes": [],
}


def _write_lora(folder: Path) -> None:
    """Write a fine-tuned model of words alone: no weights."""
    from catalog.files import content_hash
    from finetune.recipe import load_recipe

    folder.mkdir(parents=True)
    shutil.copy(folder.parent.parent / "data" / "taxonomy.csv", folder / "taxonomy.csv")
    (folder / "training.json").write_text(json.dumps(LORA))
    options = load_recipe("lora-llama3-8b", base="loopback/base", sample=60).model_dump()
    options |= {"policy": "path", "recipe": "lora-llama3-8b", "backend": "trl"}
    files = {name: content_hash(folder / name) for name in ("taxonomy.csv", "training.json")}
    about = {"format": 1, "strategy": "lora", "schema": SCHEMA.to_dict(), "options": options, "seed": 0, "files": files}
    (folder / "model.json").write_text(json.dumps(about))


def _make(shelf: Shelf, fork: Forker) -> None:
    """Have the command make the models, runs and caches."""

    def run(*arguments: str, kill: Kill | None = None) -> None:
        done = fork(Job(arguments, shelf.folder, (".",), shelf.environment(), kill, block=8, limit=600))
        if done.code != (0 if kill is None else -9):
            raise SystemExit(f"classify {' '.join(arguments)}: exit code {done.code}: {done.err}{done.trace}")

    url = shelf.api.url
    known = ("--test", "data/known/test.features")
    run("fit", "--train", "data/train.features", "--out", "models/rag")
    run("fit", "--strategy", "tree", "--train", "data/train.features", "--out", "models/tree")
    tune = ("--strategy", "openai", "--validation", "10", "--epochs", "1")
    run("fit", *tune, "--train", "data/train.features", "--out", "models/mini")
    _write_lora(shelf.folder / "models" / "lora")
    run("--model", "models/rag", *known, "--run", "runs/rag")
    run("--model", "models/tree", *known, "--run", "runs/tree", "--top-n", "3")
    server = ("--engine", "server", "--llm", MODEL, "--base-url", url, "--calibrate", "12")
    run("--model", "models/rag", *known, "--run", "runs/written", *server, "--until", "requests")
    run("--model", "models/rag", *known, "--run", "runs/asked", *server, "--until", "completions")
    run("--model", "models/rag", *known, "--run", "runs/server", *server)
    batch = ("--strategy", "openai", "--model", "models/mini", "--calibrate", "4", "--poll", "0.01", *known)
    run(*batch, "--run", "runs/batch")
    moment = 40
    while not _in_flight(shelf.folder / "runs" / "flight"):
        shutil.rmtree(shelf.folder / "runs" / "flight", ignore_errors=True)
        run(*batch, "--run", "runs/flight", kill=Kill("parent", at=moment))
        moment += 2
    run("export", "runs/written", "--format", "openai-batch", "--llm", MODEL, "--out", "export")
    _answer(shelf)
    (shelf.folder / "engine.toml").write_text(ENGINE_TOML.format(url=shelf.search.url))
    searched = ("--search", "engine.toml", "--price-per-1000", "5", "--limit", "12")
    run("context", "data/test.features", "--out", "context.jsonl", *searched)
    run("submit", "runs/rag", "--name", "first")


def _in_flight(run: Path) -> bool:
    """Tell whether a batch of a run is at the provider, by its books."""
    books = run / "batches" / "ledger.jsonl"
    return books.exists() and b'"created"' in books.read_bytes()


def _answer(shelf: Shelf) -> None:
    """Answer the file of requests that was exported, as a batch does."""
    lines = []
    for text in (shelf.folder / "export" / "requests-001.jsonl").read_text().splitlines():
        request = json.loads(text)
        said = {"role": "assistant", "content": first_candidate(request["body"])}
        usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
        body = {"choices": [{"index": 0, "message": said, "finish_reason": "stop"}], "usage": usage, "model": MODEL}
        response = {"status_code": 200, "request_id": "r", "body": body}
        lines.append({"id": "b", "custom_id": request["custom_id"], "response": response, "error": None})
    (shelf.folder / "output.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@contextmanager
def stocked(folder: Path, fork: Forker) -> Iterator[Shelf]:
    """Make the shelf in an empty folder; its servers run while the block does."""
    with running(steps_per_batch=2, answer=first_candidate) as api, searching() as search:
        shelf = Shelf(folder, api, search)
        _write_data(folder)
        _make(shelf, fork)
        yield shelf
