import json
import math
from collections import Counter

import numpy as np
import pytest

from catalog.errors import ShelfmarkError
from catalog.schema import PRESETS, Schema
from finetune.examples import Selection, answer, choose_rows, examples, hold_out, measure_lengths, prompts

SCHEMA = PRESETS["indoml"]
ROWS = [
    ("dm br o bottle 330ml", "tesco", 2.5, "drink__beer__lager__dm"),
    ("lse mlk", "", math.nan, "food__dairy__milk & cream__own"),
]


def words(turns) -> int:
    return sum(len(turn["content"].split()) for turn in turns)


def test_inputs_in_label_out(make_products) -> None:
    first, second = examples(make_products(ROWS), SCHEMA, Selection())
    assert first.prompt == [
        {"role": "user", "content": '{"description": "dm br o bottle 330ml", "retailer": "tesco", "price": 2.5}'}
    ]
    assert first.completion == [
        {
            "role": "assistant",
            "content": '{"supergroup": "drink", "group": "beer", "module": "lager", "brand": "dm"}',
        }
    ]
    assert json.loads(second.prompt[0]["content"]) == {"description": "lse mlk", "retailer": None, "price": None}


def test_without_price_and_numbers(make_products) -> None:
    (first, _) = prompts(make_products(ROWS), SCHEMA, Selection(clean_text=True, ignore_price=True))
    assert json.loads(first[0]["content"]) == {"description": "dm br bottle", "retailer": "tesco"}


def test_columns_that_the_schema_does_not_have_are_no_keys(make_products) -> None:
    bare = Schema("bare", "id", ("description",), ("supergroup", "group", "module", "brand"))
    (first, _) = prompts(make_products(ROWS), bare, Selection())
    assert json.loads(first[0]["content"]) == {"description": "dm br o bottle 330ml"}


def test_any_sign_survives() -> None:
    path = ('a "b"', "c\\d", "é/ü & |", "{x}")
    assert tuple(json.loads(answer(path, SCHEMA)).values()) == path


def test_a_sample_has_every_path_and_is_the_same_again(shop) -> None:
    labels = shop.train.labels
    size = len(set(labels)) + 10
    rows = choose_rows(shop.train, Selection(sample=size), seed=3)
    assert len(rows) == size
    assert {labels[row] for row in rows} == set(labels)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert np.array_equal(rows, choose_rows(shop.train, Selection(sample=size), seed=3))
    assert len(choose_rows(shop.train, Selection(), seed=3)) == len(shop.train)
    assert len(choose_rows(shop.train, Selection(sample=10**6), seed=3)) == len(shop.train)


def test_grouped_leaves_near_duplicates_out(make_products) -> None:
    twice = make_products([ROWS[0], ("dm br o bottle 500ml", *ROWS[0][1:]), ROWS[1]])
    rows = choose_rows(twice, Selection(grouped=True), seed=0)
    assert Counter(twice.labels[row] for row in rows) == {twice.labels[0]: 1, twice.labels[2]: 1}


def test_lengths_are_known_before_training(make_products) -> None:
    learned = examples(make_products(ROWS), SCHEMA, Selection())
    lengths = measure_lengths(learned, words, 40)
    assert lengths.counts.tolist() == [words([*one.prompt, *one.completion]) for one in learned]
    assert sum(found for _, _, found in lengths.histogram()) == 2
    assert lengths.histogram(1)[0][:2] == (lengths.counts.min(), lengths.counts.max())
    with pytest.raises(ShelfmarkError, match=r"--max-seq-length 5: 2 of 2 examples are longer"):
        measure_lengths(learned, words, 5)


def test_held_out_rows_are_random_and_a_tenth_at_most() -> None:
    rest, held = hold_out(100, 500, seed=1)
    assert len(held) == 10
    assert sorted([*rest, *held]) == list(range(100))
    assert list(held) == sorted(held)
    assert list(held) != list(hold_out(100, 500, seed=2)[1])
    rest, held = hold_out(100, 3, seed=1)
    assert (len(rest), len(held)) == (97, 3)
    assert len(hold_out(9, 500, seed=1)[1]) == len(hold_out(100, 0, seed=1)[1]) == 0
