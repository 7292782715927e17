"""A run: one directory that holds everything a job read, asked, got and wrote. Read top to bottom, it is the job.

    products -> requests.jsonl -> completions.jsonl -> predictions.jsonl -> metrics.json, report.html

Each stage reads the file of the one before it, so that it can run on another machine, and be resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from catalog.context import stream_joined
from catalog.errors import ShelfmarkError, nearest
from catalog.files import write_json
from catalog.messages import Prediction
from catalog.places import labels_beside
from catalog.products import Products, stream_products
from classify import questions
from classify.answers import AnswerReader
from classify.asking import read_answers, tally, unanswered
from classify.authority import name_all
from classify.held_out import HELD_OUT
from classify.job import MONEY
from classify.lines import GrowingLines, count_lines
from classify.model import Model
from classify.names import STAGES, STRATEGIES
from classify.recorded_lines import read_predictions, read_requests
from classify.registry import check_engine, find
from classify.report.page import try_report
from classify.run_model import fitted
from classify.rundir import IMPORTED, NO_LLM, RunDirectory, now
from classify.scoring import evaluate_files

# Rows that are worked on at once. A resumed run starts at a whole block, so that each block is computed
# just as it was in an unbroken run, to the last bit.
BLOCK_ROWS = 2048


class Run(RunDirectory):
    """A run: the stages of a job, carried out in a directory."""

    _model: Model

    def execute(
        self,
        until: str = "report",
        engine: str | None = None,
        *,
        again: bool = False,
        give_up: bool = False,
        money: dict[str, Any] | None = None,
        **engine_options: Any,
    ) -> None:
        """Carry out the stages that are not done, up to `until`.

        Parameters
        ----------
        until : str
            The last stage: one of `STAGES`.
        engine : str, optional
            Have the requests answered by this engine instead of the manifest's.
        again : bool
            Ask once more what has an error for an answer.
        give_up : bool
            Record an error for what has no answer: its best candidate will stand.
        money : dict, optional
            What of `MONEY` is to be another than before.
        **engine_options
            Options of the engine to change.

        Raises
        ------
        ShelfmarkError
            When the run is in use, a file is damaged, or answers of another engine are recorded.
        """
        check_stage(until)
        if "runs" in self.manifest:
            if not self.page.is_file():
                try_report(self)  # an ensemble is made whole, or not at all, but for its page
            return
        with self.locked():
            mine = self.manifest
            kept = {name: mine.get(name) for name in ("engine_options", *MONEY)}
            self.manifest = {**RunDirectory.open(self.folder).manifest, **kept}
            if engine is not None or engine_options:
                self._change_engine(engine or self.manifest["engine"], engine_options)
            if money:
                name_all(money)
                self.record(**money)
            self.mend()
            if again:
                if self.manifest["engine"] == IMPORTED:
                    raise ShelfmarkError(
                        f"{self.folder}: its answers came in files; classify export {self.folder} writes what failed"
                    )
                self.forget(STAGES[1:])
                self.record(again=True)  # until it is done: a resumed run goes on with it
            if give_up:
                self.require_no_batches()
                if not again and self.manifest.pop("again", None):  # of a command before: what is given up is not asked
                    self.record()
                questions.give_up(self)
                self.forget(STAGES[1:])
            try:
                self._carry_out(until)
            except ShelfmarkError:
                if self._fresh and not self.has_work():  # nothing is done: leave no half-made run behind
                    self._discard()
                raise
            if until == STAGES[-1] and not self.finished:
                self.record(finished=now())
            if self.finished and not self.page.is_file():
                try_report(self)

    def _carry_out(self, until: str) -> None:
        asks = hasattr(find("strategy", STRATEGIES, self.manifest["strategy"]), "requests")
        stages = STAGES if asks else ("predictions", "report")
        if self.manifest["engine"] == NO_LLM and until != STAGES[0]:
            self._check_votes()
        work: dict[str, Callable[[], int]] = {
            "requests": lambda: self._write_requests(until),
            "completions": self._collect_completions,
            "predictions": self._snap_answers if asks else self._predict_directly,
            "report": self._write_metrics,
        }
        if asks and until != STAGES[0] and not self._has(STAGES[1]) and self.manifest["engine"] != IMPORTED:
            self.require_own_engine()  # before anything is imported or looked for that a received run may name
            check_engine(self.manifest["engine"])
        for name in STAGES[: STAGES.index(until) + 1]:
            if name in stages and not self._has(name):
                self.forget(stages[stages.index(name) :])
                if name == stages[0]:
                    self._model = fitted(self)
                    # Not by the fit: a run of a model that was there, or one that was killed, has it as well.
                    report = getattr(self._model.strategy, "report", {}).get(self.manifest["options"]["policy"])
                    if report:
                        self.record(calibration=report)
                    self._model.strategy.taxonomy.write(self.folder / "taxonomy.csv")
                self.timed(name, work[name])

    def _check_votes(self) -> None:
        """Refuse a job without an LLM where nothing else can answer."""
        name, options = self.manifest["strategy"], self.manifest["options"]
        if self.context is not None:
            raise ShelfmarkError(
                f"--context: the engine {NO_LLM} reads no prompt; take one that is a language model "
                "(vllm, server, batch, transformers)"
            )
        if self.answers_freely:
            raise ShelfmarkError(
                f"--engine {NO_LLM}: the strategy {name} has no neighbours to vote; use vllm, transformers or server"
            )
        neighbours = any(options.get("compare_top_k") or [options.get("top_k", 1)])
        if not neighbours and "tree" not in options.get("candidates_from", ""):
            raise ShelfmarkError(
                "--top-k 0 leaves no neighbours to vote; use an engine that is a language model "
                "(vllm, server, transformers), or --candidates-from tree"
            )

    def finish(self) -> None:
        """Score the predictions of an ensemble, which are made in one go, and mark the run as finished."""
        self.timed("report", self._write_metrics)
        self.record(finished=now())

    # The stages.

    def _write_requests(self, until: str) -> int:
        strategy: Any = self._model.strategy
        options = self.manifest["options"]
        if options.get("compare_top_k"):
            if "top_k" not in self.manifest:
                self.record(top_k=questions.compare(self, strategy, with_engine=until != STAGES[0]))
            strategy = strategy.with_top_k(self.manifest["top_k"]["chosen"])
        if options.get("calibrate") and (self.manifest["engine"] != NO_LLM or until == STAGES[0]):
            questions.hold_out(self, strategy)
        rows = self._write_blocks(
            "requests.jsonl", lambda block: [request.to_dict() for request in strategy.requests(block)]
        )
        if options.get("llm_below"):
            settled = sum(not request.messages for request in read_requests(self.folder / "requests.jsonl"))
            self.record(settled={"rows": settled, **strategy.settled_report()})
        return rows

    def _collect_completions(self) -> int:
        files = ["requests.jsonl"]
        if self.manifest["engine"] not in (NO_LLM, IMPORTED):
            self._hold_out_late()
        if self.manifest["engine"] != NO_LLM and (self.folder / HELD_OUT).is_file():
            files.insert(0, HELD_OUT)
        if self.manifest["engine"] == IMPORTED:
            missing = sum(1 for _ in unanswered(self.folder, [self.folder / name for name in files]))
            if missing:
                raise ShelfmarkError(
                    f"{self.folder}: {missing} requests have no answer yet; classify export {self.folder} writes them "
                    f"to a file, classify resume {self.folder} --engine ENGINE has them answered"
                )
            self.record(asking={**self.manifest.get("asking", {}), **tally(self.folder)})
        else:
            questions.ask_engine(self, files, bool(self.manifest.get("again")))
            self.manifest.pop("again", None)
        return int(self.manifest["asking"]["answers"] + self.manifest["asking"]["errors"])

    def _hold_out_late(self) -> None:
        """Write requests about held-out rows where those about products were written for no model."""
        options = self.manifest["options"]
        if not options.get("calibrate") or (self.folder / HELD_OUT).is_file():
            return
        if not (self.model_folder / "model.json").is_file():
            raise ShelfmarkError(
                f"{self.folder}: its requests were written for no LLM, and the model is not here to write those about "
                "held-out rows; resume it where it was made, or begin again with --until requests or --calibrate 0"
            )
        strategy: Any = fitted(self).strategy
        if options.get("compare_top_k"):
            strategy = strategy.with_top_k(self.manifest["top_k"]["chosen"])
        questions.hold_out(self, strategy)

    def _predict_directly(self) -> int:
        columns = self.schema.id, self.schema.levels
        predict = self._model.strategy.predict
        return self._write_blocks(
            "predictions.jsonl", lambda block: [prediction.to_dict(*columns) for prediction in predict(block)]
        )

    def _snap_answers(self) -> int:
        columns = self.schema.id, self.schema.levels
        learned = (None, None) if self.manifest["engine"] == NO_LLM else questions.learn(self)
        reader = AnswerReader(self.taxonomy(), self.manifest["options"]["policy"], *learned)
        requests = read_requests(self.folder / "requests.jsonl")
        completions = read_answers(self.folder)
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
        if self.manifest["engine"] != NO_LLM and not self.answers_freely:
            self.record(reading={"outside": reader.outside, "overruled": reader.overruled})
        return rows

    def _write_metrics(self) -> int:
        statuses: dict[str, int] = {}
        total, rows = 0.0, 0
        for line in read_predictions(self.predictions, self.schema):
            statuses[line.status] = statuses.get(line.status, 0) + 1
            total += line.confidence
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

    def _blocks(self) -> Iterator[Products]:
        return stream_products(self.test, self.schema, chunk_rows=BLOCK_ROWS, limit=self.manifest["limit"])

    def _write_blocks(self, name: str, work: Callable[[Products], list[dict[str, Any]]]) -> int:
        """Write a file block by block; one that a killed run left behind is carried on after its last whole block."""
        partial = self._partial(name)
        done = count_lines(partial) // BLOCK_ROWS * BLOCK_ROWS
        with GrowingLines(partial, keep=done) as out, self._bar(name.partition(".")[0]) as advance:
            advance(done)
            told = stream_joined(
                self.test, self.schema, self.context, chunk_rows=BLOCK_ROWS, limit=self.manifest["limit"]
            )
            for number, block in enumerate(told):
                if number * BLOCK_ROWS >= done:
                    out.append(work(block))
                    advance(len(block))
            rows = out.lines
        partial.replace(self.folder / name)
        return rows


def check_stage(name: str) -> None:
    """Refuse what is not a stage.

    Raises
    ------
    ShelfmarkError
        When there is no stage of that name.
    """
    if name not in STAGES:
        raise ShelfmarkError(f"--until {name}: no such stage{nearest(name, STAGES)}; stages: {', '.join(STAGES)}")
