"""The figures of a provider's fine-tune: which rows, how often, and how much of them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from finetune.examples import Selection
from rag.quoting import MOST_TOKENS


class TuningFigures(BaseModel):
    """What a provider's fine-tune needs to know. The defaults are those of the datathon team's best run.

    Attributes
    ----------
    base : str
        The model that is tuned, as the provider calls it.
    sample : int
        Rows to learn from, stratified on the label path.
    epochs : int
        Passes over the rows: providers take whole ones.
    max_training_tokens : int
        Tokens of the training file at most, one pass over it; the sample is made smaller where it has more.
    validation : int
        Rows held out at random, on which the provider measures; a tenth of all rows at most.
    ignore_price : bool
        Do not show the price.
    clean_text : bool
        Leave numbers and words of one letter out of the texts.
    context_tokens : int
        Tokens, at most, of what a web search found of a product; 0 for a model that is shown nothing of it.
    stop : str
        What answers end with, and are cut at; empty for nothing.
    learning_rate_multiplier : float or None
        Of the provider's own learning rate; None leaves it to the provider.
    batch_size : int or None
        Rows a step; None leaves it to the provider.
    suffix : str
        A part of the tuned model's name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = Field(default="gpt-4o-mini-2024-07-18", min_length=1)
    sample: int = Field(default=28_000, ge=1)
    epochs: int = Field(default=2, ge=1, le=50)
    max_training_tokens: int = Field(default=2_000_000, ge=1)
    validation: int = Field(default=500, ge=0)
    ignore_price: bool = False
    clean_text: bool = False
    context_tokens: int = Field(default=0, ge=0, le=MOST_TOKENS)
    stop: str = Field(default="", max_length=4)
    learning_rate_multiplier: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    batch_size: int | None = Field(default=None, ge=1)
    suffix: str = Field(default="shelfmark", max_length=64)

    @property
    def selection(self) -> Selection:
        """Which rows are learned from, and what of them is shown."""
        shown = {"clean_text": self.clean_text, "ignore_price": self.ignore_price}
        return Selection(self.sample, **shown, context_tokens=self.context_tokens)
