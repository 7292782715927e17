"""Training itself: TRL's SFTTrainer, with item accuracy measured on the way and checkpoints to go on from."""

from __future__ import annotations

import errno
import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, check_installed, first_line, require
from catalog.files import read_json, write_json
from finetune.backends import SMALLER, Loaded, load
from finetune.examples import Example, Lengths, Turn, measure_lengths
from finetune.generate import answers
from finetune.job import COMPLETE, TrainingJob, last_checkpoint

Judge = Callable[[Sequence[str]], Sequence[bool]]
"""Tells which answers to the validation rows, all of them in order, are right."""
Tell = Callable[[str], None]
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
LOGS = 10  # entries in the history between two evaluations
MARGIN = 8  # tokens that an answer may be longer than the longest that is learned
NOT_ADAPTERS = (
    "optimizer*",
    "scheduler*",
    "rng_state*",
    "scaler*",
    "trainer_state.json",
    "training_args.bin",
    COMPLETE,
)
TRACKERS = ("none", "tensorboard", "wandb")


def train(job: TrainingJob, judge: Judge, *, tell: Tell, progress: Progress) -> None:
    """Train from the last whole checkpoint, or from the start; leave ``adapter``, ``last`` and ``training.json``.

    Parameters
    ----------
    job : TrainingJob
        What to train.
    judge : Judge
        Scores the validation rows.
    tell : callable
        Is told, in a line, what goes on.
    progress : callable
        Opens a progress bar: ``with progress('train', rows) as advance: advance(64)``.

    Raises
    ------
    ShelfmarkError
        When the base cannot be loaded, examples are too long, memory or disk do not suffice.
    """
    check_tracker(job.report_to)
    loaded = load(job.backend, job.recipe)
    learned, held_out = job.examples(), job.validation()
    lengths = measure_lengths(learned, lambda turns: _tokens(loaded.tokenizer, turns), job.recipe.max_seq_length)
    most_tokens = longest_answer(loaded.tokenizer, learned) + MARGIN
    _check_disk(job, loaded.model)
    trainer = _trainer(job, loaded, learned, _Judged([turns for turns, _ in held_out], judge, most_tokens))
    checkpoint = last_checkpoint(job.checkpoints)
    past = read_json(checkpoint / COMPLETE)["seconds"] if checkpoint else 0.0
    if checkpoint is not None:
        tell(f"going on from step {checkpoint.name.rpartition('-')[2]}")
    # Steps are shown as rows: a step's size is the recipe's affair.
    rows_a_step = job.recipe.batch_size * job.recipe.gradient_accumulation * trainer.accelerator.num_processes
    try:
        with ExitStack() as bars:

            def bar(steps: int) -> Callable[[int], None]:
                advance = bars.enter_context(progress("train", steps * rows_a_step))
                return lambda done: advance(done * rows_a_step)

            trainer.add_callback(_watcher(trainer, past, tell, bar))
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    except Exception as error:  # the libraries raise many kinds
        raise _stopped(job, error) from error
    if trainer.is_world_process_zero():
        _finish(job, trainer, loaded, lengths, most_tokens)


def check_tracker(name: str) -> None:
    """Refuse a tracker that there is not.

    Raises
    ------
    ShelfmarkError
        When it is unknown or not installed.
    """
    if name not in TRACKERS:
        raise ShelfmarkError(f"--report-to {name}: unknown; there are: {', '.join(TRACKERS)}")
    if name != "none":
        try:
            check_installed(name, "lora")
        except ShelfmarkError:
            raise ShelfmarkError(f"--report-to {name}: install it with pip install {name}") from None


def longest_answer(tokenizer: Any, learned: Sequence[Example]) -> int:
    """Return the tokens of the longest answer among the examples, its end included."""
    texts = {one.completion[-1]["content"] for one in learned}
    return max(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts) + 1


class _Judged:
    """The validation rows: what is asked, and how the answers are scored."""

    def __init__(self, prompts: list[list[Turn]], judge: Judge, most_tokens: int) -> None:
        self.prompts, self.judge, self.most_tokens = prompts, judge, most_tokens

    def accuracy(self, trainer: Any) -> float:
        """Return item accuracy now; several processes share the rows out."""
        from accelerate.utils import gather_object

        accelerator = trainer.accelerator
        model = accelerator.unwrap_model(trainer.model)
        mine = range(accelerator.process_index, len(self.prompts), accelerator.num_processes)
        # Each process has as many rows: with parts of a model in each, all must go through the same steps.
        short = -(-len(self.prompts) // accelerator.num_processes) - len(mine)
        prompts = [self.prompts[at] for at in mine] + self.prompts[:1] * short
        found = answers(
            model,
            trainer.processing_class,
            prompts,
            most_tokens=self.most_tokens,
            batch_size=trainer.args.per_device_eval_batch_size,
            together=accelerator.num_processes > 1,
        )
        said: dict[int, str] = dict(gather_object(list(zip(mine, found, strict=False))))
        right = self.judge([said[at] for at in range(len(self.prompts))])
        return sum(right) / len(right)


def trainer_settings(job: TrainingJob, loaded: Loaded) -> dict[str, Any]:
    """Return all that ``trl.SFTConfig`` is given: the recipe's figures, and how the run is watched and kept."""
    recipe, validated = job.recipe, (job.folder / "validation.jsonl").stat().st_size > 0
    figures = recipe.trainer_arguments()
    if loaded.device == "cpu" and "8bit" in recipe.optimizer:
        figures["optim"] = "adamw_torch"
        loaded.notes.append(f"optimizer adamw_torch in place of {recipe.optimizer}, which needs a GPU")
    checkpointing = recipe.gradient_checkpointing and job.backend == "trl"  # unsloth does it in its own way
    return {
        **figures,
        "output_dir": str(job.checkpoints),
        "per_device_eval_batch_size": recipe.batch_size,
        "eval_strategy": "steps" if validated else "no",
        "eval_steps": recipe.evaluate_every,
        "save_strategy": "steps",
        "save_steps": recipe.evaluate_every,
        "save_total_limit": 2,  # the best and the last
        "load_best_model_at_end": validated,
        "metric_for_best_model": "item_accuracy" if validated else None,
        "greater_is_better": True if validated else None,
        "logging_steps": max(recipe.evaluate_every // LOGS, 1),
        "report_to": job.report_to,
        "disable_tqdm": True,
        "use_cpu": loaded.device == "cpu",
        "bf16": loaded.precision == "bfloat16",
        "fp16": loaded.precision == "float16",
        "gradient_checkpointing": checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if checkpointing else None,
        "dataloader_pin_memory": loaded.device != "cpu",
        "ddp_find_unused_parameters": False,
    }


def _trainer(job: TrainingJob, loaded: Loaded, learned: Sequence[Example], judged: _Judged) -> Any:
    trl: Any = require("trl", "lora")
    datasets = require("datasets", "lora")
    transformers = require("transformers", "lora")
    datasets.disable_progress_bars()

    class Trainer(trl.SFTTrainer):  # type: ignore[misc]
        """Adds item accuracy to what an evaluation tells."""

        def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
            output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
            output.metrics[f"{metric_key_prefix}_item_accuracy"] = judged.accuracy(self)
            return output

    settings = trainer_settings(job, loaded)
    validated = settings["eval_strategy"] != "no"
    callbacks = []
    if job.recipe.patience and validated:
        callbacks.append(transformers.EarlyStoppingCallback(job.recipe.patience))
    rows = [{"prompt": one.prompt, "completion": one.completion} for one in learned]
    held_out = list(_jsonl(job.folder / "validation.jsonl"))
    trainer = Trainer(
        model=loaded.model,
        args=trl.SFTConfig(**settings),
        train_dataset=datasets.Dataset.from_list(rows),
        eval_dataset=datasets.Dataset.from_list(held_out) if validated else None,
        processing_class=loaded.tokenizer,
        callbacks=callbacks,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _watcher(trainer: Any, past: float, tell: Tell, bar: Callable[[int], Callable[[int], None]]) -> Any:
    """Return the callback that tells of the training, and marks checkpoints as whole."""
    transformers: Any = require("transformers", "lora")
    started = time.perf_counter()

    class Watcher(transformers.TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
            self.advance = bar(state.max_steps)
            self.advance(state.global_step)

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.advance(1)

        def on_evaluate(self, _: Any, state: Any, *__: Any, metrics: Any = None, **___: Any) -> None:
            if state.is_world_process_zero:
                losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
                loss = f"loss {losses[-1]:.4f}, " if losses else ""
                tell(
                    f"step {state.global_step:,} of {state.max_steps:,}: {loss}validation loss "
                    f"{metrics['eval_loss']:.4f}, item accuracy {metrics['eval_item_accuracy']:.4f}"
                )

        def on_save(self, settings: Any, state: Any, *_: Any, **__: Any) -> None:
            if state.is_world_process_zero:
                trainer.whole_seconds = round(past + time.perf_counter() - started, 3)
                place = Path(settings.output_dir) / f"checkpoint-{state.global_step}"
                write_json(place / COMPLETE, {"seconds": trainer.whole_seconds})

    return Watcher()


def _finish(job: TrainingJob, trainer: Any, loaded: Loaded, lengths: Lengths, most_tokens: int) -> None:
    torch, state = require("torch", "lora"), trainer.state
    last = last_checkpoint(job.checkpoints)
    assert last is not None
    best = job.checkpoints / Path(state.best_model_checkpoint).name if state.best_model_checkpoint else last
    for source, target in ((best, job.adapter), (last, job.last)):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(*NOT_ADAPTERS))
    trained, total = trainer.model.get_nb_trainable_parameters()
    history = _history(state.log_history)
    step = int(best.name.rpartition("-")[2])
    scores = {entry["step"]: entry["item_accuracy"] for entry in history if "item_accuracy" in entry}
    about = {
        "base": job.recipe.base,
        "backend": job.backend,
        "rows": len(lengths.counts),
        "validation_rows": sum(1 for _ in _jsonl(job.folder / "validation.jsonl")),
        "steps": state.global_step,
        "planned_steps": state.max_steps,
        "stopped_early": state.global_step < state.max_steps,
        "seconds": trainer.whole_seconds,
        "device": torch.cuda.get_device_name() if loaded.device == "cuda" else "cpu",
        "processes": trainer.accelerator.num_processes,
        "precision": loaded.precision,
        "parameters": {"trained": trained, "total": total},
        "versions": {name: _version(name) for name in ("torch", "transformers", "trl", "peft", "unsloth")},
        "lengths": {
            "limit": lengths.limit,
            "longest": int(lengths.counts.max()),
            "mean": round(float(lengths.counts.mean()), 2),
            "histogram": lengths.histogram(),
        },
        "most_answer_tokens": most_tokens,
        "history": history,
        "best": {"step": step, "item_accuracy": scores.get(step)},
        "notes": loaded.notes,
    }
    if torch.cuda.is_available():
        about["peak_gpu_bytes"] = torch.cuda.max_memory_allocated()
    write_json(job.folder / "training.json", about)


def _history(log: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what was logged, one entry a step: loss, learning_rate, eval_loss and item_accuracy, as far as told."""
    steps: dict[int, dict[str, Any]] = {}
    names = {"loss": "loss", "learning_rate": "learning_rate", "eval_loss": "eval_loss"}
    names["eval_item_accuracy"] = "item_accuracy"
    for entry in log:
        told = {ours: entry[theirs] for theirs, ours in names.items() if theirs in entry}
        if told:
            steps.setdefault(entry["step"], {"step": entry["step"]}).update(told)
    return [steps[step] for step in sorted(steps)]


def _check_disk(job: TrainingJob, model: Any) -> None:
    trained, total = model.get_nb_trainable_parameters()
    # Three checkpoints at once, of 4-byte weights and two moments of the optimizer each; then 2 bytes a merged weight.
    needed = 3 * trained * 12 + total * 2
    free = shutil.disk_usage(job.folder).free
    if free < needed:
        raise ShelfmarkError(
            f"{job.folder}: {free / 1e9:.1f} GB are free on its disk, and about {needed / 1e9:.1f} GB are needed for "
            "checkpoints and the merged model; free some, or choose another --out"
        )


def _stopped(job: TrainingJob, error: Exception) -> Exception:
    """Return the one line for what people can mend; what they cannot is returned as it is."""
    if isinstance(error, ShelfmarkError):
        return error
    words = f"{type(error).__name__} {error}".lower()
    again = "then give the same command again: it goes on from the last checkpoint"
    if (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "no space left" in words:
        return ShelfmarkError(f"{job.folder}: the disk is full; free some space, {again}")
    if "outofmemory" in words or "out of memory" in words or "can't allocate memory" in words:
        return ShelfmarkError(
            f"--batch-size {job.recipe.batch_size}: not enough memory ({first_line(error)}); {SMALLER}"
        )
    return error


def _tokens(tokenizer: Any, turns: list[Turn]) -> int:
    return len(tokenizer.apply_chat_template(turns, return_dict=False))


def _jsonl(path: Path) -> Any:
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            yield {"prompt": row["prompt"], "completion": row["completion"]}


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None
