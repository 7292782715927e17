"""The options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catalog.errors import ShelfmarkError, nearest
from catalog.schema import POLICIES
from classify.commands.parameters import ENGINE, HOW, MONEY, PROGRAM, Option, completing, group
from classify.names import ENCODERS, ENGINES, PRESETS, RECIPES, STAGES, STRATEGIES, runs, tables

if TYPE_CHECKING:
    from catalog.schema import Schema
    from catalog.taxonomy import Taxonomy

RunArgument = Annotated[Path, typer.Argument(help="The run directory.", autocompletion=completing(runs))]
TrainOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Labelled products: NAME.features with NAME.labels beside it, a folder, or CSV, JSONL, Parquet. "
        "May be given more than once."
    ),
]
SchemaOption = Annotated[
    str,
    typer.Option(
        help="Which columns to read: indoml, esci, relevance, or a TOML file.",
        autocompletion=completing(("indoml", "esci", "relevance")),
    ),
]
StrategyOption = Annotated[
    str | None,
    typer.Option(
        help="How a product becomes a label path: rag (default), tree, lora or openai.",
        rich_help_panel=HOW,
        autocompletion=completing(STRATEGIES),
    ),
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        help="Settings by name: rag-llama31, lora-llama3-8b, openai-4o-mini ... Other options go before it.",
        rich_help_panel=HOW,
        autocompletion=completing(lambda: tables(PRESETS)),
    ),
]
SeedOption = Annotated[
    int, typer.Option(min=0, help="The same input, options and seed give the same bytes.", rich_help_panel=HOW)
]
UntilOption = Annotated[
    str,
    typer.Option(
        help="The last stage: requests, completions, predictions or report.", autocompletion=completing(STAGES)
    ),
]
ValidOption = Annotated[
    str, typer.Option(help="What is valid: path or brand-free.", autocompletion=completing(POLICIES))
]
ContextOption = Annotated[
    Path | None,
    typer.Option(
        help="What the web says of products, a file of classify context (rag, lora, openai).", rich_help_panel=HOW
    ),
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        help="What answers: neighbours (default, no LLM), vllm, server, batch or transformers.",
        rich_help_panel=ENGINE,
        autocompletion=completing(ENGINES),
    ),
]
LlmOption = Annotated[
    str | None,
    typer.Option(help="The LLM: a folder, a Hugging Face name, or a server's name for it.", rich_help_panel=ENGINE),
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        help="Of an OpenAI-compatible API, by default OPENAI_BASE_URL or http://localhost:8000/v1 (server, openai).",
        rich_help_panel=ENGINE,
    ),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Take the prompt template of a model or run from somebody else, and the files that it names here.",
        rich_help_panel=PROGRAM,
    ),
]
StopOption = Annotated[
    str | None,
    typer.Option(
        help="What answers end with and are cut at, such as | (openai, server, batch).", rich_help_panel=ENGINE
    ),
]
PriceOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Dollars an hour of the machine that answers: the table shows the cost.",
        rich_help_panel=MONEY,
    ),
]
CostOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Dollars that a provider may be paid at most; refused before, not stopped.",
        rich_help_panel=MONEY,
    ),
]
PricesOption = Annotated[
    Path | None,
    typer.Option(help="A TOML file of prices that goes before those that are known.", rich_help_panel=MONEY),
]
PushOption = Annotated[
    str | None,
    typer.Option(help="Put the model on the Hugging Face hub, private, under this name.", rich_help_panel="lora"),
]

# Of strategies.
COMMON = group(
    HOW,
    policy=Option(
        str, "path: whole paths seen in training (default of rag); or brand-free (default of tree).", names=POLICIES
    ),
    encoder=Option(
        str, "ngram (default), mpnet, minilm, any sentence-transformers name, or hybrid:NAME.", names=ENCODERS
    ),
    ignore_price=Option(bool, "Neither prefer like prices nor show any.", flags=("--ignore-price",)),
    clean_text=Option(bool, "Leave numbers and one-letter words out of descriptions.", flags=("--clean-text",)),
    context_tokens=Option(
        int, "Tokens of --context that are shown with a product, at most (default 150).", more={"min": 1}
    ),
)
"""What every strategy knows, or most do."""
RAG = group(
    "rag",
    top_k=Option(
        str, "Similar products that vote and are shown (default 5); 0: zero-shot; 1,3,5,10: compare, take best."
    ),
    filter=Option(
        str,
        "What is searched: retailer, prefer, none, or auto (default).",
        names=("auto", "retailer", "prefer", "none"),
    ),
    price_band=Option(float, "Prefer prices within this factor; by default a soft weight."),
    candidates_from=Option(
        str,
        "Where candidates come from: neighbours (default), tree, or neighbours,tree.",
        names=("neighbours", "tree", "neighbours,tree"),
    ),
    llm_below=Option(float, "Ask only about products of which tree is less sure; tree's answer stands for others."),
)
"""Fixed when the model is fitted, or tuned then."""
PROMPTS = group(
    "rag",
    rerank=Option(str, "A cross-encoder that puts similar products in a new order."),
    candidates=Option(int, "Candidates in a request at most (default 20)."),
    prompt=Option(str, "A Jinja template of your own; copy rag/product.jinja."),
    max_prompt_tokens=Option(int, "Tokens of a request at most (default 2000): the least similar products go first."),
    tokenizer=Option(str, "The model whose tokenizer counts them; by default an estimate on the high side."),
    ask_by=Option(str, "Ask for the whole path (default), or level by level: level.", names=("path", "level")),
    calibrate=Option(
        int,
        "Held-out rows to ask about, to learn how far to trust the LLM (default 500, lora and openai 200; "
        "0: all the way).",
    ),
)
"""How a model is asked."""
TREE = group(
    "tree",
    top_n=Option(int, "Tell up to so many paths with their probabilities."),
    abstain_below=Option(float, "Leave levels empty whose probability is lower, for a person to fill in."),
)

# Of fine-tunes.
LORA = group(
    "lora",
    recipe=Option(
        str,
        "The recipe: lora-llama3-8b (default), lora-small, ... or a TOML file.",
        names=lambda: tables(RECIPES),
    ),
    base=Option(str, "The model to fine-tune: a folder or a Hugging Face name (lora), or a provider's name (openai)."),
    backend=Option(
        str,
        "What trains: unsloth (on a GPU), trl, or auto (default): unsloth where it can.",
        names=("auto", "unsloth", "trl"),
    ),
    sample=Option(int, "Rows to learn from, stratified on the label path (lora, openai)."),
    epochs=Option(float, "Passes over the rows (lora; openai: whole ones, default 2)."),
    serve=Option(str, "What answers: merged (default), or adapter, beside its base.", names=("merged", "adapter")),
    accelerate_config=Option(str, "accelerate's YAML or DeepSpeed's JSON, to train on several GPUs."),
    report_to=Option(
        str,
        "Send the curves to wandb or tensorboard, or none (default).",
        names=("none", "tensorboard", "wandb"),
    ),
)
TRAINING = group(
    "lora",
    whole_set=Option(bool, "Learn from every row.", flags=("--whole-set",)),
    grouped=Option(bool, "Leave out near-duplicates of a retailer first.", flags=("--grouped",)),
    validation=Option(int, "Rows held out, to measure on while training (lora, openai, default 500)."),
    max_seq_length=Option(int, "Tokens of a row at most, label included (default 512)."),
    load_in_4bit=Option(bool, "Hold the base in 4 bits (default).", flags=("--load-in-4bit/--no-4bit",)),
    rank=Option(int, "Of the adapters (default 16)."),
    alpha=Option(int, "Scales the adapters: alpha / rank (default 16)."),
    batch_size=Option(int, "Rows at once on a card (lora, default 16), or a step (openai)."),
    gradient_accumulation=Option(int, "Batches that make a step (default 4)."),
    learning_rate=Option(float, "Of the optimizer (default 2e-4)."),
    evaluate_every=Option(int, "Steps between evaluations, and between checkpoints (default 200)."),
    patience=Option(int, "Stop after so many evaluations without a better one (default: never)."),
)
"""What a fit alone is told."""
OPENAI = group(
    "openai",
    max_training_tokens=Option(
        int, "Tokens of the training file at most; the sample is made smaller (default 2,000,000)."
    ),
)
TUNING = group(
    "openai",
    learning_rate_multiplier=Option(float, "Of the provider's learning rate; by default its choice."),
    suffix=Option(str, "A part of the tuned model's name (default shelfmark)."),
    job=Option(str, "A fine-tuning job that was made before, ftjob-..., in place of a new one."),
)
"""What a fit alone is told."""

# Of engines.
ANSWERS = group(
    ENGINE,
    constrain=Option(
        str, "Answers are candidates: choice (default), json, or off for free text.", names=("choice", "json", "off")
    ),
    temperature=Option(float, "0 (default) takes the likeliest answer."),
    max_tokens=Option(int, "Tokens of an answer at most (default 128)."),
)
"""What an answer may be."""
ANSWERING = group(
    ENGINE,
    concurrency=Option(int, "Requests at once (server, default 64)."),
    timeout=Option(float, "Seconds for one request (server and batch, default 120)."),
    retries=Option(int, "Tries after the first (server, default 6; batch, default 3)."),
    batch_size=Option(int, "Requests at once (transformers, default 8)."),
    tensor_parallel=Option(int, "GPUs that share the model (vllm, default 1)."),
    quantization=Option(
        str, "4bit (vllm, transformers), 8bit, or a name that vLLM knows (vllm).", names=("4bit", "8bit", "none")
    ),
    adapter=Option(str, "A folder with a LoRA adapter of the model that --llm names (vllm, transformers)."),
    max_model_len=Option(int, "Tokens of request and answer at most (vllm)."),
    gpu_memory=Option(float, "Share of the GPU's memory to use (vllm, default 0.9)."),
    dtype=Option(
        str,
        "Of the weights: auto (default), float32, bfloat16 or float16.",
        names=("auto", "float32", "bfloat16", "float16"),
    ),
    device=Option(str, "auto (default), cpu, cuda or another name (transformers).", names=("auto", "cpu", "cuda")),
    tier=Option(int, "The account's usage tier: how much may wait at once (batch; by default found out)."),
    max_enqueued_tokens=Option(int, "Tokens that may wait at once, in place of a tier's (batch)."),
    poll=Option(float, "Seconds between two looks at batches, at most (batch, default 60)."),
)


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def policy(name: str) -> Any:
    """Return a policy's name, checked.

    Raises
    ------
    ShelfmarkError
        When there is none of that name.
    """
    if name not in POLICIES:
        raise ShelfmarkError(f"--policy {name}: unknown{nearest(name, POLICIES)}; there are: {', '.join(POLICIES)}")
    return name


def read_taxonomy(schema: Schema, train: list[Path] | None, taxonomy: Path | None) -> Taxonomy | None:
    """Read the valid label paths of labelled products or of a taxonomy's file; None where neither is given.

    Raises
    ------
    ShelfmarkError
        When both are given, or a file is wrong.
    """
    from catalog.products import join_products, read_products
    from catalog.taxonomy import Taxonomy

    if taxonomy is not None:
        if train:
            raise ShelfmarkError("give one of --train and --taxonomy")
        return Taxonomy.read(taxonomy, schema)
    if train:
        products = join_products([read_products(path, schema, labels=True) for path in train])
        return Taxonomy.from_labels(products.require_labels(), schema.levels, products.retailers)
    return None
