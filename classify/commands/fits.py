"""The command that fits a model and saves it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from catalog.errors import ShelfmarkError
from classify.commands import options as o
from classify.commands.app import app
from classify.commands.parameters import takes
from classify.console import advise, progress, result, say, show_also


@app.command()
@takes(options=o.COMMON | o.RAG | o.TREE | o.LORA | o.TRAINING | o.OPENAI | o.TUNING)
def fit(
    options: dict[str, Any],
    train: Annotated[list[Path], typer.Option(help="Labelled products; may be given more than once.")],
    out: Annotated[Path, typer.Option(help="The folder to write the model to.")],
    schema: o.SchemaOption = "indoml",
    strategy: o.StrategyOption = None,
    preset: o.PresetOption = None,
    seed: o.SeedOption = 0,
    context: o.ContextOption = None,
    stop: o.StopOption = None,
    base_url: o.UrlOption = None,
    max_cost: o.CostOption = None,
    prices: o.PricesOption = None,
    push_to_hub: o.PushOption = None,
) -> None:
    """Fit a strategy on labelled products and save the model; for lora and openai this is the fine-tune."""
    from classify.model import check_place, work_folder
    from classify.model import fit as fit_model
    from classify.presets import load_preset
    from classify.provider.standing import check_unpaid, how_to_go_on
    from classify.tables import training_table
    from classify.tuning_table import tuning_table

    check_place(out)
    if push_to_hub is not None:
        from finetune.hub import check_token

        check_token()
    options |= o.given(stop=stop, max_cost=max_cost, prices=prices and str(prices), base_url=base_url)
    if preset is not None:
        named = load_preset(preset)
        if strategy not in (None, named.strategy):
            raise ShelfmarkError(f"--preset {preset}: its strategy is {named.strategy}, not {strategy}")
        strategy, options = named.strategy, {**named.options, **options}
    work = work_folder(out)
    name = strategy or "rag"
    if name == "openai":
        check_unpaid(out)
    try:
        how: dict[str, Any] = {"schema": schema, "seed": seed, "progress": progress(), "work": work}
        model = fit_model(train, strategy=name, context=context, **how, **options)
    except KeyboardInterrupt:
        if work.exists():
            say(f"classify: stopped; {how_to_go_on(out)}", err=True)
        raise
    model.save(out)
    shutil.rmtree(work, ignore_errors=True)
    if model.strategy.name == "openai":
        show_also(tuning_table(model.strategy.about))
    if model.strategy.name == "lora":
        from finetune.card import write_card
        from finetune.curves import write_report

        show_also(training_table(model.strategy.about))
        write_card(out)
        advise(f"{write_report(out)}: the curves")
    paths = len(model.strategy.taxonomy)
    name = model.strategy.name
    kind = f"{'an' if name[0] in 'aeiou' else 'a'} {name} model"
    result(out, f": {kind} of {paths:,} label paths; use it with classify --model {out} --test TEST")
    if push_to_hub is not None:
        from finetune.hub import push

        advise(f"{out}: now at {push(out, push_to_hub)}")
