"""What a fine-tune costs: processor time, GPU time and arithmetic, in training and in inference."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, first_line, require
from catalog.files import write_json
from finetune.fitted import Fitted
from finetune.passes import Pass, Writing, loaded, to_batches, training_pass, with_adapters

EXTRA = "lora"
NO_GPU = "no CUDA here"
DEAREST = 10
PROFILED_BATCHES = 2


def profile_model(folder: str | Path, *, rows: int = 32, device: str = "auto") -> dict[str, Any]:
    """Measure a fitted LoRA model on validation examples, and write ``profile.json`` into its folder.

    Training is a forward and a backward pass over each batch of the recipe's size, with the adapters on the base as
    in training, and without a step of the optimizer, so that nothing is changed; it is done with transformers and
    peft, whatever trained the model. Inference is the merged model's writing of answers, the likeliest token each
    time, in batches of the same size. Each is done to warm up, then under torch's profiler, then with a clock alone:
    the clock gives seconds and rows a second, over all rows, and the profiler all else, over the first two batches
    (``profiled_rows``), because it keeps every call of every operator until it has summed them up.

    Floating point operations are those that torch's profiler knows: two for each multiply-add of the matrix products
    (``aten::mm``, ``addmm``, ``bmm``, ``baddbmm``) and convolutions, one for each element of ``aten::add`` and
    ``aten::mul``. It does not count fused attention, softmax, norms, activations, or products with weights in 4 bits.

    Parameters
    ----------
    folder : str or Path
        The model.
    rows : int
        Validation examples, at least 1; fewer where there are fewer.
    device : str
        ``auto`` is a GPU where there is one, else ``cpu``; else as torch names it.

    Returns
    -------
    dict
        What ``profile.json`` holds. Times are in seconds, ``gflops`` are 10^9 operations. Without a GPU,
        ``self_cuda_seconds`` are None.

    Raises
    ------
    ShelfmarkError
        When the model is of another strategy or not whole, has no validation rows, an extra is missing, or the device
        cannot be used or has too little memory.
    """
    fitted = Fitted.read(folder)
    merged, adapter = fitted.merged, fitted.adapter
    if rows < 1:
        raise ShelfmarkError(f"--rows {rows}: take 1 or more")
    examples = fitted.validation(rows)
    # The profiler's own notes of its starts and stops; it looks when torch is imported.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    torch, library, peft = (require(name, EXTRA) for name in ("torch", "transformers", "peft"))
    if not sys.stderr.isatty():
        library.utils.logging.disable_progress_bar()
    place = _device(torch, device)
    machine = _Machine(torch, place)
    tokenizer = loaded(library.AutoTokenizer, merged)
    size = int(fitted.options.get("batch_size", 16))
    batches = to_batches(tokenizer, examples, size, int(fitted.options.get("max_seq_length", 512)))
    notes: list[str] = []
    try:
        model = with_adapters(fitted, adapter, place, notes)
        trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
        training, dearest = machine.measure(training_pass(model, tokenizer, batches, place))
        del model
        machine.empty()
        model = loaded(library.AutoModelForCausalLM, merged, dtype="auto").to(place).eval()
        total = sum(one.numel() for one in model.parameters())
        writing = Writing(model, tokenizer, batches, place)
        inference, others = machine.measure(writing)
    except torch.OutOfMemoryError as error:
        raise ShelfmarkError(
            f"{folder}: not enough memory on {place} ({first_line(error)}); try --device cpu"
        ) from None
    precision = str(model.dtype).removeprefix("torch.")
    count, profiled = len(examples), sum(len(batch) for batch in batches[:PROFILED_BATCHES])
    for values in (training, inference):
        values["rows_per_second"] = count / values["seconds"]
        values["gflops_per_row"] = values["gflops"] / profiled
    training["tokens"] = sum(len(prompt) + len(answer) for batch in batches for prompt, answer in batch)
    inference["seconds_per_row"] = inference["seconds"] / count
    inference["prompt_tokens"] = sum(len(prompt) for batch in batches for prompt, _ in batch)
    inference["answer_tokens"] = writing.written
    inference["precision"] = precision
    report = {
        "format": 1,
        "device": place,
        "device_name": torch.cuda.get_device_name(place) if machine.cuda else None,
        "rows": count,
        "profiled_rows": profiled,
        "batch_size": size,
        "batches": len(batches),
        "parameters": {"total": total, "trained": trained},
        "training": training,
        "inference": inference,
        "operators": {"training": dearest, "inference": others},
        "versions": {"torch": torch.__version__, "transformers": library.__version__, "peft": peft.__version__},
        "notes": notes,
    }
    write_json(fitted.folder / "profile.json", report)
    return report


@dataclass
class _Machine:
    """Where it is measured."""

    torch: Any
    place: str

    @property
    def cuda(self) -> bool:
        return self.place.startswith("cuda")

    def measure(self, work: Pass) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Do the work three times; return what it takes and its ten dearest operators."""
        work(PROFILED_BATCHES)
        self._wait()
        if self.cuda:
            self.torch.cuda.reset_peak_memory_stats(self.place)
        profiler = self.torch.profiler
        kinds = [profiler.ProfilerActivity.CPU, *([profiler.ProfilerActivity.CUDA] if self.cuda else [])]
        with profiler.profile(activities=kinds, with_flops=True, acc_events=True) as watch:
            work(PROFILED_BATCHES)
            self._wait()
        values, dearest = summary(watch.key_averages(), cuda=self.cuda)
        begun = time.perf_counter()
        work(None)
        self._wait()
        values["seconds"] = time.perf_counter() - begun
        values["peak_gpu_bytes"] = self.torch.cuda.max_memory_allocated(self.place) if self.cuda else None
        return values, dearest

    def empty(self) -> None:
        """Give back the memory of what was deleted."""
        import gc

        gc.collect()
        if self.cuda:
            self.torch.cuda.empty_cache()

    def _wait(self) -> None:
        # A GPU works on while Python goes on: no clock is read before it is done.
        if self.cuda:
            self.torch.cuda.synchronize(self.place)


def summary(averages: Sequence[Any], *, cuda: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Sum up what torch's profiler saw.

    Parameters
    ----------
    averages : sequence of FunctionEventAvg
        The profiler's ``key_averages()``: times in microseconds.
    cuda : bool
        Whether a GPU was watched.

    Returns
    -------
    dict
        ``self_cpu_seconds``, ``self_cuda_seconds`` (None without a GPU) and ``gflops``, of all operators.
    list of dict
        The same for the ten dearest operators with their ``name`` and ``calls``: those that take most GPU time, or
        processor time where there is no GPU.
    """
    # The profiler lists kernels, too, as entries of their own: their time is also told with the operators that
    # launched them, so GPU time is summed over the former, as torch's own table does, and shown for the latter.
    operators = [one for one in averages if one.device_type.name == "CPU"]
    kernels = [one for one in averages if one.device_type.name == "CUDA" and not one.is_user_annotation]
    values = {
        "self_cpu_seconds": sum(one.self_cpu_time_total for one in averages) / 1e6,
        "self_cuda_seconds": sum(one.self_device_time_total for one in kernels) / 1e6 if cuda else None,
        "gflops": sum(one.flops or 0 for one in averages) / 1e9,
    }
    operators.sort(key=lambda one: -(one.self_device_time_total if cuda else one.self_cpu_time_total))
    return values, [
        {
            "name": one.key,
            "calls": one.count,
            "self_cpu_seconds": one.self_cpu_time_total / 1e6,
            "self_cuda_seconds": one.self_device_time_total / 1e6 if cuda else None,
            "gflops": (one.flops or 0) / 1e9,
        }
        for one in operators[:DEAREST]
    ]


def duration(seconds: float | None) -> str:
    """Return a time as people read it; None is that of a GPU where there is none."""
    if seconds is None:
        return NO_GPU
    if seconds >= 3600:
        shown = f"{seconds // 3600:,.0f} h {seconds % 3600 // 60:.0f} min"
    elif seconds >= 60:
        shown = f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    else:
        shown = f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.2f} ms"
    return shown.replace(" ", "\N{NO-BREAK SPACE}")  # no number is parted from its unit


def _device(torch: Any, name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:  # what torch raises for a device that it does not know or have
        raise ShelfmarkError(f"--device {name}: cannot be used ({first_line(error)}); try --device cpu") from None
    return name
