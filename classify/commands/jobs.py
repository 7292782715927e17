"""Commands that begin a job: classify and fit."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from catalog.errors import ShelfmarkError
from classify.commands import options as o
from classify.commands.app import app, execute, show


@app.callback(invoke_without_command=True)
def classify(
    context: typer.Context,
    strategy: o.StrategyOption = None,
    preset: o.PresetOption = None,
    train: o.TrainOption = None,
    model: Annotated[Path | None, typer.Option(help="A model that classify fit wrote, in place of --train.")] = None,
    test: Annotated[Path | None, typer.Option(help="The products to classify; labels are not needed.")] = None,
    run: Annotated[Path | None, typer.Option(help="The run directory (default runs/STRATEGY-TIME).")] = None,
    until: o.UntilOption = "report",
    limit: Annotated[int | None, typer.Option(min=1, help="Classify the first so many rows alone.")] = None,
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
    rerank: o.RerankOption = None,
    clean_text: o.CleanOption = None,
    candidates_from: o.SourcesOption = None,
    candidates: o.CandidatesOption = None,
    prompt: o.PromptOption = None,
    max_prompt_tokens: o.PromptTokensOption = None,
    tokenizer: o.TokenizerOption = None,
    ask_by: o.AskByOption = None,
    llm_below: o.BelowOption = None,
    calibrate: o.CalibrateOption = None,
    recipe: o.RecipeOption = None,
    base: o.BaseOption = None,
    backend: o.BackendOption = None,
    sample: o.SampleOption = None,
    epochs: o.EpochsOption = None,
    serve: o.ServeOption = None,
    accelerate_config: o.AccelerateOption = None,
    report_to: o.ReportToOption = None,
    engine: o.EngineOption = None,
    llm: o.LlmOption = None,
    constrain: o.ConstrainOption = None,
    temperature: o.TemperatureOption = None,
    max_tokens: o.MaxTokensOption = None,
    base_url: o.UrlOption = None,
    concurrency: o.ConcurrencyOption = None,
    timeout: o.TimeoutOption = None,
    retries: o.RetriesOption = None,
    batch_size: o.BatchOption = None,
    tensor_parallel: o.ParallelOption = None,
    quantization: o.QuantizationOption = None,
    adapter: o.AdapterOption = None,
    max_model_len: o.LengthOption = None,
    gpu_memory: o.MemoryOption = None,
    dtype: o.DtypeOption = None,
    device: o.DeviceOption = None,
    gpu_price: o.PriceOption = None,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Classify products: classify --strategy rag --train TRAIN --test TEST."""
    if context.invoked_subcommand is not None:
        return
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"shelfmark {installed('shelfmark')}")
        return
    if not train and model is None and test is None:
        typer.echo(FIRST_STEPS)
        return
    if train and model is not None and llm is None and engine not in (None, "neighbours"):
        llm, model = str(model), None  # with --train it can only be the LLM
    if bool(train) == (model is not None) or test is None:
        raise ShelfmarkError("give --test TEST and one of --train TRAIN and --model MODEL; see classify --help")
    from catalog.schema import Schema, load_schema
    from classify.job import Job
    from classify.model import describe
    from classify.presets import load_preset
    from classify.progress import bar
    from classify.registry import ENGINES, STRATEGIES, find
    from classify.run import Run, check_stage
    from classify.strategies.base import check_options

    check_stage(until)
    given = o.given(
        policy=policy,
        top_n=top_n,
        abstain_below=abstain_below,
        encoder=encoder,
        top_k=top_k,
        filter=filter,
        price_band=price_band,
        ignore_price=ignore_price,
        rerank=rerank,
        clean_text=clean_text,
        candidates_from=candidates_from,
        candidates=candidates,
        prompt=prompt,
        max_prompt_tokens=max_prompt_tokens,
        tokenizer=tokenizer,
        ask_by=ask_by,
        llm_below=llm_below,
        calibrate=calibrate,
        recipe=recipe,
        base=base,
        backend=backend,
        sample=sample,
        epochs=epochs,
        serve=serve,
        accelerate_config=accelerate_config,
        report_to=report_to,
    )
    asked = o.given(
        llm=llm,
        constrain=constrain,
        temperature=temperature,
        max_tokens=max_tokens,
        base_url=base_url,
        concurrency=concurrency,
        timeout=timeout,
        retries=retries,
        batch_size=batch_size,
        tensor_parallel=tensor_parallel,
        quantization=quantization,
        adapter=adapter,
        max_model_len=max_model_len,
        gpu_memory=gpu_memory,
        dtype=dtype,
        device=device,
    )
    if preset is not None:
        named = load_preset(preset)
        if strategy not in (None, named.strategy):
            raise ShelfmarkError(f"--preset {preset}: its strategy is {named.strategy}, not {strategy}")
        strategy, given = named.strategy, {**named.options, **given}
        engine = engine or named.engine
        known = find("engine", ENGINES, engine).options_class.model_fields  # another engine knows some of them
        asked = {**{name: value for name, value in named.engine_options.items() if name in known}, **asked}
    if model is not None:
        about = describe(model, strategy)
        strategy, seed = about["strategy"], about["seed"]
        columns, given = Schema.from_dict(about["schema"]), {**about["options"], **given}
    else:
        strategy, columns = strategy or "rag", load_schema(schema)
    chosen = find("strategy", STRATEGIES, strategy)
    options = check_options(chosen.options_class, strategy, given).model_dump()
    job = Job(strategy, engine or "", columns, options, seed, test, tuple(train or ()), model, limit, asked, gpu_price)
    folder = run or Path("runs") / f"{strategy}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    execute(folder, lambda: Run.start(folder, job, progress=bar), until=until)


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
    push_to_hub: o.PushOption = None,
) -> None:
    """Fit a strategy on labelled products and save the model; for lora this is the fine-tune."""
    from classify.model import check_place, work_folder
    from classify.model import fit as fit_model
    from classify.presets import load_preset
    from classify.progress import bar
    from classify.tables import training_table

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
    )
    if preset is not None:
        named = load_preset(preset)
        if strategy not in (None, named.strategy):
            raise ShelfmarkError(f"--preset {preset}: its strategy is {named.strategy}, not {strategy}")
        strategy, options = named.strategy, {**named.options, **options}
    work = work_folder(out)
    name = strategy or "rag"
    try:
        model = fit_model(train, strategy=name, schema=schema, seed=seed, progress=bar, work=work, **options)
    except KeyboardInterrupt:
        if work.exists():
            typer.echo(f"classify: stopped; the same command goes on from the last checkpoint in {work}", err=True)
        raise
    model.save(out)
    shutil.rmtree(work, ignore_errors=True)
    if model.strategy.name == "lora":
        from finetune.card import write_card
        from finetune.curves import write_report

        show(training_table(model.strategy.about))
        write_card(out)
        typer.echo(f"{write_report(out)}: the curves")
    paths = len(model.strategy.taxonomy)
    typer.echo(
        f"{out}: a {model.strategy.name} model of {paths:,} label paths; use it with classify --model {out} --test TEST"
    )
    if push_to_hub is not None:
        from finetune.hub import push

        typer.echo(f"{out}: now at {push(out, push_to_hub)}")


FIRST_STEPS = """\
classify puts products on the right shelf. To begin, with data made up for trying it out:

  classify sample --rows 20000 --test-rows 2000 --out sample
  classify --strategy tree --train sample/train.features --test sample/test.features --run runs/first
  classify submit runs/first

classify --help shows the options, classify COMMAND --help those of one command."""
