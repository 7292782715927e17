"""The directory of a run: made, found again and locked, and what is done in it."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel

from catalog.errors import ShelfmarkError, nearest_place
from catalog.files import (
    clear_leftovers,
    content_hash,
    owned,
    place_inside,
    read_json,
    require_plain,
    temporary_name,
    write_json,
)
from catalog.places import place_named
from catalog.schema import Schema
from catalog.taxonomy import Taxonomy
from classify.asking import ANSWERS, ASKED, LOST
from classify.authority import FITTING, name_all, require_named
from classify.engines.forms import AnswerForm
from classify.engines.ledger import read_ledger
from classify.held_out import HELD_OUT
from classify.inputs import INPUTS, copy_inputs
from classify.job import MONEY, Job, require_same
from classify.lines import GrowingLines, count_lines
from classify.manifest_check import check_manifest
from classify.names import STAGES, STRATEGIES
from classify.progress import Progress, silent
from classify.provenance import provenance
from classify.registry import answer_form, engine_options, find
from classify.strategies.base import check_options

FORMAT = 2
NO_LLM = "neighbours"
IMPORTED = "import"
"""What stands for an engine where answers came in files."""


@dataclass
class RunDirectory:
    """A run directory.

    Attributes
    ----------
    folder : Path
        The directory.
    manifest : dict
        What ``manifest.json`` says.
    progress : Progress
        Opens a progress bar.
    trust : bool
        Whether the user confirms the prompt template and the paths that the manifest names.
    """

    folder: Path
    manifest: dict[str, Any]
    progress: Progress = field(default=silent)
    trust: bool = field(default=False)
    _fresh: bool = field(default=False, init=False, repr=False)

    @classmethod
    def start(cls, folder: Path, job: Job, *, progress: Progress = silent, trust: bool = False) -> Self:
        """Make the directory for a job, or find it where the same job was started before.

        All input is read and checked here, before anything is computed. The job is the user's own: what it names is
        remembered (`classify.authority`).

        Raises
        ------
        ShelfmarkError
            When an input is wrong, or the directory belongs to another job or holds something else.
        """
        wanted = job.identity()
        # Of a model that is there, what only a fit looks at was not asked about, and may be its maker's.
        unasked = () if job.model is None else FITTING
        name_all({name: value for name, value in wanted["options"].items() if name not in unasked})
        name_all(wanted["engine_options"])
        name_all({"prices": wanted["prices"]})
        if (folder / "manifest.json").is_file():
            run = cls.open(folder, progress=progress, trust=trust)
            try:
                require_same(folder, run.manifest, wanted)
                run.manifest["engine_options"] = wanted["engine_options"]  # those that change no answer may differ
                run.manifest.update({name: wanted[name] for name in MONEY})
                return run
            except ShelfmarkError:
                if run.has_work():
                    raise
            with run.locked():  # another job that died before it had done anything
                run._discard()
        if folder.exists() and not (folder.is_dir() and all(map(_left_by_start, folder.iterdir()))):
            raise ShelfmarkError(f"{folder}: not a run, and not empty; choose another --run")
        if folder.exists():
            require_plain(folder)
        copied = copy_inputs(job, folder)
        manifest = {"format": FORMAT, **wanted, **copied, "started": now(), **provenance(), "stages": {}}
        write_json(folder / "manifest.json", manifest)
        run = cls(folder, manifest, progress, trust)
        run._fresh = True
        return run

    @classmethod
    def open(cls, folder: Path, *, progress: Progress = silent, trust: bool = False) -> Self:
        """Read a run directory, which may be somebody else's.

        Raises
        ------
        ShelfmarkError
            When it is none, of another version, or has a link in it.
        """
        if not (folder / "manifest.json").is_file():
            raise ShelfmarkError(f"{folder}: not a run directory, it has no manifest.json{nearest_place(folder)}")
        require_plain(folder)
        manifest = read_json(folder / "manifest.json")
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise ShelfmarkError(f"{folder}: a run of another version of shelfmark; start a new one")
        check_manifest(manifest, str(folder / "manifest.json"))
        return cls(folder, manifest, progress, trust)

    @property
    def options(self) -> dict[str, Any]:
        """The strategy's options, as far as the user has given or confirmed what is no data of them."""
        self._require_named(self.manifest["options"])
        return self._checked_options()

    @property
    def fit_options(self) -> dict[str, Any]:
        """The strategy's options for a fit, which looks at more of them."""
        require_named(self.manifest["options"], self.folder / "manifest.json", trust=self.trust, fitting=True)
        return self._checked_options()

    def _checked_options(self) -> dict[str, Any]:
        """Return the strategy's options, all of them; a manifest that has others may mean arguments of a function.

        To be called after `require_named`: to check an option may be to read what it names.
        """
        name: str = self.manifest["strategy"]
        checked: BaseModel = check_options(
            find("strategy", STRATEGIES, name).options_class, name, self.manifest["options"]
        )
        return checked.model_dump()

    @property
    def engine_options(self) -> dict[str, Any]:
        """The engine's options; likewise."""
        options: dict[str, Any] = self.manifest["engine_options"]
        self._require_named(options)
        return options

    @property
    def prices(self) -> str | None:
        """A file of prices; None where there is none."""
        prices = self.manifest.get("prices") or None
        self._require_named({"prices": prices})
        return None if prices is None else str(prices)

    @property
    def model_folder(self) -> Path:
        """The model that was given, which has not changed, or its own."""
        given = self.manifest["model"]
        if given is None:
            return self.folder / "model"
        place = place_named(given)
        self.require_unchanged("model", place / "model.json")
        return place

    def require_own_engine(self) -> None:
        """Refuse an engine's options that only this machine's user may decide on.

        Raises
        ------
        ShelfmarkError
            When the user has neither given nor confirmed one.
        """
        self._require_named(self.manifest["engine_options"])

    def _require_named(self, options: dict[str, Any]) -> None:
        require_named(options, self.folder / "manifest.json", trust=self.trust)

    @property
    def schema(self) -> Schema:
        """The columns of the task."""
        return Schema.from_dict(self.manifest["schema"])

    @property
    def test(self) -> Path:
        """The run's own copy of the products."""
        return place_inside(self.folder, place_named(self.manifest["test"]), "the manifest (test)")

    @property
    def context(self) -> Path | None:
        """The run's own copy of what the web says of products; None where it was given none."""
        if "context" not in self.manifest:
            return None
        return place_inside(self.folder, place_named(self.manifest["context"]["file"]), "the manifest (context)")

    @property
    def predictions(self) -> Path:
        """The file of predictions."""
        return self.folder / "predictions.jsonl"

    @property
    def page(self) -> Path:
        """The report."""
        return self.folder / "report.html"

    @property
    def finished(self) -> bool:
        """Whether all stages are done."""
        return "finished" in self.manifest

    def taxonomy(self) -> Taxonomy:
        """Return the valid label paths, as the model knew them."""
        return Taxonomy.read(self.folder / "taxonomy.csv", self.schema)

    @property
    def answers_freely(self) -> bool:
        """Whether the strategy's requests name no candidates: a valid label path is asked for."""
        return bool(getattr(find("strategy", STRATEGIES, self.manifest["strategy"]), "answers_as", ""))

    def answer_form(self) -> AnswerForm | None:
        """Return what may be answered to requests without candidates; None where nothing is known of it."""
        return answer_form(self.manifest["strategy"], self.taxonomy, self.manifest["options"]["policy"])

    def record(self, **values: Any) -> None:
        """Write values into the manifest."""
        self.manifest.update(values)
        write_json(self.folder / "manifest.json", self.manifest)

    def timed(self, name: str, work: Callable[[], int]) -> None:
        """Do a stage, and write into the manifest how many rows it was, and how many seconds."""
        started = time.perf_counter()
        rows = work()
        seconds = round(time.perf_counter() - started, 3)
        self.record(stages={**self.manifest["stages"], name: {"rows": rows, "seconds": seconds}})

    def has_work(self) -> bool:
        """Tell whether anything is done that would be lost with the directory."""
        work = ("*.training/checkpoints/*", "*.training/record.jsonl", "batches/ledger.jsonl")
        begun = any(any(self.folder.glob(pattern)) for pattern in work)
        return bool(self.manifest["stages"]) or begun or count_lines(self.folder / ASKED) > 0

    def request_files(self) -> list[Path]:
        """Return the files of requests that an LLM is to answer.

        Raises
        ------
        ShelfmarkError
            When none are written yet, or the run asks nothing.
        """
        if not self.manifest["engine"]:
            asker = f"the strategy {self.manifest['strategy']}" if "runs" not in self.manifest else "an ensemble"
            raise ShelfmarkError(f"{self.folder}: {asker} asks nothing: this run has no requests, and needs no answers")
        if "requests" not in self.manifest["stages"]:
            raise ShelfmarkError(
                f"{self.folder}: no requests are written yet; classify resume {self.folder} --until requests"
            )
        held = self.folder / HELD_OUT
        return [*([held] if held.is_file() else []), self.folder / "requests.jsonl"]

    def require_no_batches(self) -> None:
        """Refuse to have requests answered otherwise that a provider is answering, and is paid for.

        Raises
        ------
        ShelfmarkError
            When batches are in flight, or have ended and were not taken in.
        """
        books = read_ledger(self.folder)
        if books is not None and books.unsettled:
            raise ShelfmarkError(
                f"{self.folder}: batches of it are at the provider, and paid: classify resume {self.folder} takes them "
                f"in; classify batches {self.folder} --cancel stops them first"
            )

    def mend(self) -> None:
        """Cut off what a killed process left of a line of answers."""
        for name in (ANSWERS, ASKED, LOST):
            if (self.folder / name).exists():
                GrowingLines(self.folder / name).close()

    def _change_engine(self, engine: str, given: dict[str, Any]) -> None:
        """Have the requests answered by `engine`, with these of its options changed."""
        before: str = self.manifest["engine"]
        if not before:
            raise ShelfmarkError(f"{self.folder}: the strategy {self.manifest['strategy']} asks no engine")
        if engine == IMPORTED:
            raise ShelfmarkError(f"{self.folder}: its answers came in files; say which --engine is to give the others")
        if engine != before:
            self.require_no_batches()
        kept = self.manifest["engine_options"] if engine == before else {}
        name_all(given)
        if given.get("base_url") and self.manifest["options"].get("base_url"):
            # Of the strategy, too: it would go before what is the engine's usual one.
            self.manifest["options"] = {**self.manifest["options"], "base_url": given["base_url"]}
        checked = engine_options(engine, {**kept, **given}, self.manifest["strategy"])
        options = checked.model_dump()
        changed = sorted(name for name in kept if options[name] != kept[name] and name not in checked.free)
        recorded = count_lines(self.folder / ANSWERS)
        if changed:
            self.require_no_batches()
        if recorded and engine != before == NO_LLM:
            # They cost nothing, and may be had again.
            (self.folder / ANSWERS).unlink()
            self.forget(STAGES[1:])
        elif recorded and before != IMPORTED and (engine != before or changed):
            what = (
                f"the engine {before}"
                if engine != before
                else f"{before} with another --{changed[0].replace('_', '-')}"
            )
            raise ShelfmarkError(
                f"{self.folder}: {recorded} answers of {what} are recorded; "
                "delete completions.jsonl to ask again, or start another run"
            )
        self.record(engine=engine, engine_options=options)

    def require_unchanged(self, what: str, file: Path) -> None:
        """Refuse to read a file that is another than when the run was started; `what` is its name in the manifest.

        Raises
        ------
        ShelfmarkError
            When it is.
        """
        if file.is_file() and content_hash(file) != self.manifest["inputs"].get(what):
            raise ShelfmarkError(f"{file}: it changed since this run was started; start another run")

    def _discard(self) -> None:
        # By another name first: a job that dies halfway through must not leave half a run.
        old = temporary_name(self.folder.resolve())
        self.folder.resolve().replace(old)
        shutil.rmtree(old)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from working on the run, and clear what a killed one left.

        Raises
        ------
        ShelfmarkError
            When another process is working on it.
        """
        with open(self.folder / ".lock", "a", opener=owned) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ShelfmarkError(f"{self.folder}: another process is working on this run; wait for it") from None
            clear_leftovers(self.folder, alone=True)  # nobody else holds the lock
            yield

    def _has(self, stage: str) -> bool:
        file = "metrics.json" if stage == "report" else f"{stage}.jsonl"
        return stage in self.manifest["stages"] and (self.folder / file).is_file()

    def forget(self, stages: Sequence[str]) -> None:
        """Do these stages again: someone deleted the file of the first, on which the others stand."""
        done = {name: value for name, value in self.manifest["stages"].items() if name not in stages}
        if done != self.manifest["stages"]:
            self.manifest.pop("finished", None)
            self.page.unlink(missing_ok=True)
            self.record(stages=done)

    def _partial(self, name: str) -> Path:
        return self.folder / f"{name}.partial"

    def _bar(self, what: str) -> Any:
        return self.progress(what, self.manifest["rows"])


def _left_by_start(path: Path) -> bool:
    """Tell whether a path is one that `Run.start` makes before the manifest: it may have been killed there."""
    return path.name in (".lock", INPUTS) or (path.name.startswith(".") and path.name.endswith(".tmp"))


def now() -> str:
    """Return the time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
