"""Graphics cards: what they hold, how fast they are, what an hour costs and since when."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from catalog.errors import ShelfmarkError, nearest
from catalog.toml_reader import read_toml

CARDS = Path(__file__).with_name("cards.toml")


class Card(BaseModel):
    """A graphics card.

    Attributes
    ----------
    name : str
        What it is called.
    memory : float
        In gigabytes (10^9 bytes).
    tflops : float
        Tera-operations a second in 16 bits, dense.
    bandwidth : float
        Of its memory, in gigabytes a second.
    bfloat16 : bool
        Whether it has bfloat16; else it computes in float16.
    dollars : float or None
        An hour of it; None where that is not known.
    priced, source : str
        Of when the price is, and whose; empty without one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    memory: float = Field(gt=0, allow_inf_nan=False)
    tflops: float = Field(gt=0, allow_inf_nan=False)
    bandwidth: float = Field(gt=0, allow_inf_nan=False)
    bfloat16: bool = True
    dollars: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    priced: str = ""
    source: str = ""


def load_cards(file: str | Path | None = None) -> list[Card]:
    """Return the cards of ``cards.toml`` beside this module; figures of `file` go before, its other cards come after.

    Raises
    ------
    ShelfmarkError
        When the file cannot be read, is not of that shape, or a figure is missing, unknown or wrong.
    """
    values: dict[str, dict[str, Any]] = tomllib.loads(CARDS.read_text(encoding="utf-8"))["cards"]
    place = str(file or CARDS)
    if file is not None:
        for name, changes in _read(Path(file)).items():
            card = values.setdefault(name, {})
            if "dollars" in changes:  # a new price is not of the old date
                card.update(priced="", source=Path(file).name)
            card.update(changes)
    return [_card(name, given, place) for name, given in values.items()]


def _card(name: str, values: dict[str, Any], place: str) -> Card:
    try:
        return Card(**{**values, "name": name})
    except ValidationError as error:
        first = error.errors()[0]
        figure = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            known = nearest(figure, Card.model_fields)
            raise ShelfmarkError(f"{place}: [cards.{name}]: a card has no '{figure}'{known}") from None
        if first["type"] == "missing":
            raise ShelfmarkError(f"{place}: [cards.{name}]: '{figure}' is missing; add it") from None
        raise ShelfmarkError(f"{place}: [cards.{name}]: {figure} is {first['input']!r}: {first['msg']}") from None


def _read(path: Path) -> dict[str, dict[str, Any]]:
    cards = read_toml(path, "--cards").get("cards")
    if not isinstance(cards, dict) or not cards or not all(isinstance(card, dict) for card in cards.values()):
        raise ShelfmarkError(f"--cards {path}: no cards in it; write [cards.NAME] above the figures of each")
    return cards
