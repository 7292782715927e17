"""Commands about fine-tuned models: what they cost, and how others get them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classify.commands.app import app
from classify.commands.options import TrustOption
from classify.console import advise, result, show

ModelArgument = Annotated[Path, typer.Argument(help="The folder of a model of strategy lora.")]


@app.command()
def profile(
    model: ModelArgument,
    trust: TrustOption = False,
    rows: Annotated[int, typer.Option(min=1, help="Validation examples to measure with.")] = 32,
    device: Annotated[str, typer.Option(help="auto (default), cpu, cuda or another name.")] = "auto",
) -> None:
    """Measure what a fine-tuned model costs: CPU and CUDA time, GFLOPs and rows a second, in training and inference."""
    from classify.model import require_own_base
    from classify.profile_table import operators_table, profile_table
    from finetune.profile import profile_model

    require_own_base(model, trust=trust)
    report = profile_model(model, rows=rows, device=device)
    if (model / "report.html").is_file():
        from finetune.curves import write_report

        write_report(model)
    show(profile_table(report))
    for name in ("training", "inference"):
        show(operators_table(report, name))
    for note in report["notes"]:
        advise(note)
    result(model / "profile.json", ": all of it")


@app.command()
def push(
    model: ModelArgument,
    to: Annotated[str, typer.Option(help="The name on the Hugging Face hub: OWNER/NAME, or NAME for your own.")],
    trust: TrustOption = False,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; by default it is private.")] = False,
) -> None:
    """Put a fine-tuned model, its adapters and its card on the Hugging Face hub; HF_TOKEN holds your token."""
    from classify.model import require_own_base
    from finetune.hub import push as push_model

    require_own_base(model, trust=trust)
    advise(f"{model}: now at {push_model(model, to, private=not public)}")
