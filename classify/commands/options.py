"""The options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catalog.errors import ShelfmarkError, nearest

if TYPE_CHECKING:
    from catalog.schema import Schema
    from catalog.taxonomy import Taxonomy

TrainOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Labelled products: NAME.features with NAME.labels beside it, a folder, or CSV, JSONL, Parquet. "
        "May be given more than once."
    ),
]
SchemaOption = Annotated[str, typer.Option(help="Which columns to read: indoml, esci, relevance, or a TOML file.")]
StrategyOption = Annotated[
    str | None, typer.Option(help="How a product becomes a label path: rag (default), tree, lora or openai.")
]
PresetOption = Annotated[
    str | None,
    typer.Option(help="Settings by name: rag-llama31, lora-llama3-8b, openai-4o-mini ... Other options go before it."),
]
SeedOption = Annotated[int, typer.Option(min=0, help="The same input, options and seed give the same bytes.")]
UntilOption = Annotated[str, typer.Option(help="The last stage: requests, completions, predictions or report.")]
PriceOption = Annotated[
    float | None, typer.Option(min=0, help="Dollars an hour of the machine that answers: the table shows the cost.")
]

# Of strategies.
EncoderOption = Annotated[
    str | None, typer.Option(help="ngram (default), mpnet, minilm, any sentence-transformers name, or hybrid:NAME.")
]
TopKOption = Annotated[
    str | None,
    typer.Option(
        help="Similar products that vote and are shown (default 5); 0: zero-shot; 1,3,5,10: compare, take best."
    ),
]
FilterOption = Annotated[str | None, typer.Option(help="What is searched: retailer, prefer, none, or auto (default).")]
BandOption = Annotated[float | None, typer.Option(help="Prefer prices within this factor; by default a soft weight.")]
IgnorePriceOption = Annotated[
    bool | None, typer.Option("--ignore-price", help="Neither prefer like prices nor show any.")
]
RerankOption = Annotated[str | None, typer.Option(help="A cross-encoder that puts similar products in a new order.")]
CleanOption = Annotated[
    bool | None, typer.Option("--clean-text", help="Leave numbers and one-letter words out of descriptions.")
]
SourcesOption = Annotated[
    str | None, typer.Option(help="Where candidates come from: neighbours (default), tree, or neighbours,tree.")
]
CandidatesOption = Annotated[int | None, typer.Option(help="Candidates in a request at most (default 20).")]
PromptOption = Annotated[str | None, typer.Option(help="A Jinja template of your own; copy rag/product.jinja.")]
PromptTokensOption = Annotated[
    int | None, typer.Option(help="Tokens of a request at most (default 2000): the least similar products go first.")
]
TokenizerOption = Annotated[
    str | None, typer.Option(help="The model whose tokenizer counts them; by default an estimate from above.")
]
_WEB = "What the web says of products, a file of classify context (rag, lora, openai)."
ContextOption = Annotated[Path | None, typer.Option(help=_WEB)]
ContextTokensOption = Annotated[
    int | None, typer.Option(min=1, help="Tokens of it that are shown with a product, at most (default 150).")
]
AskByOption = Annotated[str | None, typer.Option(help="Ask for the whole path (default), or level by level: level.")]
BelowOption = Annotated[
    float | None,
    typer.Option(help="Ask only about products of which tree is less sure; tree's answer stands for others."),
]
CalibrateOption = Annotated[
    int | None,
    typer.Option(
        help="Held-out rows to ask about, to learn how far to trust the LLM (default 500, lora and openai 200; "
        "0: all the way)."
    ),
]
PolicyOption = Annotated[
    str | None,
    typer.Option(help="path: whole paths seen in training (default of rag); or brand-free (default of tree)."),
]
TopNOption = Annotated[int | None, typer.Option(help="Tell up to so many paths with their probabilities (tree).")]
AbstainOption = Annotated[
    float | None, typer.Option(help="Leave levels empty whose probability is lower, for a person to fill in (tree).")
]

# Of fine-tunes.
RecipeOption = Annotated[
    str | None, typer.Option(help="The recipe: lora-llama3-8b (default), lora-small, ... or a TOML file (lora).")
]
BaseOption = Annotated[
    str | None,
    typer.Option(help="The model to fine-tune: a folder or a Hugging Face name (lora), or a provider's name (openai)."),
]
BackendOption = Annotated[
    str | None,
    typer.Option(help="What trains: unsloth (on a GPU), trl, or auto (default): unsloth where it can (lora)."),
]
WholeSetOption = Annotated[bool | None, typer.Option("--whole-set", help="Learn from every row (lora).")]
GroupedOption = Annotated[
    bool | None, typer.Option("--grouped", help="Leave out near-duplicates of a retailer first (lora).")
]
ValidationOption = Annotated[
    int | None, typer.Option(help="Rows held out, to measure on while training (lora, openai, default 500).")
]
SequenceOption = Annotated[
    int | None, typer.Option(help="Tokens of a row at most, label included (lora, default 512).")
]
FourBitOption = Annotated[
    bool | None, typer.Option("--load-in-4bit/--no-4bit", help="Hold the base in 4 bits (lora, default).")
]
RankOption = Annotated[int | None, typer.Option(help="Of the adapters (lora, default 16).")]
AlphaOption = Annotated[int | None, typer.Option(help="Scales the adapters: alpha / rank (lora, default 16).")]
TrainBatchOption = Annotated[
    int | None, typer.Option(help="Rows at once on a card (lora, default 16), or a step (openai).")
]
AccumulationOption = Annotated[int | None, typer.Option(help="Batches that make a step (lora, default 4).")]
LearningRateOption = Annotated[float | None, typer.Option(help="Of the optimizer (lora, default 2e-4).")]
EvaluateOption = Annotated[
    int | None, typer.Option(help="Steps between evaluations, and between checkpoints (lora, default 200).")
]
PatienceOption = Annotated[
    int | None, typer.Option(help="Stop after so many evaluations without a better one (lora, default: never).")
]
SampleOption = Annotated[
    int | None, typer.Option(help="Rows to learn from, stratified on the label path (lora, openai).")
]
EpochsOption = Annotated[float | None, typer.Option(help="Passes over the rows (lora; openai: whole ones, default 2).")]
ServeOption = Annotated[
    str | None, typer.Option(help="What answers: merged (default), or adapter, beside its base (lora).")
]
AccelerateOption = Annotated[
    str | None, typer.Option(help="accelerate's YAML or DeepSpeed's JSON, to train on several GPUs (lora).")
]
ReportToOption = Annotated[
    str | None, typer.Option(help="Send the curves to wandb or tensorboard, or none (default) (lora).")
]

PushOption = Annotated[
    str | None, typer.Option(help="Put the model on the Hugging Face hub, private, under this name (lora).")
]

# Of a provider's fine-tunes.
TrainingTokensOption = Annotated[
    int | None,
    typer.Option(help="Tokens of the training file at most; the sample is made smaller (openai, default 2,000,000)."),
]
StopOption = Annotated[
    str | None, typer.Option(help="What answers end with and are cut at, such as | (openai, server, batch).")
]
MultiplierOption = Annotated[
    float | None, typer.Option(help="Of the provider's learning rate; by default its choice (openai).")
]
SuffixOption = Annotated[str | None, typer.Option(help="A part of the tuned model's name (openai, default shelfmark).")]
JobOption = Annotated[
    str | None, typer.Option(help="A fine-tuning job that was made before, ftjob-..., in place of a new one (openai).")
]
CostOption = Annotated[
    float | None, typer.Option(min=0, help="Dollars that a provider may be paid at most; refused before, not stopped.")
]
PricesOption = Annotated[Path | None, typer.Option(help="A TOML file of prices that goes before those that are known.")]

# Of engines.
EngineOption = Annotated[
    str | None, typer.Option(help="What answers: neighbours (default, no LLM), vllm, server, batch or transformers.")
]
LlmOption = Annotated[
    str | None, typer.Option(help="The LLM: a folder, a Hugging Face name, or a server's name for it.")
]
TemperatureOption = Annotated[float | None, typer.Option(help="0 (default) takes the likeliest answer.")]
MaxTokensOption = Annotated[int | None, typer.Option(help="Tokens of an answer at most (default 128).")]
ConstrainOption = Annotated[
    str | None, typer.Option(help="Answers are candidates: choice (default), json, or off for free text.")
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        help="Of an OpenAI-compatible API, by default OPENAI_BASE_URL or http://localhost:8000/v1 (server, openai)."
    ),
]
ConcurrencyOption = Annotated[int | None, typer.Option(help="Requests at once (server, default 64).")]
TimeoutOption = Annotated[float | None, typer.Option(help="Seconds for one request (server, default 120).")]
RetriesOption = Annotated[int | None, typer.Option(help="Tries after the first (server, default 6).")]
BatchOption = Annotated[int | None, typer.Option(help="Requests at once (transformers, default 8).")]
ParallelOption = Annotated[int | None, typer.Option(help="GPUs that share the model (vllm, default 1).")]
QuantizationOption = Annotated[
    str | None, typer.Option(help="4bit (vllm, transformers), 8bit, or a name that vLLM knows (vllm).")
]
AdapterOption = Annotated[
    str | None, typer.Option(help="A folder with a LoRA adapter of the model that --llm names (vllm, transformers).")
]
TierOption = Annotated[
    int | None,
    typer.Option(help="The account's usage tier: how much may wait at once (batch; by default found out)."),
]
EnqueuedOption = Annotated[int | None, typer.Option(help="Tokens that may wait at once, in place of a tier's (batch).")]
PollOption = Annotated[
    float | None, typer.Option(help="Seconds between two looks at batches, at most (batch, default 60).")
]
LengthOption = Annotated[int | None, typer.Option(help="Tokens of request and answer at most (vllm).")]
MemoryOption = Annotated[float | None, typer.Option(help="Share of the GPU's memory to use (vllm, default 0.9).")]
DtypeOption = Annotated[str | None, typer.Option(help="Of the weights: auto (default), float32, bfloat16 or float16.")]
DeviceOption = Annotated[str | None, typer.Option(help="auto (default), cpu, cuda or another name (transformers).")]


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
    from catalog.taxonomy import POLICIES

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
