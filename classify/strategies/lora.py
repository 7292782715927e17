"""lora: an open model, fine-tuned to answer a product as JSON with its label as JSON."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from catalog.arrays import FIT_AGAIN, damaged
from catalog.errors import ShelfmarkError
from catalog.files import read_json, read_json_as, write_json
from catalog.messages import LabelPath, Request, request_id
from catalog.products import Products
from catalog.schema import Schema
from catalog.taxonomy import Taxonomy
from classify.engines.forms import Writing
from classify.finetuning import READING, path_reader, train_apart
from classify.progress import Progress
from classify.strategies.base import Options, check_fitted
from finetune.architecture import is_quantized
from finetune.backends import choose_backend
from finetune.checks import check_before, check_tracker
from finetune.examples import choose_rows, examples, hold_out, prompts
from finetune.job import TrainingJob, begin, locked, read_validation
from finetune.recipe import Recipe, load_recipe

COMPARED = 200
"""Held-out rows that the merged model and the adapter are both asked about."""


class LoraOptions(Recipe, Options):
    """What a user chooses of ``lora``: the figures of a recipe, and how the model is trained and served.

    Attributes
    ----------
    recipe : str
        The recipe's name, or a TOML file of figures; other options go before it.
    backend : {'auto', 'unsloth', 'trl'}
        What trains: ``auto`` is unsloth where it is installed and there is a GPU, else trl.
    accelerate_config : str
        A configuration of accelerate's (YAML) or DeepSpeed's (JSON), to train on several GPUs.
    report_to : {'none', 'tensorboard', 'wandb'}
        Where the curves are sent while training.
    serve : {'merged', 'adapter'}
        What answers: the merged model, or the base with the adapter beside it.
    calibrate : int
        Held-out rows that are asked about, too, to learn how far to trust the answers' probabilities.
    """

    recipe: str = "lora-llama3-8b"
    backend: Literal["auto", "unsloth", "trl"] = "auto"
    accelerate_config: str = ""
    report_to: Literal["none", "tensorboard", "wandb"] = "none"
    serve: Literal["merged", "adapter"] = "merged"
    calibrate: int = Field(default=200, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _figures(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Put the recipe's figures under those that were given; a fitted model's are all given."""
        if Recipe.model_fields.keys() <= values.keys():
            return values
        changes = {name: value for name, value in values.items() if name in Recipe.model_fields}
        figures = load_recipe(values.get("recipe", cls.model_fields["recipe"].default), **changes).model_dump()
        if Path(figures["base"]).is_dir():  # from another working directory it is to be the same one
            figures["base"] = str(Path(figures["base"]).resolve())
        return {**values, **figures}

    @property
    def figures(self) -> Recipe:
        """The recipe alone."""
        return Recipe(**{name: getattr(self, name) for name in Recipe.model_fields})


FREE = {"policy", "serve", "calibrate", "backend", "accelerate_config", "report_to"}
"""Options that may be others than those of the fit: a fitted model stands by the others."""


class LoraStrategy:
    """A fine-tuned language model."""

    name = "lora"
    options_class = LoraOptions
    answers_as: ClassVar[Writing] = "json"
    learns_context: ClassVar[bool] = True
    llm_engines: ClassVar[tuple[str, ...]] = ("vllm", "transformers")

    def __init__(
        self, folder: Path, schema: Schema, taxonomy: Taxonomy, options: LoraOptions, about: dict[str, Any]
    ) -> None:
        self.folder, self.schema, self.taxonomy, self.options = folder, schema, taxonomy, options
        self.about = about

    @classmethod
    def fit(
        cls,
        train: Products,
        schema: Schema,
        options: LoraOptions,
        *,
        seed: int,
        progress: Progress,
        work: Path | None = None,
    ) -> LoraStrategy:
        """Fine-tune, merge, and see that the merged model answers as the adapter did.

        Raises
        ------
        ShelfmarkError
            When the machine, the base, the rows or an option will not do.
        """
        backend = choose_backend(options.backend)
        check_tracker(options.report_to)
        config = options.accelerate_config
        if config and not Path(config).is_file():
            raise ShelfmarkError(f"--accelerate-config {config}: no such file; accelerate config writes one")
        folder = Path(tempfile.mkdtemp(prefix="shelfmark-")) if work is None else work
        with locked(folder):
            return cls._fit(train, schema, options, backend, seed, progress, folder)

    @classmethod
    def _fit(
        cls,
        train: Products,
        schema: Schema,
        options: LoraOptions,
        backend: str,
        seed: int,
        progress: Progress,
        folder: Path,
    ) -> LoraStrategy:
        recipe = options.figures
        labels = train.require_labels()
        taxonomy = Taxonomy.from_labels(labels, schema.levels)
        rest, held = hold_out(len(train), recipe.validation, seed=seed)
        known = train.take(rest)
        learned = known.take(choose_rows(known, recipe.selection, seed=seed))
        held_out = train.take(held)
        job = begin(
            folder,
            recipe,
            backend,
            examples(learned, schema, recipe.selection),
            list(zip(examples(held_out, schema, recipe.selection), held_out.require_labels(), strict=True)),
            report_to=options.report_to,
        )
        taxonomy.write(folder / "taxonomy.csv")
        write_json(folder / READING, {"schema": schema.to_dict(), "policy": options.policy})
        if not job.done:
            check_before(job)
            train_apart(folder, accelerate_config=options.accelerate_config, progress=progress)
        about = read_json(folder / "training.json")
        about |= {"label_paths": len(taxonomy), "all_rows": len(train)}
        if options.serve == "merged":
            _merge(job, about, path_reader(taxonomy, options.policy))
        write_json(folder / "training.json", about)
        return cls(folder, schema, taxonomy, options, about)

    def save(self, folder: Path) -> None:
        """Write the adapters, the merged model, and what is known of the training."""
        for name in ("adapter", "last"):
            shutil.copytree(self.folder / name, folder / name)
        for name in ("taxonomy.csv", "validation.jsonl", "training.json"):
            shutil.copyfile(self.folder / name, folder / name)
        if (self.folder / "merged").is_dir():
            # Last, and moved: it is as large as the base, and whatever ends before this can be done again.
            shutil.move(self.folder / "merged", folder / "merged")

    @classmethod
    def load(cls, folder: Path, schema: Schema, options: LoraOptions, *, seed: int) -> LoraStrategy:
        """Read what `save` wrote.

        Raises
        ------
        ShelfmarkError
            When an option is wanted that is fixed by the fit.
        """
        del seed
        check_fitted(options, read_json(folder / "model.json")["options"], FREE)
        taxonomy = Taxonomy.read(folder / "taxonomy.csv", schema)
        file = folder / "training.json"
        about = read_json_as(dict[str, Any], file, FIT_AGAIN)
        if not isinstance(about.get("most_answer_tokens"), int) or about["most_answer_tokens"] < 1:
            raise damaged(file, "most_answer_tokens")
        return cls(folder, schema, taxonomy, options, about)

    @classmethod
    def engine_defaults(cls) -> dict[str, Any]:
        """Return what engines are told where the user says nothing."""
        return {"llm": "", "max_tokens": None}

    @property
    def answer_tokens(self) -> int:
        """The most tokens of an answer."""
        return int(self.about["most_answer_tokens"])

    def requests(self, products: Products) -> list[Request]:
        """Return each product as JSON, as the model learned it."""
        asked = prompts(products, self.schema, self.options.figures.selection)
        return [
            Request(request_id(row, turns), turns, max_tokens=self.answer_tokens)
            for row, turns in zip(products.ids, asked, strict=True)
        ]

    def held_out_requests(self, count: int) -> list[tuple[Request, LabelPath]]:
        """Return requests for rows that the model was not trained on, and their labels."""
        held = read_validation(self.folder / "validation.jsonl")[:count]
        return [
            (Request(request_id(f"held-{at}", turns), turns, max_tokens=self.answer_tokens), label)
            for at, (turns, label) in enumerate(held)
        ]

    @classmethod
    def own_llm(cls, folder: Path, engine: str, options: LoraOptions) -> dict[str, Any]:
        """Return the options by which an engine answers with the model in `folder`.

        Raises
        ------
        ShelfmarkError
            When it was not merged, and the merged model is asked for.
        """
        del engine
        if options.serve == "merged":
            if not (folder / "merged").is_dir():
                raise ShelfmarkError(f"{folder}: it was not merged; take --serve adapter")
            return {"llm": str(folder / "merged")}
        # Over the base as it was trained on: in 4 bits, where it was not stored so.
        packed = options.load_in_4bit and not is_quantized(options.base)
        return {
            "llm": options.base,
            "adapter": str(folder / "adapter"),
            "quantization": "4bit" if packed else "none",
        }


def _merge(job: TrainingJob, about: dict[str, Any], read: Any) -> None:
    """Merge and compare, where that is not done; `about` and ``training.json`` tell of it."""
    from finetune.merge import compare, merge

    merged = job.folder / "merged"
    if "merge" not in about or not merged.is_dir():
        partial = job.folder / "merged.partial"
        shutil.rmtree(partial, ignore_errors=True)
        merge(job.recipe, job.adapter, partial)
        shutil.rmtree(merged, ignore_errors=True)
        partial.replace(merged)
        asked = [turns for turns, _ in job.validation()][:COMPARED]
        about["merge"] = compare(job.recipe, job.adapter, merged, asked, about["most_answer_tokens"], read)
        if about["merge"] is None:
            about["notes"].append("whether the merged model answers as the adapter did is not known: too little memory")
