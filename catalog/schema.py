"""Which columns of a file are the id, the inputs and the levels of the label."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from catalog.errors import ShelfmarkError, nearest
from catalog.toml_reader import read_toml

Policy = Literal["path", "brand-free"]
"""Which paths are valid: those seen in training; or seen paths above the brand, with any known brand."""
POLICIES: tuple[Policy, ...] = get_args(Policy)
SEPARATOR = "__"
MOST_COLUMNS = 100
"""Columns that a schema names, at most."""


@dataclass(frozen=True)
class Schema:
    """The columns of a task.

    Parameters
    ----------
    name : str
        What the schema is called, in manifests and messages.
    id : str
        The column that names a row; its values are unique within a file.
    text : tuple of str
        The text columns, in the order in which they are read.
    levels : tuple of str
        The columns of the label, widest first; the last one is the brand where there is one.
    retailer, price : str or None
        The columns of the shop and of the price, or None where the data has none.
    """

    name: str
    id: str
    text: tuple[str, ...]
    levels: tuple[str, ...]
    retailer: str | None = None
    price: str | None = None

    def __post_init__(self) -> None:
        """Refuse a schema that names a column twice or has no text or no levels."""
        columns = [*self.inputs, self.id, *self.levels]
        if len(columns) > MOST_COLUMNS:
            raise ShelfmarkError(f"schema '{self.name}': {len(columns):,} columns; there may be {MOST_COLUMNS} at most")
        twice, times = Counter(columns).most_common(1)[0]
        if times > 1:
            raise ShelfmarkError(f"schema '{self.name}': column '{twice}' has two roles; give it one")
        if not self.text or not self.levels:
            raise ShelfmarkError(f"schema '{self.name}': it needs at least one text column and one level")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The input columns: text, then retailer and price where there are any."""
        return (*self.text, *(column for column in (self.retailer, self.price) if column is not None))

    @property
    def joined(self) -> str:
        """The form of a joined label, for messages and prompts: ``supergroup__group__module__brand``."""
        return SEPARATOR.join(self.levels)

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as plain values, as `from_dict` and a TOML file take them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "schema") -> Schema:
        """Make a schema from plain values.

        Raises
        ------
        ShelfmarkError
            When a key is unknown, missing or of the wrong type.
        """
        known = {"name": str, "id": str, "text": list, "levels": list, "retailer": str, "price": str}
        values = {key: value for key, value in values.items() if value is not None}
        if isinstance(values.get("text"), str):
            values["text"] = [values["text"]]
        for key, value in values.items():
            if key not in known:
                raise ShelfmarkError(f"{where}: unknown key '{key}'{nearest(key, known)}; known: {', '.join(known)}")
            items = value if known[key] is list and isinstance(value, list) else [value]
            if not isinstance(value, known[key]) or not all(isinstance(item, str) and item for item in items):
                kind = "a list of column names" if known[key] is list else "a column name"
                raise ShelfmarkError(f"{where}: '{key}' must be {kind}")
        for key in ("id", "text", "levels"):
            if key not in values:
                raise ShelfmarkError(f"{where}: '{key}' is missing; it names the column(s) of the {key}")
        return cls(
            name=values.get("name", where),
            id=values["id"],
            text=tuple(values["text"]),
            levels=tuple(values["levels"]),
            retailer=values.get("retailer"),
            price=values.get("price"),
        )


PRESETS = {
    "indoml": Schema(
        name="indoml",
        id="indoml_id",
        text=("description",),
        levels=("supergroup", "group", "module", "brand"),
        retailer="retailer",
        price="price",
    ),
    "esci": Schema(
        name="esci",
        id="example_id",
        text=("query", "product_title", "product_description"),
        levels=("esci_label",),
    ),
    "relevance": Schema(name="relevance", id="id", text=("query", "title", "description"), levels=("grade",)),
}


def load_schema(name: str) -> Schema:
    """Return the preset called `name`, or read the TOML file at that path.

    Raises
    ------
    ShelfmarkError
        When `name` is neither, or the file is not a schema.
    """
    if name in PRESETS:
        return PRESETS[name]
    path = Path(name)
    if not path.is_file():
        raise ShelfmarkError(
            f"--schema {name}: neither a preset ({', '.join(PRESETS)}) nor a TOML file{nearest(name, PRESETS)}"
        )
    return Schema.from_dict({"name": path.stem, **read_toml(path)}, where=str(path))
