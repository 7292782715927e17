"""Money: what tokens cost, by dated prices; how many there will be; and a bound on what may be spent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from catalog.errors import ShelfmarkError, first_line
from catalog.places import place_named
from catalog.toml_reader import read_toml

FILE = Path(__file__).with_name("prices.toml")
MILLION = 1_000_000
_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


class Price(BaseModel):
    """What a provider asks for a model.

    Attributes
    ----------
    input, output : float
        Dollars per million tokens read and written.
    training : float or None
        Dollars per million tokens learned from, each pass counted; None where it is not known.
    batch : float
        The part of the price that a batch costs.
    enqueued : list of int
        Tokens that may wait in batches, by usage tier, the first tier first; empty where it is not known.
    as_of, source : str
        When the price was looked up, and where.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)
    training: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    batch: float = Field(default=0.5, ge=0, le=1)
    enqueued: list[PositiveInt] = Field(default=[])
    as_of: str = ""
    source: str = ""

    def dollars(self, read: float, written: float, *, batch: bool) -> float:
        """Return what so many tokens read and written cost."""
        return (read * self.input + written * self.output) / MILLION * (self.batch if batch else 1.0)

    def training_dollars(self, tokens: float) -> float | None:
        """Return what it costs to learn from so many tokens, each pass counted; None where it is not known."""
        return None if self.training is None else tokens * self.training / MILLION


class Prices:
    """Prices by model.

    Parameters
    ----------
    known : dict of str to Price
        By the model's name; ``ft:NAME`` for those fine-tuned from NAME.
    """

    def __init__(self, known: dict[str, Price]) -> None:
        self._known = known

    def of(self, model: str) -> Price | None:
        """Return the price of a model; None where it is not known. ``ft:BASE:ORG:...`` is a model tuned from BASE."""
        tuned, _, rest = model.partition(":")
        prefix, name = ("ft:", rest.partition(":")[0]) if tuned == "ft" and rest else ("", model)
        return next(
            (self._known[full] for full in (prefix + name, prefix + _SNAPSHOT.sub("", name)) if full in self._known),
            None,
        )


def load_prices(path: str | Path | None = None) -> Prices:
    """Return the prices of ``prices.toml`` beside this module, under those of a file of the user's.

    Raises
    ------
    ShelfmarkError
        When the file is missing, no TOML, or has something that is no price.
    """
    known = _read(FILE)
    return Prices({**known, **(_read(place_named(path)) if path else {})})


def _read(path: Path) -> dict[str, Price]:
    found = {}
    for model, value in read_toml(path, "--prices").items():
        if not isinstance(value, dict):
            raise ShelfmarkError(f'--prices {path}: {model}: a model is a table: ["{model}"], then input and output')
        try:
            found[model] = Price(**value)
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            raise ShelfmarkError(f"--prices {path}: {model}: {where}: {first_line(error)}") from None
    return found


@dataclass(frozen=True)
class Load:
    """How many tokens requests take, or took.

    Attributes
    ----------
    rows : int
        Requests.
    read, most_read : float
        Tokens of the prompts: expected, and at most.
    written, most_written : float
        Tokens of the answers, likewise.
    """

    rows: int = 0
    read: float = 0.0
    most_read: float = 0.0
    written: float = 0.0
    most_written: float = 0.0

    def __add__(self, other: Load) -> Load:
        return Load(
            self.rows + other.rows,
            self.read + other.read,
            self.most_read + other.most_read,
            self.written + other.written,
            self.most_written + other.most_written,
        )

    def dollars(self, price: Price, *, batch: bool) -> tuple[float, float]:
        """Return what they cost: expected, and at most."""
        expected = price.dollars(self.read, self.written, batch=batch)
        return expected, price.dollars(self.most_read, self.most_written, batch=batch)


class Budget:
    """A bound on dollars, and what of it is gone.

    What is in flight counts at its worst: it is bought, whatever it will come to.

    Parameters
    ----------
    cap : float or None
        The most that may be spent, in dollars; None where there is no bound.
    price : Price or None
        Of the model that is asked; None where it is not known.
    batch : bool
        Whether it is asked by batches.
    spent : float
        Dollars that are gone already.

    Attributes
    ----------
    in_flight : float
        Dollars that what is asked may come to, at most.
    estimate : [float, float] or None
        Dollars that all of it was expected to cost, and at most, before the first was asked.

    Raises
    ------
    ShelfmarkError
        When there is a bound, and the price is not known.
    """

    def __init__(
        self, cap: float | None, price: Price | None, *, model: str = "", batch: bool = False, spent: float = 0.0
    ) -> None:
        if cap is not None and price is None:
            raise ShelfmarkError(
                f"--max-cost {cap:g}: the price of {model or 'the model'} is unknown; give a file of prices with "
                "--prices, or leave --max-cost out"
            )
        self.cap, self.price, self.batch, self.spent = cap, price, batch, spent
        self.in_flight = 0.0
        self.estimate: list[float] | None = None

    def dollars(self, read: float, written: float) -> float:
        """Return what so many tokens cost; 0 where the price is not known."""
        return 0.0 if self.price is None else self.price.dollars(read, written, batch=self.batch)

    def affords(self, dollars: float) -> bool:
        """Tell whether so many dollars more are within the bound, beside what is spent and in flight."""
        # Half a millionth of a dollar is no overdraft, but what adding many small numbers leaves.
        return self.cap is None or self.spent + self.in_flight + dollars <= self.cap + 5e-7

    def check(self, dollars: float, what: str) -> None:
        """Refuse what could cost more than is left.

        Raises
        ------
        ShelfmarkError
            When it could.
        """
        if self.affords(dollars):
            return
        parts = [f"${self.spent:,.4f} spent"] if self.spent else []
        parts += [f"${self.in_flight:,.4f} at most in flight"] if self.in_flight else []
        gone = f"{', '.join(parts)}, and " if parts else ""
        raise ShelfmarkError(
            f"--max-cost {self.cap:g}: {gone}{what} could cost ${dollars:,.4f}; raise --max-cost, or ask for less"
        )
