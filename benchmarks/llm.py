"""A language model among the retriever's candidates: every engine on the same rows, and what the answers are worth.

A tiny Llama is trained from nothing on training rows asked about as if they were new (minutes on a CPU). Then the same
requests are answered through each engine, constrained, at temperature 0, and the answers are compared row by row; and
the model's choice, the retriever's, and the joint decision are scored on rows that none of them has seen.

    pip install -e '.[embed]' and the CPU build of vLLM (make test-all does both), then
    SHELFMARK_DATA=... python benchmarks/llm.py [--data coles] [--rows 1000] [--steps 1800]

Without SHELFMARK_DATA, made-up data. A model this small tells whether the machinery works, not what an LLM can do.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tiny_llama import train as train_llama

import rag.vote
from catalog.messages import Completion, Request
from catalog.products import read_products
from catalog.sample import write_sample
from catalog.schema import PRESETS, SEPARATOR
from classify import fit
from classify.answers import AnswerReader
from classify.asking import read_answers
from classify.exchange import export_requests, import_answers
from classify.job import Job
from classify.lines import read_lines
from classify.model import load
from classify.run import Run
from classify.rundir import now
from measure.accuracy import item_accuracy, paired_difference

SCHEMA = PRESETS["indoml"]
PORT = 8765
VLLM = ["--dtype", "float32", "--structured-outputs-config", '{"backend": "guidance"}']
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
}
# Short, because the model is: candidates and product, no neighbours.
TEMPLATE = """{% block system %}{% endblock %}{% block user -%}
{% for label in candidates %}{{ label }}
{% endfor %}{{ product.text }}{% if product.price is not none %} {{ "%.2f" | format(product.price) }}{% endif %}
{%- endblock %}"""
OPTIONS = {"candidates": 6, "prompt": TEMPLATE, "calibrate": 500}


@contextmanager
def served(model: Path, log: Path):
    """Serve the model with vLLM's own server."""
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), *VLLM]
    command += ["--served-model-name", "tiny", "--port", str(PORT), "--enforce-eager"]
    with open(log, "wb") as out, subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True) as process:
        try:
            for _ in range(300):
                if process.poll() is not None:
                    sys.exit(log.read_text())
                with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5):
                    break
                time.sleep(1)
            yield f"http://127.0.0.1:{PORT}/v1"
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def batch(run: Run, llama: Path) -> None:
    """Have the requests answered by vLLM's run-batch, file in, file out."""
    choice = {"llm": str(llama), "constrain": "choice"}
    for file, _ in export_requests(run, run.folder / "export", "openai-batch", choice):
        out = file.with_name("output.jsonl")
        command = [sys.executable, "-m", "vllm.entrypoints.openai.run_batch", "-i", str(file), "-o", str(out)]
        subprocess.run([*command, "--model", str(llama), *VLLM, "--enforce-eager"], check=True, capture_output=True)
        import_answers(run, [out])


def training_pairs(model: Path, rows: int) -> list[tuple[list[dict[str, str]], str]]:
    """Requests about training rows as if they were new, but for those that the runs calibrate on, with their labels."""
    strategy = load(model).strategy
    rag.vote.HELD_OUT_ROWS = rows
    held = strategy.held_out_requests(rows)[OPTIONS["calibrate"] :]
    return [(request.messages, SEPARATOR.join(label)) for request, label in held if label in request.candidates]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--data", default="coles")
    arguments.add_argument("--rows", type=int, default=1000, help="rows that every engine answers")
    arguments.add_argument("--steps", type=int, default=1800, help="training steps, of 16 rows")
    chosen = arguments.parse_args()
    os.environ.update(SETTINGS)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        root = os.environ.get("SHELFMARK_DATA")
        if root is None:
            print("SHELFMARK_DATA is not set: made-up data")
            write_sample(work / "data", rows=13_000, test_rows=2_000)
            train, test = work / "data" / "train.features", work / "data" / "test.features"
        else:
            train, test = (Path(root) / chosen.data / f"{name}.features" for name in ("train", "dev"))
        fit(train, **OPTIONS).save(work / "model")
        pairs = training_pairs(work / "model", 12_000)
        started = time.perf_counter()
        losses = train_llama(
            pairs, work / "llama", steps=chosen.steps, batch=16, width=128, vocabulary=3000, context=768
        )
        loss = sum(losses[-100:]) / len(losses[-100:])
        print(f"{now()}: tiny Llama, {len(pairs):,} rows, {chosen.steps} steps, "
              f"{time.perf_counter() - started:,.0f} s, loss {loss:.3f}", flush=True)  # fmt: skip
        compare(work, test, chosen.rows)
        value(work, test)


def job(work: Path, test: Path, engine: str, limit: int | None, **given: object) -> Job:
    options = load(work / "model").strategy.options.model_dump()
    return Job("rag", engine, SCHEMA, options, 0, test, model=work / "model", limit=limit, engine_options=dict(given))


def compare(work: Path, test: Path, rows: int) -> None:
    """Have each engine answer the same rows."""
    llama = str(work / "llama")
    runs: dict[str, Run] = {}
    seconds: dict[str, float] = {}

    def start(name: str, engine: str, until: str = "report", **given: object) -> Run:
        runs[name] = Run.start(work / "runs" / name, job(work, test, engine, rows, **given))
        started = time.perf_counter()
        runs[name].execute(until)
        seconds[name] = runs[name].manifest.get("asking", {}).get("seconds") or time.perf_counter() - started
        return runs[name]

    start("transformers", "transformers", llm=llama)
    start("vllm", "vllm", llm=llama, dtype="float32")
    with served(work / "llama", work / "log") as url:
        start("server", "server", base_url=url, llm="tiny")
    run = start("run-batch", "neighbours", "requests")
    started = time.perf_counter()
    batch(run, work / "llama")
    seconds["run-batch"] = time.perf_counter() - started
    Run.open(run.folder).execute()

    table = Table(
        "engine", "answers/s", "the same answer", "the same prediction", title=f"{rows:,} rows, choice, temperature 0"
    )
    first = answers(runs["vllm"]), predictions(runs["vllm"])
    for name, run in runs.items():
        mine = answers(run), predictions(run)
        asked = len(mine[0])
        same = sum(mine[0][key] == text for key, text in first[0].items())
        alike = sum(one == other for one, other in zip(mine[1], first[1], strict=True))
        table.add_row(name, f"{asked / seconds[name]:,.0f}", f"{same:,} of {asked:,}", f"{alike:,} of {len(mine[1]):,}")
    Console(width=110).print(table)


def answers(run: Run) -> dict[str, str]:
    return {name: answer.text for name, answer in read_answers(run.folder).items()}


def predictions(run: Run) -> list[tuple[str, ...]]:
    return [tuple(line[level] for level in SCHEMA.levels) for line in read_lines(run.predictions)]


def value(work: Path, test: Path) -> None:
    """Score the model's choice, the retriever's and the joint decision on all rows, on the same candidates."""
    run = Run.start(work / "runs" / "all", job(work, test, "vllm", None, llm=str(work / "llama"), dtype="float32"))
    run.execute()
    labels = read_products(test, SCHEMA, labels=True).require_labels()
    requests = [Request.from_dict(line) for line in read_lines(run.folder / "requests.jsonl")]
    found = read_answers(run.folder)
    said: list[Completion] = [found[request.id] for request in requests]
    reader = AnswerReader(run.taxonomy(), run.manifest["options"]["policy"])
    nothing = [""] * len(requests)
    read = reader.paths(requests, said, nothing, nothing)
    retriever = [request.candidates[0] for request in requests]
    model = [path or best for (path, _, _), best in zip(read, retriever, strict=True)]
    methods = {"retriever, no LLM": retriever, "the model's choice": model, "joint decision": predictions(run)}
    table = Table(
        "method",
        "item accuracy",
        "to the retriever (95%)",
        title=f"{test.parent.name}: {len(labels):,} rows, the same candidates",
    )
    for name, paths in methods.items():
        gain = paired_difference(labels, paths, retriever)
        told = "" if paths is retriever else f"{gain.difference:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
        table.add_row(name, f"{item_accuracy(labels, paths):.4f}", told)
    best = sum(label in request.candidates for label, request in zip(labels, requests, strict=True)) / len(labels)
    table.add_row("a perfect choice", f"{best:.4f}", "")
    Console(width=110).print(table)
    print(json.dumps(run.manifest["joint"]))


if __name__ == "__main__":
    main()
