"""The command that begins a run."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Any

import typer

from catalog.errors import ShelfmarkError
from classify.commands import options as o
from classify.commands.app import app, execute
from classify.commands.mistakes import check_before
from classify.commands.parameters import PROGRAM, takes, talks
from classify.console import progress, say


@app.callback(invoke_without_command=True)
@talks
@takes(given=o.COMMON | o.RAG | o.PROMPTS | o.TREE | o.LORA | o.OPENAI, asked=o.ANSWERS | o.ANSWERING)
def classify(
    typed: typer.Context,
    given: dict[str, Any],
    asked: dict[str, Any],
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
    strategy: o.StrategyOption = None,
    preset: o.PresetOption = None,
    seed: o.SeedOption = 0,
    context: o.ContextOption = None,
    engine: o.EngineOption = None,
    llm: o.LlmOption = None,
    base_url: o.UrlOption = None,
    stop: o.StopOption = None,
    gpu_price: o.PriceOption = None,
    max_cost: o.CostOption = None,
    prices: o.PricesOption = None,
    trust: o.TrustOption = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version.", rich_help_panel=PROGRAM)] = False,
) -> None:
    """Classify products: classify --strategy rag --train TRAIN --test TEST."""
    if typed.invoked_subcommand is not None:
        check_before(typed)
        return
    if version:
        from importlib.metadata import version as installed

        say(f"shelfmark {installed('shelfmark')}")
        return
    if not train and model is None and test is None:
        from classify.first_steps import first_steps

        say(first_steps(Path.cwd()), lines=True)
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
    from classify.model import describe, own_options
    from classify.names import ENGINES, STRATEGIES
    from classify.presets import load_preset
    from classify.registry import find
    from classify.run import Run, check_stage
    from classify.strategies.base import check_options

    check_stage(until)
    given |= o.given(tuned=tuned or None)
    asked |= o.given(llm=llm, base_url=base_url)
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
        if base_url is not None and about["options"].get("base_url"):
            given["base_url"] = base_url
        own = own_options(model, about, given, trust=trust)
        columns, given = Schema.from_dict(about["schema"]), {**own, **given}
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
    folder = run or _new_folder(f"{strategy}-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    execute(folder, lambda: Run.start(folder, job, progress=progress(), trust=trust), until=until)


def _new_folder(name: str) -> Path:
    """Return a folder under ``runs`` that is not there: two runs may begin within a second."""
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(place for place in map(Path("runs").joinpath, names) if not place.exists())


def _is_openai(strategy: str | None, preset: str | None) -> bool:
    from classify.presets import load_preset

    return (strategy or (preset and load_preset(preset).strategy)) == "openai"
