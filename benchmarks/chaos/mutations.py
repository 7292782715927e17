"""Thousands of files made wrong, each read by a command that reads such files."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.findings import Failure, Goal, Outcome, Row
from benchmarks.chaos.forker import Forker
from benchmarks.chaos.jobs import Job
from benchmarks.chaos.judge import in_parallel, judge
from benchmarks.chaos.mutate import mutated
from benchmarks.chaos.shelf import SCHEMA, Shelf
from catalog.files import content_hash

PART = "mutations"
ALL = 5000


@dataclass(frozen=True)
class Reader:
    """A command that reads files: what it is given, which of that is made wrong, and what it may write.

    `wrong` are files, or folders of which each file is one. `run` is the run whose predictions it writes, if any.
    """

    arguments: str
    given: str
    wrong: str
    writes: str = ""
    run: str = ""
    weight: int = 1

    def words(self, text: str) -> tuple[str, ...]:
        return tuple(text.split())


TRAIN = "data/train.features data/train.labels"
READERS = (
    Reader("fit --train data/train.features --out out", TRAIN, TRAIN, "out", weight=3),
    Reader(
        "--train data/train.csv --test data/test.csv --run run", "data/train.csv data/test.csv", "data", "run", "run", 3
    ),
    Reader("fit --train data/train.parquet --out out", "data/train.parquet", "data", "out", weight=2),
    Reader(
        "--model models/rag --test data/test.parquet --run run", "models/rag data/test.parquet", "data", "run", "run", 2
    ),
    Reader("fit --train data/train.jsonl --out out", "data/train.jsonl", "data", "out"),
    Reader("fit --train data/train.zipped.jsonl.gz --out out", "data/train.zipped.jsonl.gz", "data", "out"),
    Reader(
        "--model models/rag --test data/test.features --run run",
        "models/rag data/test.features",
        "data",
        "run",
        "run",
        3,
    ),
    Reader(
        "--model models/rag --test data/test.features --run run",
        "models/rag data/test.features",
        "models",
        "run",
        "run",
        8,
    ),
    Reader(
        "--model models/tree --test data/test.features --run run",
        "models/tree data/test.features",
        "models",
        "run",
        "run",
        6,
    ),
    Reader(
        "--strategy lora --model models/lora --test data/test.features --run run --until requests --calibrate 0",
        "models/lora data/test.features",
        "models",
        "run",
        weight=1,
    ),
    Reader(
        "--strategy openai --model models/mini --test data/test.features --run run --until requests",
        "models/mini data/test.features",
        "models",
        "run",
        weight=2,
    ),
    Reader("tuning models/mini", "models/mini", "models", "models/mini"),
    Reader(
        "fit --train data/train.jsonl --schema schema.toml --out out",
        "data/train.jsonl schema.toml",
        "schema.toml",
        "out",
        weight=2,
    ),
    Reader(
        "sample --rows 20 --test-rows 5 --taxonomy data/taxonomy.csv --out out",
        "data/taxonomy.csv",
        "data",
        "out",
        weight=2,
    ),
    Reader(
        "plan --train data/train.features --recipe recipe.toml --cards cards.toml",
        f"{TRAIN} recipe.toml cards.toml",
        "recipe.toml cards.toml",
        weight=2,
    ),
    Reader("plan --run runs/written --llm gpt-4o-mini --prices prices.toml", "runs/written prices.toml", "prices.toml"),
    Reader("plan --run runs/written --llm gpt-4o-mini", "runs/written", "runs", "runs/written"),
    Reader(
        "--model models/rag --test data/test.features --run run --until requests --prompt prompt.jinja --engine server",
        "models/rag data/test.features prompt.jinja",
        "prompt.jinja",
        "run",
        weight=2,
    ),
    *(
        Reader(
            f"snap answers.{form} --taxonomy data/taxonomy.csv --out out.jsonl",
            f"answers.{form} data/taxonomy.csv",
            f"answers.{form}",
            "out.jsonl out.changes.jsonl",
            weight=2,
        )
        for form in ("jsonl", "csv", "parquet", "predict")
    ),
    Reader(
        "snap answers.jsonl --taxonomy data/taxonomy.csv --out out.csv",
        "answers.jsonl data/taxonomy.csv",
        "data",
        "out.csv out.csv.changes.jsonl",
        weight=2,
    ),
    Reader(
        "snap output.jsonl --taxonomy data/taxonomy.csv --out out.predict",
        "output.jsonl data/taxonomy.csv",
        "output.jsonl",
        "out.predict out.predict.changes.jsonl",
        weight=2,
    ),
    Reader(
        "snap runs/server --taxonomy data/taxonomy.csv --out out.jsonl",
        "runs/server data/taxonomy.csv",
        "runs",
        "out.jsonl out.changes.jsonl",
    ),
    Reader("import runs/written output.jsonl", "runs/written output.jsonl", "output.jsonl", "runs/written", weight=3),
    Reader("import runs/written output.jsonl", "runs/written output.jsonl", "runs", "runs/written"),
    Reader(
        "export runs/written --format openai-batch --llm gpt-4o-mini --out out",
        "runs/written",
        "runs",
        "out runs/written",
    ),
    Reader("resume runs/written --base-url {url}", "runs/written", "runs", "runs/written", "runs/written", 3),
    Reader("resume runs/asked --base-url {url}", "runs/asked", "runs", "runs/asked", "runs/asked", 5),
    Reader("resume runs/flight", "runs/flight", "runs", "runs/flight", "runs/flight", 5),
    Reader(
        "batches runs/batch --json", "runs/batch", "runs/batch/batches runs/batch/manifest.json", "runs/batch", weight=2
    ),
    Reader("evaluate runs/rag data/known/test.labels --json", "runs/rag data/known", "runs data", "", weight=3),
    Reader("evaluate runs/rag data/known/test.labels --by retailer", "runs/rag data/known", "runs", ""),
    Reader("evaluate answers.predict data/known/test.labels", "answers.predict data/known", "answers.predict", ""),
    Reader("report runs/server --out out.html", "runs/server", "runs", "out.html", weight=3),
    Reader("report runs/tree runs/rag --out out.html", "runs/tree runs/rag", "runs", "out.html", weight=2),
    Reader("report runs/batch --out out.html", "runs/batch", "runs", "out.html"),
    Reader("submit runs/rag --name mine", "runs/rag runs/scoreboard.csv", "runs", "runs", weight=2),
    Reader("submit --score 0.4 --of first --board runs/scoreboard.csv", "runs/scoreboard.csv", "runs", "runs"),
    Reader("vote runs/rag runs/tree --out out", "runs/rag runs/tree", "runs", "out", weight=3),
    Reader("ask runs/tree --rows 5 --out out.csv", "runs/tree", "runs", "out.csv", weight=2),
    Reader(
        "context data/test.features --search engine.toml --out context.jsonl --price-per-1000 5 --max-cost 1",
        "data/test.features engine.toml context.jsonl context.books.jsonl",
        "engine.toml context.jsonl context.books.jsonl",
        "context.jsonl context.books.jsonl context.lock",
        weight=4,
    ),
    Reader(
        "--model models/rag --test data/test.features --run run --until requests --context context.jsonl "
        "--engine server",
        "models/rag data/test.features context.jsonl",
        "context.jsonl",
        "run",
        weight=2,
    ),
    Reader("doctor --json", "", ""),
)


def _files(shelf: Shelf, reader: Reader) -> list[str]:
    """Return the files that are made wrong for a reader."""
    given = [
        str(file.relative_to(shelf.folder))
        for name in reader.words(reader.given)
        for file in (
            [shelf.folder / name] if (shelf.folder / name).is_file() else sorted((shelf.folder / name).rglob("*"))
        )
        if file.is_file() and file.suffix not in (".html", "") and file.stat().st_size < 2_000_000
    ]
    chosen = reader.words(reader.wrong)
    return [name for name in given if any(name == one or name.startswith(one + "/") for one in chosen)]


def _drawn(shelf: Shelf, count: int, seed: int) -> Iterator[tuple[str, Reader, str]]:
    """Yield cases: a name, a reader, and the file that is made wrong; all readers and files have their turns."""
    turns = [reader for reader in READERS for _ in range(reader.weight) if reader.wrong]
    files = {reader: _files(shelf, reader) for reader in READERS}
    seen = dict.fromkeys(READERS, 0)
    for number in range(count):
        reader = turns[number * 37 % len(turns)]
        mine = files[reader]
        yield f"{seed}:{number}", reader, mine[seen[reader] % len(mine)]
        seen[reader] += 1


def _fix_hashes(case: Path, name: str) -> None:
    """Have a model say the hash of a file of its as it is now: somebody wrote it on purpose."""
    parts = Path(name).parts
    if parts[0] != "models":
        return
    model = case / parts[0] / parts[1]
    for about in (model / "tree" / "tree.json", model / "model.json"):
        if not about.is_file() or about == case / name or not (case / name).is_relative_to(about.parent):
            continue
        value = json.loads(about.read_text())
        inner = str((case / name).relative_to(about.parent))
        for known in (inner, inner.removesuffix(".npy")):  # tree.json leaves the ending out
            if known in value["files"]:
                value["files"][known] = content_hash(case / name)
                about.unlink()
                about.write_text(json.dumps(value))


def _lost(case: Path, reader: Reader, wrong: str, expected: list[str]) -> str:
    """Return what is wrong with the ids of the predictions of a run that has ended well."""
    file = case / reader.run / "predictions.jsonl"
    if not file.is_file():
        return "it ended well, and there are no predictions"
    ids = [str(json.loads(line)[SCHEMA.id]) for line in file.read_text().split("\n")[:-1]]
    if len(set(ids)) != len(ids):
        return f"{len(ids) - len(set(ids))} ids twice"
    # What the rows are, the products say, and how many of them, the manifest.
    sources = ("data/test", "inputs/test", "manifest.json")
    if not any(source in wrong for source in sources) and ids != expected:
        return f"{len(ids)} of {len(expected)} ids, or in another order"
    return ""


def mutations(shelf: Shelf, forkers: list[Forker], scale: float, seed: int, only: Collection[str] = ()) -> list[Row]:
    """Carry the part out."""
    count = max(round(ALL * scale), 1)
    expected = shelf.ids()
    row = Row(f"mutated inputs of {len({name for reader in READERS for name in _files(shelf, reader)})} files")

    def one(case: tuple[str, Reader, str], fork: Forker) -> Outcome:
        name, reader, wrong = case
        outcome = Outcome(PART)
        with tempfile.TemporaryDirectory(prefix="chaos-case-") as temporary:
            folder = Path(temporary)
            shelf.place(folder, reader.words(reader.given), wrong)
            if wrong:
                content = (folder / wrong).read_bytes()
                (folder / wrong).write_bytes(mutated(Path(wrong).name, content, random.Random(f"{name} {wrong}")))
                _fix_hashes(folder, wrong)
            arguments = reader.words(reader.arguments.replace("{url}", shelf.api.url))
            job = Job(arguments, folder, reader.words(reader.writes), shelf.environment())
            done = fork(job)
            told = f"case {name}, {wrong or 'nothing'} made wrong"
            outcome.failures = judge(PART, told, job, done)
            if not wrong and done.code:
                outcome.failures.append(Failure(PART, Goal.OTHER, "refused as it is", told, job.line(), done.err))
            if not wrong:
                outcome.count = 0
                return outcome
            outcome.notes["refused" if done.code == 2 else "accepted" if not done.code else "failed"] += 1
            if reader.run and not done.code and (what := _lost(folder, reader, wrong, expected)):
                outcome.failures.append(Failure(PART, Goal.LOST, what, told, job.line()))
        return outcome

    plain = [(f"{number}", reader, "") for number, reader in enumerate(READERS) if not only]
    in_parallel(plain, forkers, one, row.add, total=len(plain), what=f"{PART}, as they are")
    cases = [case for case in _drawn(shelf, count, seed) if not only or case[0] in only]
    in_parallel(cases, forkers, one, row.add, total=len(cases), what=PART)
    return [row]
