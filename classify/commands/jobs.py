"""The command that begins a run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from catalog.errors import ShelfmarkError
from classify.commands import options as o
from classify.commands.app import app, execute


@app.callback(invoke_without_command=True)
def classify(
    typed: typer.Context,
    strategy: o.StrategyOption = None,
    preset: o.PresetOption = None,
    train: o.TrainOption = None,
    model: Annotated[
        Path | None,
        typer.Option(help="A model that classify fit wrote, in place of --train; or a provider's, beside it (openai)."),
    ] = None,
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
    context: o.ContextOption = None,
    context_tokens: o.ContextTokensOption = None,
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
    max_training_tokens: o.TrainingTokensOption = None,
    stop: o.StopOption = None,
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
    tier: o.TierOption = None,
    max_enqueued_tokens: o.EnqueuedOption = None,
    poll: o.PollOption = None,
    gpu_price: o.PriceOption = None,
    max_cost: o.CostOption = None,
    prices: o.PricesOption = None,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Classify products: classify --strategy rag --train TRAIN --test TEST."""
    if typed.invoked_subcommand is not None:
        return
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"shelfmark {installed('shelfmark')}")
        return
    if not train and model is None and test is None:
        typer.echo(FIRST_STEPS)
        return
    tuned = ""
    if model is not None and not model.is_dir() and _is_openai(strategy, preset):
        if not train:
            raise ShelfmarkError(
                f"--model {model}: no folder, so it is a model of the provider's: give --train TRAIN as well, for the "
                "valid label paths"
            )
        tuned, model = str(model), None
    if train and model is not None and llm is None and engine not in (None, "neighbours"):
        llm, model = str(model), None  # with --train it can only be the LLM
    if bool(train) == (model is not None) or test is None:
        raise ShelfmarkError("give --test TEST and one of --train TRAIN and --model MODEL; see classify --help")
    from catalog.schema import Schema, load_schema
    from classify.contexts import context_options
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
        context_tokens=context_tokens,
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
        max_training_tokens=max_training_tokens,
        tuned=tuned or None,
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
        tier=tier,
        max_enqueued_tokens=max_enqueued_tokens,
        poll=poll,
    )
    if preset is not None:
        named = load_preset(preset)
        if strategy not in (None, named.strategy):
            raise ShelfmarkError(f"--preset {preset}: its strategy is {named.strategy}, not {strategy}")
        strategy = named.strategy
        # A model that was fine-tuned stands by what it was fitted with: of a preset it takes how it is asked.
        if model is None or not hasattr(find("strategy", STRATEGIES, strategy), "own_llm"):
            given = {**named.options, **given}
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
    if stop is not None:  # what a model learned to end with; else what an engine is told
        (given if "stop" in chosen.options_class.model_fields else asked)["stop"] = stop
    if base_url is not None and "base_url" in chosen.options_class.model_fields and model is None:
        given["base_url"] = base_url  # a model that is made for this run is made where it answers
    given = context_options(strategy, given, context, model=model)
    options = check_options(chosen.options_class, strategy, given).model_dump()
    job = Job(
        strategy,
        engine or "",
        columns,
        options,
        seed,
        test,
        tuple(train or ()),
        model,
        limit,
        asked,
        gpu_price,
        max_cost=max_cost,
        prices=str(prices or ""),
        context=context,
    )
    folder = run or Path("runs") / f"{strategy}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    execute(folder, lambda: Run.start(folder, job, progress=bar), until=until)


def _is_openai(strategy: str | None, preset: str | None) -> bool:
    from classify.presets import load_preset

    return (strategy or (preset and load_preset(preset).strategy)) == "openai"


FIRST_STEPS = """\
classify puts products on the right shelf. To begin, with data made up for trying it out:

  classify sample --rows 20000 --test-rows 2000 --out sample
  classify --strategy tree --train sample/train.features --test sample/test.features --run runs/first
  classify submit runs/first

classify --help shows the options, classify COMMAND --help those of one command."""
