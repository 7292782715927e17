"""The table of what a fine-tune costs."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from classify.terminal import shown
from finetune.profile import duration


def profile_table(report: dict[str, Any]) -> Table:
    """Return the figures of ``profile.json``: one column for training, one for inference."""
    training, inference = report["training"], report["inference"]
    table = Table(title=shown(f"{report['rows']:,} rows in batches of {report['batch_size']:,}"), title_justify="left")
    for name in ("", "training", "inference"):
        table.add_column(name, justify="right" if name else "left")
    both = (training, inference)
    total, trained = report["parameters"]["total"], report["parameters"]["trained"]
    table.add_row("parameters", f"{trained:,} trained ({trained / total:.2%})", f"{total:,}")
    table.add_row("device", *[shown(report["device_name"] or report["device"])] * 2)
    note = "" if report["profiled_rows"] == report["rows"] else f", {report['profiled_rows']:,} rows"
    table.add_row(f"self CPU time{note}", *(duration(one["self_cpu_seconds"]) for one in both))
    table.add_row(f"self CUDA time{note}", *(duration(one["self_cuda_seconds"]) for one in both))
    table.add_row(f"GFLOPs{note}", *(f"{one['gflops']:,.1f}" for one in both))
    table.add_row("GFLOPs a row", *(f"{one['gflops_per_row']:,.3f}" for one in both))
    table.add_row("time without the profiler", *(duration(one["seconds"]) for one in both))
    table.add_row("time a row", *(duration(one["seconds"] / report["rows"]) for one in both))
    table.add_row("rows/s", *(f"{one['rows_per_second']:,.1f}" for one in both))
    read, written = inference["prompt_tokens"], inference["answer_tokens"]
    table.add_row("tokens", f"{training['tokens']:,} read", f"{read:,} read, {written:,} written")
    if training["peak_gpu_bytes"] is not None:
        table.add_row("GPU memory at most", *(f"{one['peak_gpu_bytes'] / 2**30:,.1f} GiB" for one in both))
    return table


def operators_table(report: dict[str, Any], name: str) -> Table:
    """Return the ten dearest operators of ``training`` or ``inference``."""
    table = Table(title=shown(f"{name}: the dearest operators"), title_justify="left")
    for column in ("operator", "calls", "self CPU time", "self CUDA time", "GFLOPs"):
        table.add_column(column, justify="left" if column == "operator" else "right")
    for one in report["operators"][name]:
        table.add_row(
            shown(one["name"]),
            f"{one['calls']:,}",
            duration(one["self_cpu_seconds"]),
            duration(one["self_cuda_seconds"]),
            f"{one['gflops']:,.2f}" if one["gflops"] else "",
        )
    return table
