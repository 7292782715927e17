"""openai: a provider's model, fine-tuned to answer a product's inputs with its joined label path."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from catalog.errors import ShelfmarkError
from catalog.files import atomic_write, read_json, write_json
from catalog.messages import LabelPath, Request, request_id
from catalog.products import Products
from catalog.schema import SEPARATOR, Schema
from catalog.taxonomy import Taxonomy
from classify import console
from classify.authority import name_all
from classify.costs import Budget, Price, load_prices
from classify.engines.forms import Writing
from classify.progress import Progress, silent
from classify.provider.client import Provider, provider_url
from classify.provider.figures import TuningFigures
from classify.provider.following import follow, loss_curve
from classify.provider.record import Record
from classify.provider.stored import read_tuning
from classify.provider.tuning import Order, attach, make_job, same_file
from classify.strategies.base import Options, check_fitted
from classify.token_counts import token_counts
from classify.training_rows import choose_within
from finetune.examples import Example, hold_out
from finetune.job import Labelled, locked, read_validation
from finetune.piped import check_stop, piped_examples, piped_prompts


class OpenaiOptions(TuningFigures, Options):
    """What a user chooses of ``openai``: the figures of a fine-tune, and what it may cost.

    Attributes
    ----------
    tuned : str
        A model that the provider has already, in place of a fine-tune: nothing is spent by the fit.
    job : str
        A fine-tuning job that was begun before, in place of a new one.
    calibrate : int
        Held-out rows that are asked about, too, to learn how far to trust the answers' probabilities.
    max_cost : float or None
        Dollars that the fine-tune may cost at most; None for no bound.
    prices : str
        A file of prices that goes before those that are known.
    base_url : str
        Of the provider's API; empty for what ``OPENAI_BASE_URL`` says, else OpenAI's.
    """

    tuned: str = ""
    job: str = ""
    calibrate: int = Field(default=200, ge=0)
    max_cost: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    prices: str = ""
    base_url: str = ""

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """What the provider is told of the training; what is not chosen is left to it."""
        given = {"batch_size": self.batch_size, "learning_rate_multiplier": self.learning_rate_multiplier}
        return {"n_epochs": self.epochs, **{name: value for name, value in given.items() if value is not None}}


FREE = {"policy", "calibrate", "job", "max_cost", "prices", "base_url"}
"""Options that may be others than those of the fit: a fitted model stands by the others."""


class OpenaiStrategy:
    """A model of a provider's.

    Parameters
    ----------
    schema : Schema
        The columns.
    taxonomy : Taxonomy
        The valid label paths.
    options : OpenaiOptions
        As chosen.
    about : dict
        What is known of the model: ``model`` is the provider's name for it, ``job`` its fine-tune.
    held_out : sequence of (turns, label path)
        Rows that it did not learn from.
    """

    name = "openai"
    options_class = OpenaiOptions
    answers_as: ClassVar[Writing] = "joined"
    learns_context: ClassVar[bool] = True
    llm_engines: ClassVar[tuple[str, ...]] = ("server", "batch")

    def __init__(
        self,
        schema: Schema,
        taxonomy: Taxonomy,
        options: OpenaiOptions,
        about: dict[str, Any],
        held_out: Sequence[Labelled] = (),
    ) -> None:
        self.schema, self.taxonomy, self.options = schema, taxonomy, options
        self.about, self._held_out = about, held_out

    @classmethod
    def fit(
        cls,
        train: Products,
        schema: Schema,
        options: OpenaiOptions,
        *,
        seed: int,
        progress: Progress,
        work: Path | None = None,
    ) -> OpenaiStrategy:
        """Have the provider fine-tune its model; or, where it has one already, learn the valid label paths alone.

        Raises
        ------
        ShelfmarkError
            When rows or options will not do, it could cost more than it may, or the provider says no.
        """
        labels = train.require_labels()
        check_stop(labels, options.stop)
        taxonomy = Taxonomy.from_labels(labels, schema.levels)
        counts = token_counts(options.tuned or options.base)
        most = max(counts.answer(SEPARATOR.join(path))[1] for path in taxonomy.paths)
        about: dict[str, Any] = {
            "all_rows": len(train),
            "label_paths": len(taxonomy),
            "most_answer_tokens": most,
        }
        if options.tuned:
            if options.job:
                raise ShelfmarkError(f"--job {options.job}: there is a model already, {options.tuned}; leave one out")
            return cls(schema, taxonomy, options, {"job": "", "model": options.tuned, **about})
        provider = Provider(options.base_url)
        name_all({"base_url": provider.url})  # it may be the environment's, which another process lacks
        rest, held = hold_out(len(train), options.validation, seed=seed)
        known, held_out = train.take(rest), train.take(held)
        rows, expected, at_most = choose_within(
            known, schema, options.selection, counts, options.max_training_tokens, seed, stop=options.stop
        )
        learned = piped_examples(known.take(rows), schema, options.selection, options.stop)
        measured = piped_examples(held_out, schema, options.selection, options.stop)
        prices = load_prices(options.prices)
        price = prices.of(options.base)
        expected, at_most = expected * options.epochs, at_most * options.epochs
        about |= {
            "rows": len(rows),
            "validation_rows": len(held),
            "tokens": {"by": counts.by, "expected": round(expected), "at_most": at_most},
            "cost": {"expected": _dollars(price, expected), "at_most": _dollars(price, at_most), "actual": None},
        }
        folder = Path(tempfile.mkdtemp(prefix="shelfmark-")) if work is None else work
        with locked(folder):
            files = {"train": folder / "train.jsonl", "validation": folder / "validation.jsonl"}
            _write_chat(files["train"], learned)
            _write_chat(files["validation"], measured)
            order = Order(options.base, options.hyperparameters, options.suffix, seed, **files)
            record = Record(folder)
            record.begin(order.wanted(provider.url), about)
            if not options.job and not record.made("job"):
                known_price = price if _dollars(price, 1) is not None else None
                budget = Budget(options.max_cost, known_price, model=f"a fine-tune of {options.base}")
                budget.check(about["cost"]["at_most"] or 0.0, "the fine-tune")
            about |= _tune(provider, record, order, options.job, progress)
        if about["trained_tokens"] is not None:
            about["cost"]["actual"] = _dollars(prices.of(about["base"]), about["trained_tokens"])
        labelled = zip((one.prompt for one in measured), held_out.require_labels(), strict=True)
        # Of a job that learned from other rows it is not known which it did not.
        return cls(schema, taxonomy, options, about, list(labelled) if about["same_rows"] else [])

    def save(self, folder: Path) -> None:
        """Write the valid label paths, the held-out rows, and what is known of the model."""
        self.taxonomy.write(folder / "taxonomy.csv")
        with atomic_write(folder / "validation.jsonl") as out:
            for prompt, label in self._held_out:
                out.write(json.dumps({"prompt": prompt, "label": label}, ensure_ascii=False) + "\n")
        write_json(folder / "tuning.json", self.about)

    @classmethod
    def load(cls, folder: Path, schema: Schema, options: OpenaiOptions, *, seed: int) -> OpenaiStrategy:
        """Read what `save` wrote.

        Raises
        ------
        ShelfmarkError
            When an option is wanted that is fixed by the fit.
        """
        del seed
        check_fitted(options, read_json(folder / "model.json")["options"], FREE)
        held_out = read_validation(folder / "validation.jsonl")
        return cls(
            schema,
            Taxonomy.read(folder / "taxonomy.csv", schema),
            options,
            read_tuning(folder / "tuning.json"),
            held_out,
        )

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the model is."""
        return {"job": self.about["job"], "llm": self.about["model"]}

    def requests(self, products: Products) -> list[Request]:
        """Return each product's inputs between bars, as the model learned them."""
        asked = piped_prompts(products, self.schema, self.options.selection)
        return [self._request(row, turns) for row, turns in zip(products.ids, asked, strict=True)]

    def held_out_requests(self, count: int) -> list[tuple[Request, LabelPath]]:
        """Return requests for rows that the model did not learn from, and their labels; none where nothing is known."""
        return [(self._request(f"held-{at}", turns), label) for at, (turns, label) in enumerate(self._held_out[:count])]

    def _request(self, row: Any, turns: list[dict[str, str]]) -> Request:
        return Request(request_id(row, turns), turns, max_tokens=int(self.about["most_answer_tokens"]))

    @classmethod
    def engine_defaults(cls) -> dict[str, Any]:
        """Return what engines are told where the user says nothing."""
        return {"llm": "", "temperature": 0.0, "max_tokens": None, "constrain": "off", "base_url": provider_url()}

    @classmethod
    def own_llm(cls, folder: Path, engine: str, options: OpenaiOptions) -> dict[str, Any]:
        """Return the options by which an engine answers with the model in `folder`."""
        del engine
        own = {"llm": read_tuning(folder / "tuning.json")["model"], "stop": options.stop}
        return {**own, "base_url": provider_url(options.base_url)} if options.base_url else own


def _dollars(price: Price | None, tokens: float) -> float | None:
    return None if price is None else price.training_dollars(tokens)


def _write_chat(path: Path, examples: Sequence[Example]) -> None:
    """Write a file of chat examples; without any there is none."""
    if not examples:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as out:
        for one in examples:
            out.write(json.dumps({"messages": [*one.prompt, *one.completion]}, ensure_ascii=False) + "\n")


def _tune(provider: Provider, record: Record, order: Order, given: str, progress: Progress) -> dict[str, Any]:
    """Have the job done, a new one or the one given, and return what there is to know of it."""

    def tell(line: str) -> None:
        if progress is not silent:
            console.tell(line)

    name = attach(provider, record, given) if given else make_job(provider, record, order)
    tell(f"{name}: a fine-tune of {order.base}; it goes on at the provider, whatever happens here")
    job = follow(provider, name, progress=progress, tell=tell, folder=str(record.file.parent))
    return {
        "job": job.id,
        "model": job.fine_tuned_model,
        "status": job.status,
        "base": job.model,
        "organization": job.organization_id,
        "url": provider.url,
        "files": {"train": job.training_file, "validation": job.validation_file, "results": job.result_files},
        "same_rows": job.training_file == record.made("train")
        or (job.training_file is not None and same_file(provider, job.training_file, order.train)),
        "hyperparameters": job.hyperparameters,
        "seed": job.seed,
        "trained_tokens": job.trained_tokens,
        "curve": loss_curve(provider, job),
    }
