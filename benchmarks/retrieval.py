"""Retrieval at the datathon's size: `rag` without an LLM, from files to predictions, and its search beside FAISS's.

    python benchmarks/retrieval.py [--part job search growth] [--rows N] [--test-rows N] [--work FOLDER]

Data: what `classify sample --taxonomy` writes, of 63 retailers, with the taxonomy of $SHELFMARK_DATA; without it,
made-up paths. Parts: job (fit, then a run over all test rows and one over some: time, memory), search (beside
FAISS and, where it is installed, LangChain, on the same queries), growth (more rows, slices of one size). FOLDER
keeps the data and the model.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import sparse

from catalog.products import Products, stream_products
from catalog.sample import write_sample
from catalog.schema import PRESETS
from catalog.taxonomy import Taxonomy

SCHEMA = PRESETS["indoml"]
ROWS, TEST_ROWS, FEW_ROWS = 561_838, 184_664, 20_000
GROWTH = (50_000, 150_000, ROWS)
SLICE = 5_000  # rows of a retailer, where growth is measured
K, QUERIES, BLOCK = 5, 2_000, 2_048
FLAT = "FAISS, flat: no filter"
SKETCH = 768  # dimensions of what the peers search: as many as mpnet has
GOALS = {"minutes": 15.0, "GiB": 8.0, "times flat": 20.0, "recall": 0.99}
console = Console(width=140)


# The data.


def sample(work: Path, rows: int, test_rows: int) -> Path:
    """Return the folder with so many rows; the features to predict are in a folder of their own, without labels."""
    folder = work / f"sample-{rows}-{test_rows}"
    if not (folder / "bare" / "test.features").is_file():
        root = os.environ.get("SHELFMARK_DATA")
        file = Path(root) / "indoml" / "taxonomy.csv.gz" if root else None
        if file is None or not file.is_file():
            console.print("SHELFMARK_DATA has no indoml/taxonomy.csv.gz: a made-up taxonomy instead")
        taxonomy = Taxonomy.read(file, SCHEMA) if file is not None and file.is_file() else None
        write_sample(folder, rows=rows, test_rows=test_rows, taxonomy=taxonomy)
        (folder / "bare").mkdir(exist_ok=True)
        shutil.copy(folder / "test.features", folder / "bare" / "test.features")
    return folder


# Measuring.


def memory() -> float:
    """Return the most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


class Clock:
    """Seconds by the wall and of the processor, of a stretch of work."""

    def __enter__(self) -> Clock:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu


def command(*given: Any) -> dict[str, float]:
    """Run `classify`; return seconds by the wall, of the processor, and the most memory in MiB."""
    line = [sys.executable, "-m", "classify.cli", *map(str, given)]
    started = time.perf_counter()
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_WAIT_POLICY": "passive"})
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(line)}: ended with status {status}")
    peak = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {"wall": time.perf_counter() - started, "cpu": used.ru_utime + used.ru_stime, "peak": peak}


def apart(work: Callable[..., Any], *given: Any) -> Any:
    """Run a function in a process of its own, so that its memory can be told; what it returns gets its ``peak``."""
    receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_send, args=(sender, work, given))
    process.start()
    sender.close()
    try:
        found = receiver.recv()
    except EOFError:
        process.join()
        sys.exit(f"{work.__name__}: ended with status {process.exitcode}")
    process.join()
    return found


def _send(sender: Connection, work: Callable[..., Any], given: tuple[Any, ...]) -> None:
    found = work(*given)
    sender.send({**found, "peak": memory()})


# The job.


def job(work: Path, data: Path, rows: int, test_rows: int) -> None:
    model, whole, part = work / f"model-{rows}", work / f"run-{rows}-{test_rows}", work / f"run-{rows}-few"
    for folder in (model, whole, part):
        shutil.rmtree(folder, ignore_errors=True)
    bare = data / "bare" / "test.features"
    few = min(FEW_ROWS, test_rows)
    table = Table(title=f"rag, no LLM: {rows:,} training rows, {test_rows:,} rows")
    for column in ("step", "minutes", "of the processor", "rows/s", "peak memory, MiB"):
        table.add_column(column, justify="left" if column == "step" else "right")

    def add(name: str, count: int, used: dict[str, float]) -> None:
        seconds = used["wall"]
        table.add_row(
            name, f"{seconds / 60:.1f}", f"{used['cpu'] / 60:.1f}", f"{count / seconds:,.0f}", f"{used['peak']:,.0f}"
        )

    fitted = command("fit", "--strategy", "rag", "--train", data, "--out", model)
    add("fit: read, encode, index, tune the vote", rows, fitted)
    ran = command("--model", model, "--test", bare, "--run", whole)
    add("run: read, encode, retrieve, vote, write", test_rows, ran)
    for name, stage in json.loads((whole / "manifest.json").read_text())["stages"].items():
        table.add_row(f"  {name}", f"{stage['seconds'] / 60:.1f}", "", f"{test_rows / stage['seconds']:,.0f}", "")
    total = {name: fitted[name] + ran[name] for name in ("wall", "cpu")}
    total["peak"] = max(fitted["peak"], ran["peak"])
    add("the whole job", rows + test_rows, total)
    small = command("--model", model, "--test", bare, "--limit", few, "--run", part)
    add(f"a run over {few:,} rows alone", few, small)
    console.print(table)
    minutes, gib = total["wall"] / 60, total["peak"] / 1024
    console.print(
        f"{minutes / GOALS['minutes']:.2f} of the {GOALS['minutes']:.0f} minutes that are the goal "
        f"({total['cpu'] / 60 / GOALS['minutes'] / 2:.2f} by the processor's time, on two idle cores at best), "
        f"{gib / GOALS['GiB']:.2f} of the {GOALS['GiB']:.0f} GiB; {test_rows / few:.1f} times the rows took "
        f"{ran['peak'] / small['peak']:.2f} times the memory\n"
    )
    with open(part / "predictions.jsonl") as one, open(whole / "predictions.jsonl") as other:
        same = list(one) == list(islice(other, few))
    console.print(f"the predictions of these {few:,} rows in both runs: {'the same' if same else 'NOT the same'}\n")


# The search.


def ours(model: Path, bare: Path) -> dict[str, Any]:
    """Search twice: the first search makes the slices, the second is what each block of a run takes."""
    from rag.index import Index
    from rag.retrieve import shortlist

    index, asked = Index.load(model, SCHEMA), queries(bare)
    with Clock() as encode:
        vectors = index.encoder.encode(asked.texts)
    with Clock() as first:
        shortlist(index, vectors, asked, filter_by="retailer", enough=K)
    with Clock() as clock:
        found = shortlist(index, vectors, asked, filter_by="retailer", enough=K)
    return {
        "cpu": clock.cpu / len(asked),
        "slices": first.cpu - clock.cpu,
        "encode": encode.cpu / len(asked),
        "found": found.rows[:, :K],
    }


def queries(bare: Path) -> Products:
    """Return the queries that all are measured on: the first test rows."""
    return next(stream_products(bare, SCHEMA, chunk_rows=QUERIES))


def exact(model: Path, bare: Path, found: dict[str, NDArray[np.int64]]) -> dict[str, Any]:
    """Return the share of each one's five that is as similar, by exact cosine, as the five best of the slice."""
    from rag.index import Index

    index = Index.load(model, SCHEMA)
    asked = queries(bare)
    assert index.vectors.sparse is not None
    words = index.encoder.encode(asked.texts).sparse
    hits = dict.fromkeys(found, 0.0)
    for query, retailer in enumerate(asked.retailers):
        start, end = index.slices.get(retailer, (0, len(index)))
        cosines = (index.vectors.sparse[start:end] @ words[[query]].T).toarray()[:, 0]
        fifth = np.partition(cosines, -K)[-K] - 1e-5
        for name, rows in found.items():
            if query < len(rows):
                mine = rows[query][(rows[query] >= start) & (rows[query] < end)] - start
                hits[name] += (cosines[mine] >= fifth).mean() * len(mine) / K if len(mine) else 0.0
    return {name: hits[name] / min(len(rows), len(asked)) for name, rows in found.items()}


def dense(model: Path, bare: Path) -> tuple[Any, NDArray[np.float32], NDArray[np.float32], Products]:
    """Return the index and what the peers search: its n-grams, of random signs, added up in `SKETCH` dimensions."""
    from rag.index import Index

    index = Index.load(model, SCHEMA)
    asked = queries(bare)
    base, words = index.vectors.sparse, index.encoder.encode(asked.texts).sparse
    assert base is not None
    rng = np.random.default_rng(0)
    size = base.shape[1]
    places = rng.integers(0, SKETCH, size, dtype=np.int32)
    signs = rng.choice(np.array([-1.0, 1.0], dtype=np.float32), size)
    project = sparse.csr_array((signs, places, np.arange(size + 1)), shape=(size, SKETCH))
    wide = np.empty((len(index), SKETCH), dtype=np.float32)
    for start in range(0, len(index), 8192):
        wide[start : start + 8192] = unit((base[start : start + 8192] @ project).toarray())
    return index, wide, unit((words @ project).toarray()), asked


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def flat(model: Path, bare: Path, count: int) -> dict[str, Any]:
    """FAISS's flat index over all rows, all queries at once: without a filter, the fastest exact search it has."""
    import faiss

    _, wide, asked, _ = dense(model, bare)
    index = faiss.IndexFlatIP(SKETCH)
    index.add(wide)
    del wide
    index.search(asked[:20], K)  # its memory is touched before it is timed
    with Clock() as clock:
        _, found = index.search(asked[:count], K)
    return {"cpu": clock.cpu / count, "found": found}


def selector(model: Path, bare: Path, count: int, kind: str) -> dict[str, Any]:
    """The same with an IDSelector for each retailer, its queries together."""
    import faiss

    shelf, wide, asked, products = dense(model, bare)
    index = faiss.IndexFlatIP(SKETCH)
    index.add(wide)
    del wide
    groups: dict[tuple[int, int], list[int]] = {}
    for query, retailer in enumerate(products.retailers[:count]):
        groups.setdefault(shelf.slices.get(retailer, (0, len(shelf))), []).append(query)
    found = np.empty((count, K), dtype=np.int64)
    with Clock() as clock:
        for (start, end), members in groups.items():
            ids = np.arange(start, end)
            chosen = faiss.IDSelectorRange(start, end) if kind == "range" else faiss.IDSelectorBatch(ids)
            _, near = index.search(asked[members], K, params=faiss.SearchParameters(sel=chosen))
            found[members] = near
    return {"cpu": clock.cpu / count, "found": found}


def langchain(model: Path, bare: Path, count: int) -> dict[str, Any]:
    """LangChain's FAISS store as the datathon team used it: one query at a time, the filter under a wrong name.

    The vectors are at hand: encoding is in none of the times.
    """
    import faiss
    from langchain_community.docstore.in_memory import InMemoryDocstore
    from langchain_community.vectorstores import FAISS
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings

    shelf, wide, asked, products = dense(model, bare)
    vector_of = dict(zip(products.texts, asked, strict=True))

    class AtHand(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [self.embed_query(text) for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return vector_of[text].tolist()

    index = faiss.IndexFlatL2(SKETCH)
    index.add(wide)
    del wide
    rows = shelf.products
    documents = {
        str(row): Document(page_content=text, metadata={"retailer": rows.retailers[row], "row": row})
        for row, text in enumerate(rows.texts)
    }
    store = FAISS(AtHand(), index, InMemoryDocstore(documents), {row: str(row) for row in range(len(rows))})
    found = np.empty((count, K), dtype=np.int64)
    with Clock() as clock:
        for query in range(count):
            told = store.similarity_search(products.texts[query], k=K, where={"retailer": products.retailers[query]})
            found[query] = [document.metadata["row"] for document in told]
    return {"cpu": clock.cpu / count, "found": found}


def search(work: Path, data: Path, rows: int) -> None:
    model, bare = work / f"model-{rows}", data / "bare" / "test.features"
    if not (model / "model.json").is_file():
        command("fit", "--strategy", "rag", "--train", data, "--out", model)
    # By the processor's time, which other work on the machine does not change: a thread each, so that none waits idly.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    mine = apart(ours, model, bare)
    told = {"shelfmark: the retailer's slice": mine}
    told[FLAT] = apart(flat, model, bare, QUERIES)
    told["FAISS, IDSelectorRange of the slice"] = apart(selector, model, bare, QUERIES // 4, "range")
    told["FAISS, IDSelectorBatch of its ids"] = apart(selector, model, bare, QUERIES // 4, "batch")
    if importlib.util.find_spec("langchain_community") is None:
        console.print("langchain-community is not installed (pip install -e '.[peers]'): it is left out")
    else:
        told["LangChain, as the datathon team: no filter"] = apart(langchain, model, bare, QUERIES // 40)
    recalls = apart(exact, model, bare, {name: one["found"] for name, one in told.items()})
    table = Table(title=f"search: {rows:,} rows; the peers scaled from the first of the same queries")
    columns = ("search", "queries", "ms of a core", "rows/s of a core", "times flat", "recall@5", "peak, MiB")
    for column in columns:
        table.add_column(column, justify="left" if column == "search" else "right")
    base = told[FLAT]["cpu"]
    for name, one in told.items():
        asked, each = len(one["found"]), one["cpu"]
        figures = (f"{each * 1000:.2f}", f"{1 / each:,.1f}", f"{base / each:.2f}", f"{recalls[name]:.4f}")
        table.add_row(name, f"{asked:,}", *figures, f"{one['peak']:,.0f}")
    console.print(table)
    console.print(
        f"{base / mine['cpu'] / GOALS['times flat']:.2f} of the {GOALS['times flat']:.0f} times the flat search that "
        f"are the goal. shelfmark keeps 200 candidates of a row with their exact similarity, the others {K}; its "
        f"slices take {mine['slices']:.1f} s once. Encoding is in none ({mine['encode'] * 1000:.2f} ms a row). "
        "recall@5: as similar as the fifth of the slice at least, by exact, unprojected cosine; what the peers "
        f"search are the same n-grams in {SKETCH} dimensions\n"
    )


# Growth.


def built(data: Path, rows: int) -> dict[str, Any]:
    """Index the first rows, as of retailers of `SLICE` rows each, and search them."""
    from catalog.products import read_products
    from rag.index import Index
    from rag.ngram import NgramEncoder
    from rag.retrieve import shortlist

    train = read_products(data, SCHEMA, labels=True, limit=rows)
    shops = max(rows // SLICE, 1)
    train.retailers = [f"shop {row % shops:03}" for row in range(rows)]
    with Clock() as build:
        index = Index.build(train, SCHEMA, NgramEncoder())
    searching = 0.0
    asked = 0
    for block in islice(blocks(data, shops), 3):
        vectors = index.encoder.encode(block.texts)
        with Clock() as clock:
            shortlist(index, vectors, block, filter_by="retailer", enough=K)
        if asked or len(block) < BLOCK:  # the first makes the slices
            searching += clock.cpu
        asked += len(block)
    return {"build": build.cpu, "cpu": searching / max(asked - BLOCK, 1)}


def blocks(data: Path, shops: int) -> Iterator[Products]:
    for number, block in enumerate(stream_products(data / "bare", SCHEMA, chunk_rows=BLOCK)):
        block.retailers = [f"shop {(number * BLOCK + row) % shops:03}" for row in range(len(block))]
        yield block


def growth(data: Path, sizes: list[int]) -> None:
    table = Table(title=f"growth: slices of {SLICE:,} rows")
    columns = (
        "rows",
        "index, s of the processor",
        "a row, ms",
        "ratio",
        "search, ms a row",
        "ratio",
        "MiB",
        "KiB a row",
    )
    for column in columns:
        table.add_column(column, justify="right")
    first: dict[str, float] = {}
    for size in sizes:
        one = apart(built, data, size)
        each = one["build"] / size * 1000
        first = first or {"build": each, "cpu": one["cpu"]}
        table.add_row(
            f"{size:,}",
            f"{one['build']:.1f}",
            f"{each:.3f}",
            f"{each / first['build']:.2f}",
            f"{one['cpu'] * 1000:.2f}",
            f"{one['cpu'] / first['cpu']:.2f}",
            f"{one['peak']:,.0f}",
            f"{one['peak'] * 1024 / size:.1f}",
        )
    console.print(table)


PARTS = ("job", "search", "growth")


def main() -> None:
    options = argparse.ArgumentParser(description="Retrieval at the datathon's size.")
    options.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    options.add_argument("--rows", type=int, default=ROWS)
    options.add_argument("--test-rows", type=int, default=TEST_ROWS)
    options.add_argument("--work", type=Path, default=Path("build/retrieval"))
    chosen = options.parse_args()
    facts = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {date.today()}"
    load = os.getloadavg()[0]
    console.print(f"{facts}; load {load:.1f} before ({'idle' if load < 0.5 else 'the machine also at other work'})\n")
    data = sample(chosen.work, chosen.rows, chosen.test_rows)
    if "job" in chosen.part:
        job(chosen.work, data, chosen.rows, chosen.test_rows)
    if "search" in chosen.part:
        search(chosen.work, data, chosen.rows)
    if "growth" in chosen.part:
        growth(data, sorted({min(size, chosen.rows) for size in GROWTH}))


if __name__ == "__main__":
    main()
