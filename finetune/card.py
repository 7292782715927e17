"""The model card: what a fine-tune learned from, how, how well, and how to use it."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from catalog.errors import ShelfmarkError
from catalog.files import atomic_write
from catalog.foreign import json_line, one_line
from catalog.products import Products
from finetune.examples import Selection, answer, prompts
from finetune.fitted import Fitted, is_hub_name, public_name

TEMPLATE = Path(__file__).with_name("card.md.jinja")
UNKNOWN = "unknown: see the base's page"
# What the card tells of a recipe, in its order; what is shown of the data has a place of its own.
FIGURES = (
    *("epochs", "batch_size", "gradient_accumulation", "max_seq_length", "learning_rate", "schedule", "warmup_steps"),
    *("optimizer", "weight_decay", "rank", "alpha", "dropout", "projections", "load_in_4bit", "precision"),
    *("merged_precision", "gradient_checkpointing", "evaluate_every", "patience", "train_seed"),
)
_KEY = re.compile(r"^(license|license_name|license_link):[ \t]*(.*?)[ \t]*$", re.MULTILINE)
# A path has a root and at least two parts, or is a name below one: "/data/base", "C:\\data\\base", "~/base".
_PATH = re.compile(r"(?<![\w:/.~\\])(?:~|[A-Za-z]:|\.{1,2})?[/\\](?:[^\s/\\]+[/\\])*[^\s/\\]*[^\s/\\.,;:)]")
_SIGNS = re.compile(r"[\\|`\[\]]")  # of links, pictures, code and cells


@dataclass(frozen=True)
class Licence:
    """What is known of the base's licence.

    Attributes
    ----------
    id : str or None
        As the hub calls it (``apache-2.0``, ``llama3``, ``other``), or None where it is not known.
    name, link : str or None
        Of a licence that the hub has no name for.
    """

    id: str | None = None
    name: str | None = None
    link: str | None = None

    def __str__(self) -> str:
        """Return what a person is told."""
        if self.id is None:
            return UNKNOWN
        named = f"{self.id} ({self.name})" if self.name else self.id
        return f"{named}, {self.link}" if self.link else named


def write_card(folder: str | Path, name: str | None = None) -> Path:
    """Write a model's card, ``README.md``, into its folder, and return the file.

    Parameters
    ----------
    folder : str or Path
        A fitted LoRA model.
    name : str, optional
        What the model is called: its name on the hub, or the folder's where it is None.

    Raises
    ------
    ShelfmarkError
        As `card`.
    """
    place = Path(folder) / "README.md"
    text = card(folder, name)
    with atomic_write(place) as stream:
        stream.write(text)
    return place


def card(folder: str | Path, name: str | None = None) -> str:
    """Return a model's card: Markdown with the metadata that the Hugging Face hub reads.

    It holds no row of the data, and of paths on this machine their last part alone.

    Raises
    ------
    ShelfmarkError
        When the folder is no LoRA model, or a damaged one.
    """
    fitted = Fitted.read(folder)
    options, schema = fitted.options, fitted.schema
    selection = Selection(None, bool(options.get("grouped")), *(bool(options.get(key)) for key in _SHOWN))
    # A product that nobody sells, in the form that the model learned.
    made_up = Products([0], {column: ["semi skim mlk 2l"] for column in schema.text}, ["a shop"], np.array([1.5]))
    hidden = [schema.price] if options.get("ignore_price") else []
    values = {
        "name": name or Path(folder).resolve().name,
        "on_hub": name is not None,
        "base": fitted.shown_base,
        "base_model": fitted.base_on_hub,
        "licence": licence_of(fitted.base),
        "training": {**_ABSENT, **fitted.training},
        "schema": schema,
        "shown": [column for column in schema.inputs if column not in hidden],
        "options": options,
        "recipe": public_name(str(options.get("recipe") or "")),
        "figures": figures(options),
        "question": prompts(made_up, schema, selection)[0][0]["content"],
        "answer": answer(tuple("..." for _ in schema.levels), schema),
        # A path with blanks in it cannot be told from the words around it; the base's is known.
        "notes": [without_paths(note.replace(fitted.base, fitted.shown_base)) for note in fitted.notes],
    }
    # Markdown, not HTML: `_markdown` escapes each value. The template is the package's own.
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(yaml=json_line, cell=_markdown, code=_code, python=repr)
    try:
        return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(values)
    except jinja2.UndefinedError as error:
        raise ShelfmarkError(f"{folder}: damaged ({error}); fit the model again") from None


def figures(options: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a recipe that people are told, by their names in plain words."""
    told = {key.replace("_", " "): options[key] for key in FIGURES if key in options}
    return {key: str(value) if key == "train seed" else value for key, value in told.items()}  # a name, not an amount


_SHOWN = ("clean_text", "ignore_price")
_ABSENT: dict[str, Any] = {"best": None, "merge": None, "lengths": None, "stopped_early": False, "versions": {}}


def licence_of(base: str) -> Licence:
    """Return the licence of a base model: from its folder, or from the hub where that can be reached.

    A licence that cannot be found is no error: the card then says so.
    """
    if not is_hub_name(base):
        return _licence_in(Path(base))
    if importlib.util.find_spec("huggingface_hub") is None:
        return Licence()
    import huggingface_hub

    try:
        about = huggingface_hub.HfApi().model_info(base, timeout=10).card_data
        known = {key: (about or {}).get(key) for key in ("license", "license_name", "license_link")}
    except Exception:  # offline, unknown, gated: the library and its transport raise many kinds
        return Licence()
    return Licence(*(value if isinstance(value, str) else None for value in known.values()))


def _licence_in(folder: Path) -> Licence:
    """Read a folder's model card, or its configuration."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
        matter = text.split("---", 2)[1] if text.startswith("---") else ""
        found = {key: value.strip("\"'") for key, value in _KEY.findall(matter)}
        if found.get("license"):
            return Licence(found["license"], found.get("license_name"), found.get("license_link"))
    except OSError:
        pass
    try:
        said = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("license")
    except (OSError, ValueError, AttributeError):
        return Licence()
    return Licence(said if isinstance(said, str) else None)


def without_paths(text: str) -> str:
    """Return a text with the last part of each path in place of the path."""
    return _PATH.sub(lambda found: public_name(found.group()), text)


def cell(value: Any) -> str:
    """Return a value as text for a cell of a table: one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(cell, value))
    shown = f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
    return " ".join(one_line(shown).split())


def _markdown(value: Any) -> str:
    """Return a cell as Markdown that is nothing but its text: no tag, no link, no picture, no further cell."""
    return _SIGNS.sub(r"\\\g<0>", cell(value)).replace("<", "&lt;")


def _code(text: str) -> str:
    """Return a text as a span of code, whose ends are not in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    return f"`{text}`" if not longest else f"{'`' * (longest + 1)} {text} {'`' * (longest + 1)}"
