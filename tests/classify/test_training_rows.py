"""Which rows a provider's fine-tune learns from."""

import numpy as np
import pytest

from catalog.errors import ShelfmarkError
from catalog.products import Products
from catalog.schema import PRESETS
from classify.token_counts import TokenCounts
from classify.training_rows import choose_within
from finetune.examples import Selection, choose_rows
from finetune.piped import piped_examples

SCHEMA = PRESETS["indoml"]
WORDS = TokenCounts("words", True, lambda text: len(text.split()))
LETTERS = TokenCounts("estimated", False, len)


def tokens(products, rows, counts, selection, stop=""):
    examples = piped_examples(products.take(rows), SCHEMA, selection, stop)
    counted = [counts.example([*one.prompt, *one.completion]) for one in examples]
    return sum(expected for expected, _ in counted), sum(most for _, most in counted)


@pytest.mark.parametrize("counts", [WORDS, LETTERS])
def test_the_sample_where_it_fits(shop, counts) -> None:
    selection = Selection(250)
    for budget in (None, 10**9):
        rows, expected, most = choose_within(shop.train, SCHEMA, selection, counts, budget, 3)
        assert rows.tolist() == choose_rows(shop.train, selection, seed=3).tolist()
        assert (expected, most) == pytest.approx(tokens(shop.train, rows, counts, selection))
        assert isinstance(most, int)


def test_a_part_of_the_sample_where_it_does_not(shop) -> None:
    selection = Selection(240)
    sample, expected, _ = choose_within(shop.train, SCHEMA, selection, LETTERS, None, 0)
    budget = int(expected) - 500
    rows, fewer, most = choose_within(shop.train, SCHEMA, selection, LETTERS, budget, 0)
    assert set(rows) < set(sample)
    assert (np.diff(rows) > 0).all()
    assert budget - 400 < fewer <= budget  # it is what is expected that is held against the budget
    assert most > budget
    labels = shop.train.require_labels()
    assert {labels[row] for row in rows} == set(labels)
    again, _, _ = choose_within(shop.train, SCHEMA, selection, LETTERS, budget, 0)
    assert rows.tolist() == again.tolist()


def test_what_is_shown_and_how_answers_end_count(shop) -> None:
    whole = choose_within(shop.train, SCHEMA, Selection(240), LETTERS, None, 0)
    without = choose_within(shop.train, SCHEMA, Selection(240, ignore_price=True), LETTERS, None, 0)
    ended = choose_within(shop.train, SCHEMA, Selection(240), LETTERS, None, 0, stop="|")
    assert without[2] < whole[2]
    assert ended[2] == whole[2] + 240


def test_a_sample_that_is_too_small(shop) -> None:
    with pytest.raises(ShelfmarkError, match=r"--sample 12: a sample of 12 rows cannot hold a row of each of the \d+"):
        choose_within(shop.train, SCHEMA, Selection(12), WORDS, None, 0)


def test_fewer_rows_than_a_provider_takes(shop, make_products) -> None:
    few = make_products([("beer", "", 1.0, "a__b__c__d")] * 9)
    with pytest.raises(ShelfmarkError, match=r"^9 rows to learn from: a provider takes 10 at least"):
        choose_within(few, SCHEMA, Selection(100), WORDS, None, 0)
    enough = make_products([("beer", "", 1.0, "a__b__c__d")] * 10)
    rows, expected, _ = choose_within(enough, SCHEMA, Selection(100), WORDS, None, 0)
    assert len(rows) == 10
    with pytest.raises(ShelfmarkError, match=r"^9 rows .*--max-training-tokens"):
        choose_within(enough, SCHEMA, Selection(100), WORDS, int(expected) - 1, 0)


def test_no_labels(shop) -> None:
    products = Products(["1"], {"description": [""]}, [""], np.zeros(1))
    with pytest.raises(ShelfmarkError, match=r"^these products have no labels"):
        choose_within(products, SCHEMA, Selection(1), WORDS, 1, 0)
