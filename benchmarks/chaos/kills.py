"""Every command killed in the middle, carried on, killed again: the same bytes, and nothing paid twice."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.findings import Failure, Goal, Outcome, Row
from benchmarks.chaos.forker import Forker
from benchmarks.chaos.jobs import Ended, Job, Kill
from benchmarks.chaos.judge import contents, in_parallel, judge
from benchmarks.chaos.shelf import ENGINE_TOML, MODEL, SCHEMA, Shelf, first_candidate
from tests.openai_server import Server, running
from tests.search_server import SearchServer, searching

PART = "kills"
ALL = 240
ENOUGH = 25
"""Times that a command is begun before it counts as one that never ends."""
FIGURES = ("requests.jsonl", "predictions.jsonl", "taxonomy.csv", "metrics.json")


@dataclass(frozen=True)
class Work:
    """A command that is killed.

    Attributes
    ----------
    name : str
        Of the command and its engine.
    arguments : str
        What it is begun with; ``engine.toml`` describes a search engine.
    given : str
        What it is given of the shelf.
    writes : str
        What it may write.
    results : str
        What must be the same, byte for byte, as without a kill; of a run, its `FIGURES`.
    again : str
        What carries it on; by default it is begun again.
    answers : str
        A run that must have each answer once.
    api : str
        What bills: ``chat``, ``batch``, ``tune`` or ``search``.
    helpers : bool
        Whether it has helper processes, which may be killed alone.
    """

    name: str
    arguments: str
    given: str
    writes: str
    results: str
    again: str = ""
    answers: str = ""
    api: str = ""
    helpers: bool = False


TEST = "--test data/known/test.features"
RUN = "run/requests.jsonl run/predictions.jsonl run/taxonomy.csv run/metrics.json"
DATA = "data/known data/train.features data/train.labels"
SERVER = f"--engine server --llm {MODEL} --calibrate 12 --concurrency 4"
BATCH = f"--strategy openai --model {MODEL} --calibrate 4 --poll 0.01 --train data/train.features"
MANY = "many.jsonl data/taxonomy.csv"
WORKS = (
    Work("rag, neighbours", f"--train data/train.features {TEST} --run run", DATA, "run", RUN, "resume run", "run"),
    Work("tree", f"--model models/tree {TEST} --run run", "models/tree data/known", "run", RUN, "resume run"),
    Work(
        "rag, server",
        f"--model models/rag {TEST} --run run {SERVER}",
        "models/rag data/known",
        "run",
        RUN,
        "resume run",
        "run",
        "chat",
    ),
    Work("openai, batch", f"{BATCH} {TEST} --run run", DATA, "run", RUN, "resume run", "run", "batch"),
    Work(
        "resume",
        "resume runs/asked",
        "runs/asked models/rag",
        "runs/asked",
        " ".join(f"runs/asked/{name}" for name in FIGURES),
        answers="runs/asked",
        api="chat",
    ),
    Work("fit rag", "fit --train data/train.features --out out", DATA, "out", "out"),
    Work("fit tree", "fit --strategy tree --train data/train.features --out out", DATA, "out", "out"),
    Work(
        "fit openai",
        "fit --strategy openai --validation 10 --epochs 1 --train data/train.features --out out",
        DATA,
        "out out.training",
        "out/taxonomy.csv out/validation.jsonl",
        api="tune",
    ),
    Work(
        "snap",
        "snap many.jsonl --taxonomy data/taxonomy.csv --out out.jsonl",
        MANY,
        "out.jsonl out.changes.jsonl",
        "out.jsonl out.changes.jsonl",
        helpers=True,
    ),
    Work(
        "snap, CSV",
        "snap many.jsonl --taxonomy data/taxonomy.csv --out out.csv",
        MANY,
        "out.csv out.csv.changes.jsonl",
        "out.csv out.csv.changes.jsonl",
        helpers=True,
    ),
    Work(
        "import",
        "import runs/written output.jsonl",
        "runs/written output.jsonl",
        "runs/written",
        "runs/written/completions.jsonl",
    ),
    Work(
        "export",
        f"export runs/written --format openai-batch --llm {MODEL} --out out",
        "runs/written",
        "out runs/written",
        "out",
    ),
    Work(
        "context",
        "context data/test.features --out context.jsonl --search engine.toml --price-per-1000 5 --concurrency 4",
        "data/test.features",
        "context.jsonl context.books.jsonl",
        "",
        api="search",
    ),
    Work("submit", "submit runs/rag --name mine", "runs/rag runs/scoreboard.csv", "runs", "runs/rag/mine.zip"),
    Work(
        "vote",
        "vote runs/rag runs/tree --out out",
        "runs/rag runs/tree",
        "out",
        "out/predictions.jsonl out/taxonomy.csv",
    ),
    Work("report", "report runs/server --out out.html", "runs/server", "out.html", ""),
    Work("evaluate", "evaluate runs/rag data/known/test.labels --json", "runs/rag data/known", "", ""),
    Work("ask", "ask runs/tree --rows 5 --out out.csv", "runs/tree", "out.csv", "out.csv"),
    Work("plan", "plan --run runs/written --llm gpt-4o-mini", "runs/written", "runs/written", ""),
    Work(
        "sample",
        "sample --rows 300 --test-rows 30 --out out",
        "",
        "out",
        "out",
        "sample --rows 300 --test-rows 30 --out out --force",
    ),
)

DRAWN = ("tree", "vote")
"""Works of which the page is drawn, too, which takes longer than all else that they do."""


@dataclass(frozen=True)
class Servers:
    """What bills, of one case."""

    api: Server
    search: SearchServer


@contextmanager
def servers() -> Iterator[Servers]:
    """Run new servers, that have billed nothing yet."""
    with running(steps_per_batch=2, answer=first_candidate) as api, searching() as search:
        yield Servers(api, search)


class Place:
    """A folder in which a work is begun, and the servers that it is begun with."""

    def __init__(self, work: Work, folder: Path, shelf: Shelf, servers: Servers) -> None:
        self.work, self.folder, self.servers = work, folder, servers
        self.environment = shelf.environment(servers.api)
        self.shelf, self.begun = shelf, False
        self._fill()

    def _fill(self) -> None:
        self.folder.mkdir(parents=True)
        self.shelf.place(self.folder, tuple(self.work.given.split()))
        (self.folder / "engine.toml").write_text(ENGINE_TOML.format(url=self.servers.search.url))

    def empty(self) -> None:
        """Have it, and its servers, as if nothing had been begun."""
        shutil.rmtree(self.folder)
        self._fill()
        self.begun = False
        state = self.servers.api.state
        for kept in (state.batches, state.files, state.ledger, state.jobs):
            kept.clear()
        self.servers.search.answered.clear()
        self.servers.search.queries.clear()

    def job(self, kill: Kill | None = None) -> Job:
        """Return what begins the work, or carries it on."""
        work = self.work
        words = work.arguments
        # Where nothing was begun yet, there is nothing to resume.
        if (
            self.begun
            and work.again
            and (not work.again.startswith("resume") or (self.folder / "run/manifest.json").is_file())
        ):
            words = work.again
        self.begun = True
        if work.api in ("chat", "batch") and words.split()[0] == "resume":
            words += f" --base-url {self.servers.api.url}"
        writes = tuple(work.writes.split())
        how = {"block": 8, "share": 60, "page": work.name in DRAWN}
        return Job(tuple(words.split()), self.folder, writes, self.environment, kill, **how)

    def results(self) -> dict[str, bytes]:
        """Return what must be the same each time."""
        return contents(self.folder, self.work.results.split())

    def differing(self, expected: dict[str, bytes]) -> list[str]:
        """Return the names of results that are other than expected."""
        now = self.results()
        return [name for name in sorted(expected.keys() | now.keys()) if now.get(name) != expected.get(name)]

    def done(self, expected: dict[str, bytes]) -> bool:
        """Tell whether all is as expected."""
        return not self.differing(expected)

    def answers(self) -> int:
        """Return how many requests have an answer."""
        return len(set(ids_of(self.folder / self.work.answers / "completions.jsonl", "id")))


def answered_twice(place: Place) -> str:
    """Return what is wrong with the answers of a run: each request has one, each row a prediction."""
    if place.work.api == "search":
        found = Counter(ids_of(place.folder / "context.jsonl", "query"))
        asked = set(place.servers.search.queries)
        twice = sum(times > 1 for times in found.values())
        missing = len(asked - set(found))
        wrong = twice or missing
        return f"{twice} of {len(asked)} searches stand there twice, {missing} are missing" if wrong else ""
    if not place.work.answers:
        return ""
    folder = place.folder / place.work.answers
    lines = {name: ids_of(folder / name, key) for name, key in
             (("completions.jsonl", "id"), ("requests.jsonl", "id"), ("predictions.jsonl", SCHEMA.id))}  # fmt: skip
    twice = [name for name, times in Counter(lines["completions.jsonl"]).items() if times > 1]
    if twice:
        return f"{len(twice)} answers stand there twice"
    unanswered = set(lines["requests.jsonl"]) - set(lines["completions.jsonl"])
    if unanswered:
        return f"{len(unanswered)} requests have no answer"
    if len(lines["predictions.jsonl"]) != len(lines["requests.jsonl"]):
        return f"{len(lines['predictions.jsonl'])} predictions of {len(lines['requests.jsonl'])} requests"
    return ""


def ids_of(file: Path, key: str) -> list[str]:
    """Return the ids of the lines of a file, where there is one."""
    if not file.is_file():
        return []
    return [str(json.loads(line)[key]) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]


def _paid_twice(place: Place, deaths: int) -> str:
    """Return what was billed more often than may be.

    What was in flight when the process died may be billed once more: so many at once as it had in flight, for each
    death. Batches and fine-tuning jobs are found again: never.
    """
    used, api = place.servers, place.work.api
    if api == "batch":
        twice = [name for name, times in used.api.state.processed().items() if times > 1]
        return f"{len(twice)} rows of batches were paid twice" if twice else ""
    if api == "tune":
        jobs = len(used.api.state.jobs)
        return f"{jobs} fine-tuning jobs were made" if jobs > 1 else ""
    if api == "chat":
        bills = sum(bill.kind == "chat" for bill in used.api.state.ledger)
        extra = bills - place.answers()
        return f"{extra} chat requests more than answers were paid, after {deaths} deaths" if extra > 5 * deaths else ""
    if api == "search":
        extra = sum(times - 1 for times in used.search.answered.values())
        return f"{extra} searches were paid twice, after {deaths} deaths" if extra > 4 * deaths else ""
    return ""


@dataclass(frozen=True)
class Case:
    """A work that dies so often, each time as drawn."""

    name: str
    work: Work
    deaths: int


def _cases(count: int, seed: int) -> Iterator[Case]:
    """Yield cases until they have so many deaths."""
    draw, number = random.Random(seed), 0
    left = count
    while left > 0:
        deaths = min(draw.choice((1, 1, 2, 3)), left)
        yield Case(f"{seed}:{number}", WORKS[number % len(WORKS)], deaths)
        number, left = number + 1, left - deaths


def _draw_kill(draw: random.Random, work: Work, whole: Ended, target: str) -> Kill:
    """Draw when a work dies: at an event of those that it has, or at a time while it works."""
    if target == "helper":
        return Kill("helper", after=draw.uniform(0, 0.05))
    chosen = "group" if target == "group" else "parent"
    if work.helpers and draw.random() < 0.6:
        return Kill(chosen, after=draw.uniform(0, 0.05), helpers=True)  # type: ignore[arg-type]
    if whole.events > 1 and draw.random() < 0.7:
        return Kill(chosen, at=draw.randint(1, whole.events))  # type: ignore[arg-type]
    return Kill(chosen, after=draw.uniform(0.01, max(whole.seconds * 0.95, 0.02)))  # type: ignore[arg-type]


def kills(shelf: Shelf, forkers: list[Forker], scale: float, seed: int, only: Collection[str] = ()) -> list[Row]:
    """Carry the part out."""
    count = max(round(ALL * scale), 1)
    row = Row(f"kills of {len(WORKS)} commands: a process group, a parent alone, a helper alone, resumes of resumes")
    cases = [case for case in _cases(count, seed) if not only or case.name in only]
    undisturbed: dict[str, tuple[Ended, dict[str, bytes]]] = {}

    def whole(work: Work, fork: Forker) -> Outcome:
        outcome = Outcome(PART, 0)
        with tempfile.TemporaryDirectory(prefix="chaos-case-") as temporary, servers() as used:
            place = Place(work, Path(temporary) / "case", shelf, used)
            job = place.job()
            done = fork(job)
            undisturbed[work.name] = done, place.results()
            outcome.failures = judge(PART, f"{work.name}, undisturbed", job, done)
            if done.code:
                outcome.failures.append(_failure(Goal.OTHER, "fails undisturbed", work.name, job, done))
        return outcome

    works = [work for work in WORKS if work.name in {case.work.name for case in cases}]
    in_parallel(works, forkers, whole, row.add, total=len(works), what=f"{PART}, undisturbed")

    def one(case: Case, fork: Forker) -> Outcome:
        draw = random.Random(f"kills {case.name}")
        first, expected = undisturbed[case.work.name]
        outcome = Outcome(PART, 0)
        with tempfile.TemporaryDirectory(prefix="chaos-case-") as temporary, servers() as used:
            place = Place(case.work, Path(temporary) / "case", shelf, used)
            told, deaths = f"case {case.name}, {case.work.name}", 0
            for _ in range(ENOUGH):
                target = draw.choice(("group", "parent", "helper") if case.work.helpers else ("group", "parent"))
                kill = _draw_kill(draw, case.work, first, target) if deaths < case.deaths else None
                job = place.job(kill)
                done = fork(job)
                outcome.failures += judge(PART, told, job, done, killed=kill is not None and done.hit)
                if kill is not None and done.hit:
                    deaths += 1
                    told += (
                        f", {kill.target} killed {f'at event {kill.at}' if kill.at else f'after {kill.after:.3f} s'}"
                    )
                    outcome.notes[f"{kill.target}s killed"] += 1
                elif kill is None:
                    break
                else:  # it was done before it could die
                    place.empty()
            outcome.count = deaths
            # What was whole before the kill is not made again: that is told, and is as good.
            if done.code and not (expected and place.done(expected)):
                outcome.failures.append(
                    _failure(Goal.LOST, f"cannot be carried on: exit code {done.code}", told, job, done)
                )
            else:
                outcome.failures += _compare(told, job, done, expected, place)
            outcome.notes["left a temporary file"] += any(place.folder.rglob("*.tmp"))
            for goal, what in ((Goal.LOST, answered_twice(place)), (Goal.PAID, _paid_twice(place, deaths))):
                if what:
                    outcome.failures.append(_failure(goal, what, told, job, done))
        return outcome

    in_parallel(cases, forkers, one, row.add, total=len(cases), what=PART)
    return [row]


def _compare(told: str, job: Job, done: Ended, expected: dict[str, bytes], place: Place) -> list[Failure]:
    """Return what is another than it would be without a kill, and what a run is left with that is no part of it."""
    names = place.differing(expected)
    found = [_failure(Goal.LOST, f"{name} is another than without a kill", told, job, done) for name in names]
    left = [path for path in (place.folder / "run").rglob("*") if path.name.endswith((".tmp", ".partial", ".old"))]
    if left:
        names = ", ".join(str(path.relative_to(place.folder)) for path in left[:3])
        found.append(_failure(Goal.OTHER, f"leaves {names} lying about", told, job, done))
    return found


def _failure(goal: Goal, what: str, case: str, job: Job, done: Ended) -> Failure:
    return Failure(PART, goal, what, case, job.line(), (done.trace or done.err)[-1500:])
