"""Prices, loads, and a bound on dollars."""

import pytest

from catalog.errors import ShelfmarkError
from classify.costs import Budget, Load, Price, load_prices


def test_a_snapshot_and_a_tuned_model_cost_what_their_own_kind_does() -> None:
    prices = load_prices()
    plain, tuned = prices.of("gpt-4o-mini"), prices.of("ft:gpt-4o-mini")
    assert plain is not None
    assert tuned is not None
    assert (plain.input, plain.output, plain.training, plain.batch) == (0.15, 0.6, 3.0, 0.5)
    assert tuned.input > plain.input
    assert prices.of("gpt-4o-mini-2024-07-18") == plain
    assert prices.of("ft:gpt-4o-mini-2024-07-18:shop::abc") == tuned
    assert tuned.training is None
    for unknown in ("gpt-4o-mini-audio", "gpt-9", "ft:gpt-9:shop", "ft:", ""):
        assert prices.of(unknown) is None


def test_every_price_has_a_date_and_a_source() -> None:
    for model in ("gpt-4o-mini", "ft:gpt-4o-mini", "gpt-4o", "ft:gpt-4o", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano"):
        price = load_prices().of(model)
        assert price is not None
        assert price.as_of
        assert price.source


def test_prices_of_ones_own_go_before(tmp_path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('["gpt-4o-mini"]\ninput = 1\noutput = 2\n\n["own-model"]\ninput = 0\noutput = 0\ntraining = 7\n')
    prices = load_prices(file)
    own, free = prices.of("gpt-4o-mini-2024-07-18"), prices.of("own-model")
    assert own == Price(input=1, output=2)
    assert own is not None
    assert own.training_dollars(1000) is None  # it does not take over what the file leaves out
    assert free is not None
    assert free.training_dollars(2_000_000) == 14
    assert prices.of("gpt-4o") == load_prices().of("gpt-4o")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "not TOML"),
        ("\xff", "not TOML"),
        ("gpt = 3", "gpt: a model is a table"),
        ("[gpt]\ninput = 1", "gpt: output:"),
        ("[gpt]\ninput = -1\noutput = 1", "gpt: input:"),
        ("[gpt]\ninput = nan\noutput = 1", "gpt: input:"),
        ("[gpt]\ninput = inf\noutput = 1", "gpt: input:"),
        ("[gpt]\ninput = 1\noutput = inf", "gpt: output:"),
        ("[gpt]\ninput = 1\noutput = 1\ntraning = 3", "gpt: traning:"),
        ("[gpt]\ninput = 1\noutput = 1\nbatch = 1.5", "gpt: batch:"),
        ("[gpt]\ninput = 1\noutput = 1\nenqueued = [10, 0]", "gpt: enqueued.1:"),
        ("[gpt]\ninput = 1\noutput = 1\nas_of = 2026-04-01", "gpt: as_of:"),
    ],
)
def test_bad_prices_are_one_line(tmp_path, text: str, said: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(ShelfmarkError) as raised:
        load_prices(file)
    assert str(raised.value).startswith(f"--prices {file}: {said}")
    assert "\n" not in str(raised.value)


def test_no_file_of_prices(tmp_path) -> None:
    with pytest.raises(ShelfmarkError, match=r"--prices .*none\.toml: cannot be read"):
        load_prices(tmp_path / "none.toml")
    with pytest.raises(ShelfmarkError, match="cannot be read"):
        load_prices(tmp_path)


def test_loads_add_up_and_cost() -> None:
    load = Load(1, 1e6, 2e6, 1e5, 2e5) + Load(2, 1e6, 1e6, 0, 1e5)
    assert load == Load(3, 2e6, 3e6, 1e5, 3e5)
    price = Price(input=1, output=10, batch=0.25)
    assert load.dollars(price, batch=False) == (3, 6)
    assert load.dollars(price, batch=True) == (0.75, 1.5)


def test_a_bound_counts_what_is_spent_and_in_flight() -> None:
    budget = Budget(1.0, Price(input=1, output=1), spent=0.5)
    budget.check(0.5, "it")
    budget.in_flight = 0.25
    budget.check(0.25, "it")
    with pytest.raises(ShelfmarkError) as raised:
        budget.check(0.2501, "the next file")
    assert str(raised.value) == (
        "--max-cost 1: $0.5000 spent, $0.2500 at most in flight, and the next file could cost $0.2501; "
        "raise --max-cost, or ask for less"
    )
    with pytest.raises(ShelfmarkError, match=r"^--max-cost 0: it could cost \$0.0100;"):
        Budget(0, Price(input=1, output=1)).check(0.01, "it")


def test_many_small_sums_are_no_overdraft() -> None:
    budget = Budget(0.3, Price(input=1, output=1), spent=0.1 + 0.2)
    assert budget.affords(0)


def test_no_bound_affords_all_and_a_bound_needs_a_price() -> None:
    assert Budget(None, None).affords(1e9)
    with pytest.raises(ShelfmarkError, match="--max-cost 3: the price of gpt-9 is unknown; give a file of prices"):
        Budget(3, None, model="gpt-9")
