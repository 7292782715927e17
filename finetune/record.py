"""What is written down of a training that is done: ``training.json``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from catalog.errors import require
from finetune.backends import Loaded
from finetune.job import TrainingJob

PACKAGES = ("torch", "transformers", "trl", "peft", "unsloth", "bitsandbytes")
LOGGED = {
    "loss": "loss",
    "learning_rate": "learning_rate",
    "eval_loss": "eval_loss",
    "eval_item_accuracy": "item_accuracy",
}


def record(
    job: TrainingJob,
    trainer: Any,
    loaded: Loaded,
    *,
    best_step: int,
    seconds: float,
) -> dict[str, Any]:
    """Return what there is to tell, as JSON values; `finetune.checks.MEASURED` goes with it.

    Parameters
    ----------
    job, loaded
        What was trained, and with what.
    trainer : trl.SFTTrainer
        At the end of its training.
    best_step : int
        The step of the best checkpoint.
    seconds : float
        What training took, over all processes that had a part in it.
    """
    torch, state = require("torch", "lora"), trainer.state
    trained, total = trainer.model.get_nb_trainable_parameters()
    curve = history(state.log_history)
    scores = {entry["step"]: entry["item_accuracy"] for entry in curve if "item_accuracy" in entry}
    about: dict[str, Any] = {
        "base": job.recipe.base,
        "backend": job.backend,
        "validation_rows": len(job.validation()),
        "steps": state.global_step,
        "planned_steps": state.max_steps,
        "stopped_early": state.global_step < state.max_steps,
        "seconds": seconds,
        "device": torch.cuda.get_device_name() if loaded.device == "cuda" else "cpu",
        "processes": trainer.accelerator.num_processes,
        "precision": loaded.precision,
        "parameters": {"trained": trained, "total": total},
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "history": curve,
        "best": {"step": best_step, "item_accuracy": scores.get(best_step)},
        "notes": loaded.notes,
    }
    if torch.cuda.is_available():
        about["peak_gpu_bytes"] = torch.cuda.max_memory_allocated()
    return about


def history(log: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the trainer logged, one entry a step: loss, learning_rate, eval_loss, item_accuracy, as far as told.

    Losses are in nats a token of the answers.
    """
    steps: dict[int, dict[str, Any]] = {}
    for entry in log:
        told = {ours: entry[theirs] for theirs, ours in LOGGED.items() if theirs in entry}
        if told:
            steps.setdefault(entry["step"], {"step": entry["step"]}).update(told)
    return [steps[step] for step in sorted(steps)]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
