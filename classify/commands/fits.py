"""The command that fits a model and saves it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from catalog.errors import ShelfmarkError
from classify.commands import options as o
from classify.commands.app import app, show


@app.command()
def fit(
    train: Annotated[list[Path], typer.Option(help="Labelled products; may be given more than once.")],
    out: Annotated[Path, typer.Option(help="The folder to write the model to.")],
    strategy: o.StrategyOption = None,
    preset: o.PresetOption = None,
    schema: o.SchemaOption = "indoml",
    seed: o.SeedOption = 0,
    policy: o.PolicyOption = None,
    top_n: o.TopNOption = None,
    abstain_below: o.AbstainOption = None,
    encoder: o.EncoderOption = None,
    top_k: o.TopKOption = None,
    filter: o.FilterOption = None,
    price_band: o.BandOption = None,
    ignore_price: o.IgnorePriceOption = None,
    clean_text: o.CleanOption = None,
    context: o.ContextOption = None,
    context_tokens: o.ContextTokensOption = None,
    candidates_from: o.SourcesOption = None,
    llm_below: o.BelowOption = None,
    recipe: o.RecipeOption = None,
    base: o.BaseOption = None,
    backend: o.BackendOption = None,
    sample: o.SampleOption = None,
    whole_set: o.WholeSetOption = None,
    grouped: o.GroupedOption = None,
    validation: o.ValidationOption = None,
    max_seq_length: o.SequenceOption = None,
    load_in_4bit: o.FourBitOption = None,
    rank: o.RankOption = None,
    alpha: o.AlphaOption = None,
    epochs: o.EpochsOption = None,
    batch_size: o.TrainBatchOption = None,
    gradient_accumulation: o.AccumulationOption = None,
    learning_rate: o.LearningRateOption = None,
    evaluate_every: o.EvaluateOption = None,
    patience: o.PatienceOption = None,
    serve: o.ServeOption = None,
    accelerate_config: o.AccelerateOption = None,
    report_to: o.ReportToOption = None,
    max_training_tokens: o.TrainingTokensOption = None,
    stop: o.StopOption = None,
    learning_rate_multiplier: o.MultiplierOption = None,
    suffix: o.SuffixOption = None,
    job: o.JobOption = None,
    max_cost: o.CostOption = None,
    prices: o.PricesOption = None,
    base_url: o.UrlOption = None,
    push_to_hub: o.PushOption = None,
) -> None:
    """Fit a strategy on labelled products and save the model; for lora and openai this is the fine-tune."""
    from classify.model import check_place, work_folder
    from classify.model import fit as fit_model
    from classify.presets import load_preset
    from classify.progress import bar
    from classify.provider.standing import check_unpaid, how_to_go_on
    from classify.tables import training_table
    from classify.tuning_table import tuning_table

    check_place(out)
    if push_to_hub is not None:
        from finetune.hub import check_token

        check_token()
    options = o.given(
        policy=policy,
        top_n=top_n,
        abstain_below=abstain_below,
        encoder=encoder,
        top_k=top_k,
        filter=filter,
        price_band=price_band,
        ignore_price=ignore_price,
        clean_text=clean_text,
        context_tokens=context_tokens,
        candidates_from=candidates_from,
        llm_below=llm_below,
        recipe=recipe,
        base=base,
        backend=backend,
        sample=sample,
        whole_set=whole_set,
        grouped=grouped,
        validation=validation,
        max_seq_length=max_seq_length,
        load_in_4bit=load_in_4bit,
        rank=rank,
        alpha=alpha,
        epochs=epochs,
        batch_size=batch_size,
        gradient_accumulation=gradient_accumulation,
        learning_rate=learning_rate,
        evaluate_every=evaluate_every,
        patience=patience,
        serve=serve,
        accelerate_config=accelerate_config,
        report_to=report_to,
        max_training_tokens=max_training_tokens,
        stop=stop,
        learning_rate_multiplier=learning_rate_multiplier,
        suffix=suffix,
        job=job,
        max_cost=max_cost,
        prices=None if prices is None else str(prices),
        base_url=base_url,
    )
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
        how: dict[str, Any] = {"schema": schema, "seed": seed, "progress": bar, "work": work}
        model = fit_model(train, strategy=name, context=context, **how, **options)
    except KeyboardInterrupt:
        if work.exists():
            typer.echo(f"classify: stopped; {how_to_go_on(out)}", err=True)
        raise
    model.save(out)
    shutil.rmtree(work, ignore_errors=True)
    if model.strategy.name == "openai":
        show(tuning_table(model.strategy.about))
    if model.strategy.name == "lora":
        from finetune.card import write_card
        from finetune.curves import write_report

        show(training_table(model.strategy.about))
        write_card(out)
        typer.echo(f"{write_report(out)}: the curves")
    paths = len(model.strategy.taxonomy)
    name = model.strategy.name
    kind = f"{'an' if name[0] in 'aeiou' else 'a'} {name} model"
    typer.echo(f"{out}: {kind} of {paths:,} label paths; use it with classify --model {out} --test TEST")
    if push_to_hub is not None:
        from finetune.hub import push

        typer.echo(f"{out}: now at {push(out, push_to_hub)}")
