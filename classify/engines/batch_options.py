"""What a user chooses of batches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from catalog.errors import ShelfmarkError
from classify.engines.base import ApiOptions
from classify.engines.connection import check_url
from classify.provider.client import DEFAULT_URL


class BatchOptions(ApiOptions):
    """What a user chooses of batches.

    Attributes
    ----------
    constrain : {'json', 'off'}
        As in `ModelOptions`; OpenAI knows no ``choice``.
    base_url : str
        Of the API, up to ``/v1``; by default what ``OPENAI_BASE_URL`` says, else OpenAI's own.
    logprobs : bool
        Whether to ask for the tokens' probabilities, by which answers tell how sure they are.
    retries : int
        How often a request is asked again that a batch ended without.
    tier : int or None
        The account's usage tier, which says how many tokens may wait at once; by default that is found out.
    max_enqueued_tokens : int or None
        The same in tokens; goes before the tier.
    poll : float
        Seconds between two looks at batches, at most.
    timeout : float
        Seconds that a call may take to begin to answer.
    """

    free: ClassVar[frozenset[str]] = frozenset(
        {"base_url", "retries", "tier", "max_enqueued_tokens", "poll", "timeout"}
    )

    constrain: Literal["json", "off"] = "json"
    base_url: str = Field(
        default_factory=lambda: os.environ.get("OPENAI_BASE_URL", "").strip() or DEFAULT_URL, validate_default=True
    )
    logprobs: bool = True
    retries: int = Field(default=3, ge=0, le=100)
    tier: int | None = Field(default=None, ge=1)
    max_enqueued_tokens: int | None = Field(default=None, ge=1)
    poll: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    timeout: float = Field(default=120.0, gt=0, allow_inf_nan=False)

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str) -> str:
        return check_url(url)

    def most_waiting(self, enqueued: Sequence[int]) -> float:
        """Return how many tokens may wait at once; infinity where it is not known.

        Parameters
        ----------
        enqueued : sequence of int
            What each usage tier lets wait of the model, from the first; empty where it is not known.

        Raises
        ------
        ShelfmarkError
            When a tier is given, and nothing is known of what it allows.
        """
        if self.max_enqueued_tokens is not None:
            return self.max_enqueued_tokens
        if self.tier is None:
            return float("inf")
        if not enqueued:
            raise ShelfmarkError(
                f"--tier {self.tier}: what it lets wait of {self.llm} is not known; give --max-enqueued-tokens, or a "
                "file of --prices that has 'enqueued'"
            )
        return enqueued[min(self.tier, len(enqueued)) - 1]
