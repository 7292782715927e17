import pytest

from catalog.errors import ShelfmarkError
from classify.costs import load_prices
from classify.engines.batch_options import BatchOptions

TIERS = [2_000, 30_000]


@pytest.mark.parametrize(
    ("given", "most"),
    [
        ({}, float("inf")),
        ({"tier": 1}, 2_000),
        ({"tier": 2}, 30_000),
        ({"tier": 5}, 30_000),  # above the highest that is known
        ({"tier": 1, "max_enqueued_tokens": 7}, 7),
    ],
)
def test_how_many_tokens_may_wait(given: dict, most: float) -> None:
    assert BatchOptions(llm="m", **given).most_waiting(TIERS) == most


@pytest.mark.parametrize(("llm", "tier", "most"), [("gpt-4o-mini", 1, 2e6), ("ft:gpt-4o-mini:org::x", 3, 4e7)])
def test_what_is_known_of_models(llm: str, tier: int, most: float) -> None:
    price = load_prices().of(llm)
    assert price is not None
    assert BatchOptions(llm=llm, tier=tier).most_waiting(price.enqueued) == most


def test_a_tier_of_which_nothing_is_known() -> None:
    with pytest.raises(ShelfmarkError, match=r"--tier 2: what it lets wait of m is not known; give --max-enqueued"):
        BatchOptions(llm="m", tier=2).most_waiting([])
    assert BatchOptions(llm="m").most_waiting([]) == float("inf")
