"""A run: one directory that holds everything a job read, asked, got and wrote. Read top to bottom, it is the job.

    products -> requests.jsonl -> completions.jsonl -> predictions.jsonl -> metrics.json

Each stage reads the file of the one before it, so that it can run on another machine, and be resumed.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, nearest
from catalog.files import atomic_write, content_hash, read_json, temporary_name, write_json
from catalog.messages import Completion, Prediction, Request
from catalog.products import (
    Products,
    features_file,
    join_products,
    labels_beside,
    read_products,
    stream_products,
)
from catalog.schema import Schema
from catalog.taxonomy import Taxonomy
from classify.answers import AnswerReader
from classify.job import Job, training_files
from classify.lines import GrowingLines, count_lines, read_lines
from classify.model import Model, fit, load
from classify.progress import Progress, silent
from classify.provenance import provenance
from classify.registry import ENGINES, STRATEGIES, find
from classify.scoring import evaluate_files

STAGES = ("requests", "completions", "predictions", "report")
FORMAT = 1
# Rows that are worked on at once. A resumed run starts at a whole block, so that each block is computed
# just as it was in an unbroken run, to the last bit.
BLOCK_ROWS = 2048
FLUSH_SECONDS = 1.0


@dataclass
class Run:
    """A run directory.

    Attributes
    ----------
    folder : Path
        The directory.
    manifest : dict
        What ``manifest.json`` says.
    progress : Progress
        Opens a progress bar.
    """

    folder: Path
    manifest: dict[str, Any]
    progress: Progress = field(default=silent)
    _model: Model = field(init=False, repr=False)
    _fresh: bool = field(default=False, init=False, repr=False)

    @classmethod
    def start(cls, folder: Path, job: Job, *, progress: Progress = silent) -> Run:
        """Make the directory for a job, or find it where the same job was started before.

        All input is read and checked here, before anything is computed.

        Raises
        ------
        ShelfmarkError
            When an input is wrong, or the directory belongs to another job or holds something else.
        """
        wanted = job.identity()
        if (folder / "manifest.json").is_file():
            run = cls.open(folder, progress=progress)
            try:
                run._require_same(wanted)
                return run
            except ShelfmarkError:
                if run.manifest["stages"]:
                    raise
            with run._locked():  # another job that died before it had done anything
                run._discard()
        if folder.exists() and not (folder.is_dir() and all(map(_left_by_start, folder.iterdir()))):
            raise ShelfmarkError(f"{folder}: not a run, and not empty; choose another --run")
        test = features_file(job.test, "test")
        rows = sum(len(block) for block in stream_products(test, job.schema, limit=job.limit))
        labels = labels_beside(test)
        if labels is not None and job.limit is None:
            read_products(test, job.schema, labels=True)  # wrong labels would fail the last stage
        (folder / "inputs").mkdir(parents=True, exist_ok=True)
        copied = _copy(test, folder / "inputs")
        if labels is not None:
            _copy(labels, folder / "inputs")
        manifest = {
            "format": FORMAT,
            **wanted,
            "rows": rows,
            "test": f"inputs/{copied.name}",
            "started": _now(),
            **provenance(),
            "stages": {},
        }
        write_json(folder / "manifest.json", manifest)
        run = cls(folder, manifest, progress)
        run._fresh = True
        return run

    @classmethod
    def open(cls, folder: Path, *, progress: Progress = silent) -> Run:
        """Read a run directory.

        Raises
        ------
        ShelfmarkError
            When it is none, or of another version.
        """
        if not (folder / "manifest.json").is_file():
            raise ShelfmarkError(f"{folder}: not a run directory (it has no manifest.json)")
        manifest = read_json(folder / "manifest.json")
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise ShelfmarkError(f"{folder}: a run of another version of shelfmark; start a new one")
        return cls(folder, manifest, progress)

    @property
    def schema(self) -> Schema:
        """The columns of the task."""
        return Schema.from_dict(self.manifest["schema"])

    @property
    def test(self) -> Path:
        """The run's own copy of the products."""
        return self.folder / str(self.manifest["test"])

    @property
    def predictions(self) -> Path:
        """The file of predictions."""
        return self.folder / "predictions.jsonl"

    @property
    def finished(self) -> bool:
        """Whether all stages are done."""
        return "finished" in self.manifest

    def execute(self, until: str = "report", engine: str | None = None) -> None:
        """Carry out the stages that are not done, up to `until`.

        Parameters
        ----------
        until : str
            The last stage: one of `STAGES`.
        engine : str, optional
            Have the requests answered by this engine instead of the manifest's.

        Raises
        ------
        ShelfmarkError
            When the run is in use, a file is damaged, or answers of another engine are recorded.
        """
        check_stage(until)
        if "runs" in self.manifest:
            return  # an ensemble: made whole, or not at all
        with self._locked():
            self.manifest = read_json(self.folder / "manifest.json")
            if engine is not None:
                self._change_engine(engine)
            try:
                self._carry_out(until)
            except ShelfmarkError:
                if self._fresh and not self.manifest["stages"]:  # nothing is done: leave no half-made run behind
                    self._discard()
                raise
            if until == STAGES[-1] and not self.finished:
                self._record(finished=_now())

    def _carry_out(self, until: str) -> None:
        asks = hasattr(find("strategy", STRATEGIES, self.manifest["strategy"]), "requests")
        stages = STAGES if asks else ("predictions", "report")
        work: dict[str, Callable[[], int]] = {
            "requests": self._write_requests,
            "completions": self._collect_completions,
            "predictions": self._snap_answers if asks else self._predict_directly,
            "report": self._write_metrics,
        }
        for name in STAGES[: STAGES.index(until) + 1]:
            if name in stages and not self._has(name):
                self._forget(stages[stages.index(name) :])
                if name == stages[0]:
                    self._model = self._fitted()
                    # Not by the fit: a run of a model that was there, or one that was killed, has it as well.
                    report = getattr(self._model.strategy, "report", {}).get(self.manifest["options"]["policy"])
                    if report:
                        self._record(calibration=report)
                    self._model.strategy.taxonomy.write(self.folder / "taxonomy.csv")
                self._timed(name, work[name])

    def finish(self) -> None:
        """Score the predictions of an ensemble, which are made in one go, and mark the run as finished."""
        self._timed("report", self._write_metrics)
        self._record(finished=_now())

    # The stages.

    def _write_requests(self) -> int:
        ask = self._model.strategy.requests
        return self._write_blocks("requests.jsonl", lambda block: [request.to_dict() for request in ask(block)])

    def _collect_completions(self) -> int:
        engine = find("engine", ENGINES, self.manifest["engine"])()
        self._record(deterministic=engine.deterministic)
        requests = self.folder / "requests.jsonl"
        file = self.folder / "completions.jsonl"
        with GrowingLines(file) as lines, self.progress("answer", self.manifest["rows"]) as advance:
            answered = {line["id"] for line in read_lines(file)}
            advance(len(answered))
            waiting = (Request.from_dict(line) for line in read_lines(requests) if line["id"] not in answered)
            held: list[dict[str, Any]] = []
            last = time.monotonic()
            for completion in engine.complete(waiting):
                held.append(completion.to_dict())
                if time.monotonic() - last > FLUSH_SECONDS or len(held) == BLOCK_ROWS:
                    lines.append(held)
                    advance(len(held))
                    held, last = [], time.monotonic()
            lines.append(held)
            advance(len(held))
            return lines.lines

    def _predict_directly(self) -> int:
        columns = self.schema.id, self.schema.levels
        predict = self._model.strategy.predict
        return self._write_blocks(
            "predictions.jsonl", lambda block: [prediction.to_dict(*columns) for prediction in predict(block)]
        )

    def _snap_answers(self) -> int:
        columns = self.schema.id, self.schema.levels
        reader = AnswerReader(self.taxonomy(), self.manifest["options"]["policy"])
        requests = (Request.from_dict(line) for line in read_lines(self.folder / "requests.jsonl"))
        lines = read_lines(self.folder / "completions.jsonl")
        completions = {line["id"]: Completion.from_dict(line) for line in lines}
        rows = 0
        with GrowingLines(self._partial("predictions.jsonl"), keep=0) as out, self._bar("snap") as advance:
            for block in self._blocks():
                asked = list(islice(requests, len(block)))
                if [request.id.rpartition("-")[0] for request in asked] != [str(name) for name in block.ids]:
                    raise ShelfmarkError(
                        f"{self.folder}/requests.jsonl: not the requests of {self.test.name}; delete it"
                    )
                predictions: list[Prediction] = reader.read(block, asked, completions)
                out.append(prediction.to_dict(*columns) for prediction in predictions)
                rows += len(block)
                advance(len(block))
        self._partial("predictions.jsonl").replace(self.predictions)
        return rows

    def _write_metrics(self) -> int:
        statuses: dict[str, int] = {}
        total, rows = 0.0, 0
        for line in read_lines(self.predictions):
            statuses[line["status"]] = statuses.get(line["status"], 0) + 1
            total += line["confidence"]
            rows += 1
        if rows != self.manifest["rows"]:
            raise ShelfmarkError(f"{self.predictions}: {rows} rows where {self.manifest['rows']} went in; delete it")
        metrics: dict[str, Any] = {"rows": rows, "statuses": statuses, "mean_confidence": round(total / rows, 6)}
        labels = labels_beside(self.test)
        if labels is not None and self.manifest["limit"] is None:
            policy = self.manifest["options"]["policy"]
            whole, _ = evaluate_files(self.predictions, labels, self.schema, taxonomy=self.taxonomy(), policy=policy)
            metrics["evaluation"] = whole.to_dict()
        write_json(self.folder / "metrics.json", metrics)
        return rows

    # What the stages stand on.

    def _has(self, stage: str) -> bool:
        file = "metrics.json" if stage == "report" else f"{stage}.jsonl"
        return stage in self.manifest["stages"] and (self.folder / file).is_file()

    def _forget(self, stages: tuple[str, ...]) -> None:
        """Do these stages again: someone deleted the file of the first, on which the others stand."""
        done = {name: value for name, value in self.manifest["stages"].items() if name not in stages}
        if done != self.manifest["stages"]:
            self.manifest.pop("finished", None)
            self._record(stages=done)

    def taxonomy(self) -> Taxonomy:
        """Return the valid label paths, as the model knew them."""
        return Taxonomy.read(self.folder / "taxonomy.csv", self.schema)

    def _fitted(self) -> Model:
        name, options = self.manifest["strategy"], self.manifest["options"]
        if self.manifest["model"] is not None:
            self._require_unchanged("model", Path(self.manifest["model"]) / "model.json")
            return load(self.manifest["model"], strategy=name, **options)
        own = self.folder / "model"
        if not (own / "model.json").is_file():
            self._timed("fit", lambda: self._fit(own))
        # Read back even when it was just fitted: a resumed run, which reads it, must compute the same.
        return load(own, **options)

    def _fit(self, out: Path) -> int:
        places = [Path(place) for place in self.manifest["train"]]
        for name, file in training_files(places).items():
            self._require_unchanged(name, file)
        train = join_products([read_products(place, self.schema, labels=True) for place in places])
        name, seed, options = self.manifest["strategy"], self.manifest["seed"], self.manifest["options"]
        fit(train, strategy=name, schema=self.schema, seed=seed, progress=self.progress, **options).save(out)
        return len(train)

    def _timed(self, name: str, work: Callable[[], int]) -> None:
        started = time.perf_counter()
        rows = work()
        seconds = round(time.perf_counter() - started, 3)
        self._record(stages={**self.manifest["stages"], name: {"rows": rows, "seconds": seconds}})

    def _blocks(self) -> Iterator[Products]:
        return stream_products(self.test, self.schema, chunk_rows=BLOCK_ROWS, limit=self.manifest["limit"])

    def _partial(self, name: str) -> Path:
        return self.folder / f"{name}.partial"

    def _bar(self, what: str) -> Any:
        return self.progress(what, self.manifest["rows"])

    def _write_blocks(self, name: str, work: Callable[[Products], list[dict[str, Any]]]) -> int:
        """Write a file block by block; one that a killed run left behind is carried on after its last whole block."""
        partial = self._partial(name)
        done = count_lines(partial) // BLOCK_ROWS * BLOCK_ROWS
        with GrowingLines(partial, keep=done) as out, self._bar(name.partition(".")[0]) as advance:
            advance(done)
            for number, block in enumerate(self._blocks()):
                if number * BLOCK_ROWS >= done:
                    out.append(work(block))
                    advance(len(block))
            rows = out.lines
        partial.replace(self.folder / name)
        return rows

    def _record(self, **values: Any) -> None:
        self.manifest.update(values)
        write_json(self.folder / "manifest.json", self.manifest)

    def _change_engine(self, engine: str) -> None:
        find("engine", ENGINES, engine)
        recorded = count_lines(self.folder / "completions.jsonl")
        if engine != self.manifest["engine"] and recorded:
            raise ShelfmarkError(
                f"{self.folder}: {recorded} answers of the engine {self.manifest['engine']} are recorded; "
                "delete completions.jsonl to ask again, or start another run"
            )
        self._record(engine=engine)

    def _require_same(self, wanted: dict[str, Any]) -> None:
        for key, value in wanted.items():
            here = self.manifest.get(key)
            if here == value or key in ("train", "model"):  # those are compared by content, as inputs
                continue
            if isinstance(value, dict) and isinstance(here, dict):
                key = min(name for name in value.keys() | here.keys() if value.get(name) != here.get(name))
                here, value = here.get(key), wanted["options"].get(key, "other content")
            raise ShelfmarkError(
                f"{self.folder}: belongs to another job ({key} was {_shown(here)}, now {_shown(value)}); "
                "choose another --run, or delete it"
            )

    def _require_unchanged(self, what: str, file: Path) -> None:
        if file.is_file() and content_hash(file) != self.manifest["inputs"].get(what):
            raise ShelfmarkError(f"{file}: it changed since this run was started; start another run")

    def _discard(self) -> None:
        # By another name first: a job that dies halfway through must not leave half a run.
        old = temporary_name(self.folder.resolve())
        self.folder.resolve().replace(old)
        shutil.rmtree(old)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with open(self.folder / ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ShelfmarkError(f"{self.folder}: another process is working on this run; wait for it") from None
            for leftover in self.folder.glob(".*.tmp"):  # of a killed process: nobody else holds the lock
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            yield


def check_stage(name: str) -> None:
    """Refuse what is not a stage.

    Raises
    ------
    ShelfmarkError
        When there is no stage of that name.
    """
    if name not in STAGES:
        raise ShelfmarkError(f"--until {name}: no such stage{nearest(name, STAGES)}; stages: {', '.join(STAGES)}")


def _left_by_start(path: Path) -> bool:
    """Tell whether a path is one that `Run.start` makes before the manifest: it may have been killed there."""
    return path.name in (".lock", "inputs") or (path.name.startswith(".") and path.name.endswith(".tmp"))


def _copy(source: Path, folder: Path) -> Path:
    target = folder / source.name
    with open(source, "rb") as content, atomic_write(folder / (source.name + ".copy"), binary=True) as out:
        shutil.copyfileobj(content, out)
    return (folder / (source.name + ".copy")).replace(target)


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
