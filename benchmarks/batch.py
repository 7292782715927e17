"""The batch engine at the datathon's size, and under everything that goes wrong at a provider, beside a plain script.

    python benchmarks/batch.py [--rows 184664] [--seeds 1000] [--first 0]

Both ask the loopback server of the tests over HTTP, by the real client. At size: the command `classify --engine batch`
in a process of its own, all stages, and a script that sends the same requests and reads what comes back
(`batch_plain.py`). Under faults: that many seeded combinations of them, each to its end; what must hold is asserted,
and the script is given the same faults. The taxonomy is the datathon's, read from $SHELFMARK_DATA; without it our own.
"""

from __future__ import annotations

import argparse
import fileinput
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.request import urlopen

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from batch_plain import ask  # noqa: E402

from catalog.products import read_products  # noqa: E402
from catalog.sample import write_sample  # noqa: E402
from catalog.schema import PRESETS, SEPARATOR  # noqa: E402
from catalog.taxonomy import Taxonomy  # noqa: E402
from classify.engines import retry  # noqa: E402
from classify.engines.base import ModelOptions  # noqa: E402
from classify.engines.batch_files import request_line  # noqa: E402
from finetune.examples import Selection  # noqa: E402
from finetune.piped import piped_prompts  # noqa: E402

SCHEMA = PRESETS["indoml"]
TRAIN_ROWS = 40_000
MODEL, KEY = "gpt-4o-mini", "sk-test-loopback"
POLL = 1.0
ROWS_A_SEED = 40
TORN = 20
"""Of so many answers one lacks its last sign, as real ones do."""


@contextmanager
def served(folder: Path, answers: Path) -> Iterator[str]:
    """Run the server in a process of its own; its address."""
    command = [sys.executable, "-m", "tests.openai_server", "--folder", str(folder), "--answers", str(answers)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[0]
        process.terminate()


def write_data(folder: Path, rows: int) -> None:
    """Write products, and what the model will answer to each."""
    root = os.environ.get("SHELFMARK_DATA")
    known = None if root is None else Taxonomy.read(Path(root) / "indoml" / "taxonomy.csv.gz", SCHEMA)
    if known is None:
        print("SHELFMARK_DATA is not set: our own taxonomy, not the datathon's")
    write_sample(folder, rows=TRAIN_ROWS, test_rows=rows, schema=SCHEMA, taxonomy=known)
    test = read_products(folder / "test.features", SCHEMA, labels=True)
    said = [SEPARATOR.join(label) for label in test.require_labels()]
    asked = [turns[-1]["content"] for turns in piped_prompts(test, SCHEMA, Selection())]
    answers = {
        text: label[: len(label) - (row % TORN == 0)] for row, (text, label) in enumerate(zip(asked, said, strict=True))
    }
    (folder / "answers.json").write_text(json.dumps(answers))


def command(folder: Path, url: str) -> tuple[float, float]:
    """Run the command; return seconds, and the most MiB that it held."""
    os.environ.update(OPENAI_BASE_URL=url, OPENAI_API_KEY=KEY)
    files = ["--train", f"{folder}/train.features", "--test", f"{folder}/test.features", "--run", f"{folder}/run"]
    how = ["--strategy", "openai", "--model", MODEL, "--engine", "batch", "--poll", str(POLL)]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "classify.cli", *how, *files], cwd=ROOT, check=True)
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def plain(folder: Path, url: str) -> tuple[float, int]:
    """Run the script on the same requests; return seconds, and how many answers there were."""
    import openai

    started = time.perf_counter()
    api = openai.OpenAI(api_key=KEY, base_url=url)
    files = sorted((folder / "run" / "batches").glob("*.requests.jsonl"))
    with fileinput.input(files, mode="rb") as lines:
        answers = ask(api, lines, folder, poll=POLL)
    return time.perf_counter() - started, len(answers)


def at_size(rows: int) -> None:
    """Print time, memory and sizes of files."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_data(folder, rows)
        with served(folder / "server", folder / "answers.json") as url:
            # Of a process that has no other child: the memory is that of the command alone.
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                seconds, memory = pool.submit(command, folder, url).result()
            with urlopen(url.removesuffix("/v1") + "/control/state") as answer:
                state = json.load(answer)
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                bare, answered = pool.submit(plain, folder, url).result()
        manifest = json.loads((folder / "run" / "manifest.json").read_text())
        asking, stages = manifest["asking"], manifest["stages"]
        print(f"\nclassify --engine batch, {rows:,} rows: {seconds:.0f} s, {memory:,.0f} MiB at most")
        for name, stage in stages.items():
            print(f"  {name}: {stage['seconds']:.1f} s")
        print(f"the plain script, the same requests: {bare:.0f} s, {answered:,} answers")
        asked = stages["completions"]["seconds"]
        print(f"completions / plain script: {asked / bare:.2f} of the time")
        for file in sorted([*(folder / "run").iterdir(), *(folder / "run" / "batches").iterdir()]):
            if file.is_file() and file.stat().st_size > 1_000_000:
                print(f"  {file.relative_to(folder / 'run')}: {file.stat().st_size / 1e6:,.0f} MB")
        billed = state["billed"]["batch"]
        same = asking["billed_tokens"] == [billed["prompt_tokens"], billed["completion_tokens"]]
        print(f"tokens told {asking['billed_tokens']}, billed the same: {same}; cost ${asking['cost']:.4f}")


@dataclass
class Outcome:
    """What came of one combination of faults: rows with an answer, of how many; the script's of the same faults."""

    seed: int
    failure: str = ""
    rows: int = ROWS_A_SEED
    answers: int = 0
    errors: int = 0
    stops: int = 0
    most: int = 0
    plain: int = 0
    died: bool = False
    faults: tuple[str, ...] = ()


def one_seed(seed: int) -> Outcome:
    """Drive the engine, and then the script, through one combination of faults."""
    from tests.openai_server.driving import drive, random_faults

    retry.FIRST_WAIT = 0.0
    faults = random_faults(seed)
    found = Outcome(seed, faults=tuple(sorted(faults.keys() - {"seed"})))
    with tempfile.TemporaryDirectory() as scratch:
        try:
            done = drive(seed, rows=ROWS_A_SEED, folder=Path(scratch) / "batches")
            found.errors, found.stops = len(done.errors()), len(done.stops)
            found.answers = len(done.completions) - found.errors
            found.most = max(done.processed.values(), default=0)
        except AssertionError as failure:
            found.failure = str(failure).splitlines()[0][:200] if str(failure) else "an assertion"
        found.plain, found.died = _script(Path(scratch), faults)
    return found


def _script(folder: Path, faults: dict[str, Any]) -> tuple[int, bool]:
    """Return how many answers the script has to the same requests under the same faults, and whether it died."""
    import openai

    from tests.openai_server.driving import FILTERED, MODEL, REFUSED, some_requests
    from tests.openai_server.running import running

    options = ModelOptions(llm=MODEL, constrain="off")
    lines = [request_line(request, options, None) for request in some_requests(ROWS_A_SEED)]
    with running(refuses={REFUSED}, filters={FILTERED}) as server, patch("time.sleep"):
        server.faults.update(faults)
        try:
            return len(ask(openai.OpenAI(api_key=KEY, base_url=server.url), lines, folder, poll=0.0)), False
        except (openai.OpenAIError, OSError, UnicodeError):
            return 0, True


def under_faults(first: int, seeds: int) -> None:
    """Print what held and what did not, over so many combinations."""
    started = time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        found = list(pool.map(one_seed, range(first, first + seeds), chunksize=8))
    rows = sum(one.rows for one in found)
    print(
        f"\n{seeds:,} combinations of 1 to 9 faults, {ROWS_A_SEED} rows each, in {time.perf_counter() - started:.0f} s:"
    )
    print(f"  in which something did not hold that must: {sum(bool(one.failure) for one in found)}")
    for one in found:
        if one.failure:
            print(f"    seed {one.seed}, {', '.join(one.faults)}: {one.failure}")
    known = 2 * seeds  # of each forty one row is refused by the model, one by the provider: that is their answer
    answers, plain = sum(one.answers for one in found), sum(one.plain for one in found)
    print(f"  rows with an answer: {answers:,} of {rows - known:,} that have one ({answers / (rows - known):.4f})")
    print(f"  combinations in which a person had to begin again: {sum(one.stops > 0 for one in found)}")
    print(f"  most often that one row was answered, and billed: {max(one.most for one in found)}")
    died = sum(one.died for one in found)
    print(f"  the plain script: {plain:,} rows with an answer ({plain / (rows - known):.4f}); it died in {died}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=184_664, help="Test rows at size; 0 leaves that out.")
    parser.add_argument("--seeds", type=int, default=1000, help="Combinations of faults; 0 leaves them out.")
    parser.add_argument("--first", type=int, default=0, help="The first seed.")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}")
    if given.rows:
        at_size(given.rows)
    if given.seeds:
        under_faults(given.first, given.seeds)


if __name__ == "__main__":
    main()
