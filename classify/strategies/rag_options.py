"""What a user chooses of ``rag``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from catalog.errors import ShelfmarkError, nearest
from classify.strategies.base import Options
from rag.encoders import check_name
from rag.prompts import read_template
from rag.quoting import MOST_TOKENS
from rag.retrieve import Filter
from rag.vote import RetrievalOptions

SOURCES = ("neighbours", "tree")
PREFER_UP_TO = 50_000  # training rows; above, searching all of them for each product takes too long


class RagOptions(Options):
    """What a user chooses of ``rag``.

    Attributes
    ----------
    encoder : str
        The encoder's name (`rag.encoders.make_encoder`); fixed when the model is fitted.
    top_k : int
        Neighbours that vote and stand in the prompt; 0 for none (zero-shot).
    compare_top_k : list of int
        Values of `top_k` to compare on held-out rows; the best is used.
    filter : {'auto', 'retailer', 'prefer', 'none'}
        Which products are searched: those of the product's retailer; all, with a preference for its retailer that is
        tuned on training rows; or all alike. ``auto`` is ``prefer``, which is more accurate, up to 50,000 training
        rows, and ``retailer``, which is faster by the number of retailers, above.
    price_band : float or None
        Only products within this factor of the price, where there are enough; by default price is a soft weight.
    ignore_price : bool
        Neither prefer like prices nor show any.
    rerank : str
        A cross-encoder that puts the neighbours in a new order; empty for none.
    clean_text : bool
        Leave numbers and words of one letter out of descriptions.
    candidates_from : list of str
        ``neighbours``, ``tree`` or both; ``tree`` is fitted as well then. Fixed when the model is fitted.
    candidates : int
        The most candidates in a request.
    prompt : str
        The text of the prompt's template, or the path of the file that holds it; empty for the default.
    max_prompt_tokens : int
        No request is longer: the least similar neighbours go first, then what the web says.
    context_tokens : int
        Tokens of what the web says of a product, at most; 0 shows nothing of it.
    tokenizer : str
        The model whose tokenizer counts; empty for an estimate on the high side.
    ask_by : {'path', 'level'}
        Ask for the whole label path, or for one level after the other.
    llm_below : float
        Products of which `tree` is at least so sure are not asked about; 0 asks about all. `tree` is fitted for it.
    calibrate : int
        Held-out training rows that are asked about, too, to learn how far to trust the answers; 2,500 at most, as
        many as the vote is tuned on (`rag.vote.HELD_OUT_ROWS`).
    """

    encoder: str = "ngram"
    top_k: int = Field(default=5, ge=0, le=100)
    compare_top_k: list[int] = Field(default=[])
    filter: Literal["auto", "retailer", "prefer", "none"] = "auto"
    price_band: float | None = Field(default=None, gt=1, allow_inf_nan=False)
    ignore_price: bool = False
    rerank: str = ""
    clean_text: bool = False
    candidates_from: list[str] = Field(default=["neighbours"])
    candidates: int = Field(default=20, ge=1, le=200)
    prompt: str = ""
    max_prompt_tokens: int = Field(default=2000, ge=64)
    context_tokens: int = Field(default=0, ge=0, le=MOST_TOKENS)
    tokenizer: str = ""
    ask_by: Literal["path", "level"] = "path"
    llm_below: float = Field(default=0.0, ge=0, le=1)
    calibrate: int = Field(default=500, ge=0, le=2500)

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, given: dict[str, Any]) -> dict[str, Any]:
        given = dict(given)
        text = given.get("top_k")
        if isinstance(text, str):
            numbers = _numbers(text)
            given["top_k"] = numbers[0]
            given["compare_top_k"] = numbers if len(numbers) > 1 else []
        sources = given.get("candidates_from")
        if isinstance(sources, str):
            given["candidates_from"] = sources = [name.strip() for name in sources.split(",")]
        if isinstance(sources, list) and "tree" in sources:
            given.setdefault("policy", "brand-free")  # as tree does it
        return given

    @field_validator("encoder")
    @classmethod
    def _known(cls, name: str) -> str:
        check_name(name)
        return name

    @field_validator("candidates_from")
    @classmethod
    def _sources(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in SOURCES:
                raise ShelfmarkError(
                    f"--candidates-from {name}: unknown{nearest(name, SOURCES)}; there are: {', '.join(SOURCES)}"
                )
        return [name for name in SOURCES if name in names]

    @field_validator("prompt")
    @classmethod
    def _template(cls, text: str) -> str:
        return text if not text or "{%" in text else read_template(Path(text))

    @property
    def needs_tree(self) -> bool:
        """Whether `tree` is fitted beside the index."""
        return "tree" in self.candidates_from or self.llm_below > 0

    @property
    def sources(self) -> list[str]:
        """Where candidates come from: with no neighbours to show, none of theirs."""
        return [name for name in self.candidates_from if name != "neighbours" or self.top_k > 0]

    def retrieval(self, rows: int) -> RetrievalOptions:
        """Return the part that the vote is tuned for, with ``auto`` decided for an index of so many rows."""
        if self.filter != "auto":
            chosen: Filter = self.filter
        else:
            chosen = "prefer" if rows <= PREFER_UP_TO else "retailer"
        return RetrievalOptions(max(self.top_k, 1), chosen, self.price_band, self.policy, self.ignore_price)


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) <= 100 for part in parts):
        raise ShelfmarkError(f"--top-k {text}: give a number from 0 to 100, or several to compare: 1,3,5,10")
    return list(dict.fromkeys(int(part) for part in parts))
