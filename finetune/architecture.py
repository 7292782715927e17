"""The shape of a language model, from its config.json: how many parameters it has, and adapters on it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, nearest
from finetune.cards import CARDS

_FIGURES = ("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads", "vocab_size")


@dataclass(frozen=True)
class Architecture:
    """A decoder of Llama's kind: grouped-query attention, and a gated network after it.

    Attributes
    ----------
    hidden, layers, intermediate : int
        Width, number of layers, width of the gated network.
    heads, kv_heads, head : int
        Heads of the queries, of keys and values, and the width of one.
    vocabulary : int
        Tokens that there are.
    tied : bool
        Whether the output layer is the table of embeddings.
    """

    hidden: int
    layers: int
    intermediate: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    tied: bool

    @property
    def queries(self) -> int:
        """The width of all queries together."""
        return self.heads * self.head

    @property
    def keys(self) -> int:
        """The width of all keys together, and of all values."""
        return self.kv_heads * self.head

    def projections(self) -> dict[str, tuple[int, int]]:
        """Return the width in and out of a layer's linear maps, by the names that LoRA's targets have.

        Phi-3 holds some of them as one; these stand under their own names.
        """
        hidden, wide = self.hidden, self.intermediate
        return {
            "q_proj": (hidden, self.queries),
            "k_proj": (hidden, self.keys),
            "v_proj": (hidden, self.keys),
            "o_proj": (self.queries, hidden),
            "gate_proj": (hidden, wide),
            "up_proj": (hidden, wide),
            "down_proj": (wide, hidden),
            "qkv_proj": (hidden, self.queries + 2 * self.keys),
            "gate_up_proj": (hidden, 2 * wide),
        }

    @property
    def linear(self) -> int:
        """Parameters of the layers' linear maps: what is held in 4 bits."""
        sizes = self.projections()
        apart = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
        return self.layers * sum(sizes[name][0] * sizes[name][1] for name in apart)

    @property
    def multiplied(self) -> int:
        """Parameters that every token is multiplied by: not the embeddings, which are looked up."""
        return self.linear + self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters, but for the few of biases."""
        tables = (1 if self.tied else 2) * self.vocabulary * self.hidden
        return self.linear + tables + (2 * self.layers + 1) * self.hidden

    def adapters(self, rank: int, projections: Iterable[str]) -> int:
        """Return the parameters of LoRA adapters: rank x (in + out) for each map.

        Raises
        ------
        ShelfmarkError
            When there is no such map.
        """
        sizes, total = self.projections(), 0
        for name in projections:
            if name not in sizes:
                raise ShelfmarkError(
                    f"projections: '{name}' is unknown{nearest(name, sizes)}; there are: {', '.join(sizes)}"
                )
            total += rank * sum(sizes[name])
        return self.layers * total


def local_folder(base: str) -> Path | None:
    """Return the folder of a base that is on this machine: `base` itself, or its place in the Hugging Face cache."""
    if Path(base).is_dir():
        return Path(base)
    if find_spec("huggingface_hub") is None:
        return None
    try:
        found = import_module("huggingface_hub").try_to_load_from_cache(base, "config.json")
    except ValueError:  # no name that the hub could have
        return None
    return Path(found).parent if isinstance(found, str) else None


def is_quantized(base: str) -> bool:
    """Tell whether a base is stored in few bits: by its config.json or, where that is not at hand, by its name."""
    folder = local_folder(base)
    if folder is None:
        return "-4bit" in base or "-8bit" in base
    try:
        return "quantization_config" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def load_architecture(base: str) -> Architecture:
    """Return the shape of a base from its config.json or, where that is not at hand, of a model that is known by name.

    Parameters
    ----------
    base : str
        A folder, or a name on the Hugging Face hub. Nothing is downloaded.

    Raises
    ------
    ShelfmarkError
        When neither tells, or config.json is of another kind of model.
    """
    folder = local_folder(base)
    if folder is not None:
        return _from_file(folder / "config.json")
    bases: dict[str, dict[str, Any]] = tomllib.loads(CARDS.read_text(encoding="utf-8"))["bases"]
    name = base.rpartition("/")[2].lower()
    for part, values in bases.items():
        if part in name:
            return _from_values(values, base)
    raise ShelfmarkError(
        f"--base {base}: its shape is not known here; give a folder with its config.json, download it "
        f"(hf download {base} config.json), or take one of: {', '.join(bases)}"
    )


def _from_file(path: Path) -> Architecture:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ShelfmarkError(f"{path}: cannot be read ({error.strerror or error}); a base has a config.json") from None
    except ValueError as error:
        raise ShelfmarkError(f"{path}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise ShelfmarkError(f"{path}: not a JSON object; a base's config.json is one")
    return _from_values(values, str(path))


def _from_values(values: dict[str, Any], place: str) -> Architecture:
    text = values.get("text_config")
    if isinstance(text, dict):  # a model that also sees
        values = {**values, **text}
    if any("experts" in name and values[name] for name in values):
        raise ShelfmarkError(f"{place}: a mixture of experts, which cannot be planned; take a dense model")
    for name in _FIGURES:
        if not isinstance(values.get(name), int) or values[name] < 1:
            raise ShelfmarkError(
                f"{place}: '{name}' is {values.get(name)!r}; only models of Llama's kind can be planned"
            )
    heads = values["num_attention_heads"]
    return Architecture(
        hidden=values["hidden_size"],
        layers=values["num_hidden_layers"],
        intermediate=values["intermediate_size"],
        heads=heads,
        kv_heads=values.get("num_key_value_heads") or heads,
        head=values.get("head_dim") or values["hidden_size"] // heads,
        vocabulary=values["vocab_size"],
        tied=bool(values.get("tie_word_embeddings", False)),
    )
