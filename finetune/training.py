"""Training itself: TRL's SFTTrainer, with item accuracy measured on the way and checkpoints to go on from."""

from __future__ import annotations

import json
import pickle
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, first_line, require
from catalog.files import read_json, write_json
from finetune.backends import Loaded, load
from finetune.checks import MEASURED, SMALLER, disk_is_full, is_out_of_memory
from finetune.examples import Example, Turn
from finetune.generate import answers
from finetune.job import COMPLETE, TrainingJob, last_checkpoint
from finetune.record import record

Judge = Callable[[Sequence[str]], Sequence[bool]]
"""Tells which answers to the validation rows, all of them in order, are right."""
Tell = Callable[[str], None]
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
IGNORED = -100  # the label of a token that is not learned, in all of these libraries
TOKENIZED = ("input_ids", "attention_mask", "completion_mask", "labels")
LOGS = 10  # entries in the history between two evaluations
NOT_ADAPTERS = (
    "optimizer*",
    "scheduler*",
    "rng_state*",
    "scaler*",
    "train*",
    "README.md",
    "global_step*",
    "latest",
    "zero_to_fp32.py",
    COMPLETE,
)


def train(job: TrainingJob, judge: Judge, *, tell: Tell, progress: Progress) -> None:
    """Train from the last whole checkpoint, or from the start; leave ``adapter``, ``last`` and ``training.json``.

    Parameters
    ----------
    job : TrainingJob
        What to train; `finetune.checks.check_before` has looked at it.
    judge : Judge
        Scores the validation rows.
    tell : callable
        Is told, in a line, what goes on.
    progress : callable
        Opens a progress bar: ``with progress('train', rows) as advance: advance(64)``.

    Raises
    ------
    ShelfmarkError
        When the base cannot be loaded, or memory or disk do not suffice.
    """
    learned, held_out = job.examples(), job.validation()
    measured = read_json(job.folder / MEASURED)
    most_tokens = measured["most_answer_tokens"]
    if measured["warning"]:
        tell(f"warning: {measured['warning']}")
    loaded = load(job.backend, job.recipe)
    judged = _Judged([turns for turns, _ in held_out], judge, most_tokens, loaded.asking)
    trainer = _trainer(job, loaded, learned, judged)
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

            trainer.add_callback(_watcher(past, tell, bar))
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        if trainer.is_world_process_zero():
            _finish(job, trainer, loaded, measured)
    except Exception as error:  # the libraries raise many kinds
        raise _stopped(job, error) from error


class _Judged:
    """The validation rows: what is asked, and how the answers are scored."""

    def __init__(self, prompts: list[list[Turn]], judge: Judge, most_tokens: int, asking: Callable[[Any], Any]) -> None:
        self.prompts, self.judge, self.most_tokens, self.asking = prompts, judge, most_tokens, asking

    def accuracy(self, trainer: Any) -> float:
        """Return item accuracy now; several processes share the rows out."""
        from accelerate.utils import gather_object

        accelerator = trainer.accelerator
        model = accelerator.unwrap_model(trainer.model)
        mine = range(accelerator.process_index, len(self.prompts), accelerator.num_processes)
        # Each process has as many rows: with parts of a model in each, all must go through the same steps.
        short = -(-len(self.prompts) // accelerator.num_processes) - len(mine)
        prompts = [self.prompts[at] for at in mine] + self.prompts[:1] * short
        with self.asking(model):
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
        # The best, the last, and one more: a kill between two of them must not leave the best alone.
        "save_total_limit": 3,
        "restore_callback_states_from_checkpoint": True,  # how long there was no better one
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
    _require_completion_loss(trainer)
    if job.backend == "trl":
        # TRL makes the adapters of a 4-bit base bfloat16, which cards without it cannot scale, and which a resumed
        # training, whose adapters peft reads as float32, would not go on from.
        for weights in trainer.model.parameters():
            if weights.requires_grad:
                weights.data = weights.data.float()
    return trainer


def _require_completion_loss(trainer: Any) -> None:
    """Refuse versions of the libraries that would have the model learn its prompts, too."""
    first = {name: value for name, value in trainer.train_dataset[0].items() if name in TOKENIZED}
    labels = trainer.data_collator([first])["labels"]
    if not bool((labels == IGNORED).any()) or bool((labels == IGNORED).all()):
        raise ShelfmarkError(
            "this trl does not learn the answers alone: install the versions of requirements-gpu.txt, or trl 1.16"
        )


def _watcher(past: float, tell: Tell, bar: Callable[[int], Callable[[int], None]]) -> Any:
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
                place = Path(settings.output_dir) / f"checkpoint-{state.global_step}"
                write_json(place / COMPLETE, {"seconds": round(past + time.perf_counter() - started, 3)})

    return Watcher()


def _finish(job: TrainingJob, trainer: Any, loaded: Loaded, measured: dict[str, Any]) -> None:
    last = last_checkpoint(job.checkpoints)
    assert last is not None
    told = trainer.state.best_model_checkpoint
    best = job.checkpoints / Path(told).name if told else last
    for source, target in ((best, job.adapter), (last, job.last)):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(*NOT_ADAPTERS))
    seconds = read_json(last / COMPLETE)["seconds"]
    step = int(best.name.rpartition("-")[2])
    about = record(job, trainer, loaded, best_step=step, seconds=seconds)
    write_json(job.folder / "training.json", {**about, **measured})


def _stopped(job: TrainingJob, error: Exception) -> Exception:
    """Return the one line for what people can mend; what they cannot is returned as it is."""
    if isinstance(error, ShelfmarkError):
        return error
    again = "then give the same command again: it goes on from the last checkpoint"
    if isinstance(error, pickle.UnpicklingError):
        return ShelfmarkError(
            f"{job.checkpoints}: a checkpoint is damaged, or holds what no training writes; delete its folder, {again}"
        )
    if disk_is_full(error):
        return ShelfmarkError(f"{job.folder}: the disk is full; free some space, {again}")
    if is_out_of_memory(error):
        return ShelfmarkError(
            f"--batch-size {job.recipe.batch_size}: not enough memory ({first_line(error)}); {SMALLER}: it goes on "
            "from the last checkpoint"
        )
    return error


def _jsonl(path: Path) -> Any:
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            yield {"prompt": row["prompt"], "completion": row["completion"]}
