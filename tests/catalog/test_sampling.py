from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from catalog.errors import ShelfmarkError
from catalog.products import Products
from catalog.sampling import STRETCH, reduce_by_retailer, split, stratified_sample

LABELS = st.lists(st.sampled_from("aaaaaabbbccde").map(lambda value: ("m", value)), min_size=1, max_size=80)


@given(LABELS, st.data(), st.integers(0, 3))
def test_a_sample_shows_every_class_in_proportion(
    labels: list[tuple[str, str]], data: st.DataObject, seed: int
) -> None:
    counts = Counter(labels)
    size = data.draw(st.integers(len(counts), len(labels)))
    rows = stratified_sample(labels, size, seed=seed)
    assert len(rows) == size
    assert (np.diff(rows) > 0).all()
    chosen = Counter(labels[row] for row in rows)
    assert set(chosen) == set(counts)
    # What the small classes gain, the others lose in proportion: no class is above its proportional part by a row,
    # and of two classes the larger never gets fewer.
    for path, count in counts.items():
        assert 1 <= chosen[path] <= max(1, np.ceil(size * count / len(labels) + 1e-9))
        for other, other_count in counts.items():
            assert chosen[path] >= chosen[other] or count <= other_count


def test_the_largest_remainders_get_the_rows_left() -> None:
    labels = [("a",)] * 50 + [("b",)] * 29 + [("c",)] * 20 + [("d",)]
    rows = stratified_sample(labels, 10)
    # d is raised to one row; 9 rows over 99 leave a 4.55, b 2.64, c 1.82.
    assert Counter(labels[row] for row in rows) == {("a",): 4, ("b",): 3, ("c",): 2, ("d",): 1}


def test_another_seed_chooses_other_rows() -> None:
    labels = [("a",)] * 100
    first, again, other = (stratified_sample(labels, 10, seed=seed).tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_rows_of_a_class_are_chosen_evenly() -> None:
    labels = [("a",)] * 20
    hits = np.zeros(20)
    for seed in range(400):
        hits[stratified_sample(labels, 5, seed=seed)] += 1
    assert hits.min() > 60
    assert hits.max() < 140


@pytest.mark.parametrize(
    ("size", "problem"),
    [
        (2, "a sample of 2 rows cannot hold a row of each of the 3 label paths; ask for at least 3"),
        (6, "a sample of 6 rows: there are only 5; ask for fewer"),
    ],
)
def test_impossible_samples(size: int, problem: str) -> None:
    with pytest.raises(ShelfmarkError) as error:
        stratified_sample([("a",), ("b",), ("c",), ("a",), ("a",)], size)
    assert str(error.value) == problem


def test_no_labels() -> None:
    with pytest.raises(ShelfmarkError, match="there are no labels"):
        stratified_sample([], 0)


@given(LABELS.filter(lambda labels: len(labels) > 1), st.data(), st.integers(0, 3))
def test_a_split_keeps_every_class_in_train(labels: list[tuple[str, str]], data: st.DataObject, seed: int) -> None:
    size = data.draw(st.integers(1, len(labels) - 1))
    train, held_out = split(labels, size, seed)
    assert len(held_out) == size
    assert sorted([*train, *held_out]) == list(range(len(labels)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(held_out) > 0).all()
    classes = len(set(labels))
    # Train holds a row of each class where it has that many rows; else all of its rows are of different classes.
    assert len({labels[row] for row in train}) == min(classes, len(train))


def test_a_split_holds_out_small_classes_too() -> None:
    labels = [("big",)] * 500 + [(f"{pair}",) for pair in range(250) for _ in range(2)]
    _, held_out = split(labels, 0.1, seed=3)
    assert len(held_out) == 100
    # 499 rows of the big class and one of each pair can be held out.
    assert 30 <= sum(labels[row] != ("big",) for row in held_out) <= 37


@pytest.mark.parametrize("held_out", [0, 5, -1, 0.0, 1.0, 1.5, -0.1, float("nan")])
def test_impossible_splits(held_out: float) -> None:
    with pytest.raises(ShelfmarkError, match=r"of 5 rows held out: hold out a part above 0 and below 1, or at least 1"):
        split([("a",)] * 5, held_out)


def test_a_small_part_is_at_least_one_row() -> None:
    assert len(split([("a",)] * 5, 0.01)[1]) == 1
    assert len(split([("a",)] * 5, 0.99)[0]) == 1


def goods(*rows: tuple[str, str, str]) -> Products:
    texts, retailers, labels = zip(*rows, strict=True)
    return Products(
        list(range(len(rows))), {"text": list(texts)}, list(retailers), np.ones(len(rows)), [(name,) for name in labels]
    )


def test_near_duplicates_of_one_retailer_and_label_collapse_to_the_first() -> None:
    products = goods(
        ("cauldron cmblnd ssg", "x", "a"),
        ("cauldron cnblnd ssg", "x", "a"),  # one letter apart
        ("CAULDRON  cmblnd-ssg 250 g", "x", "a"),  # case, spaces, signs; 'g' is a letter more
        ("cauldron cmblnd ssg", "y", "a"),  # another retailer
        ("cauldron cmblnd ssg", "x", "b"),  # another label
        ("smoked tofu", "x", "a"),
    )
    assert reduce_by_retailer(products).tolist() == [0, 3, 4, 5]
    assert reduce_by_retailer(products, threshold=1.0).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_row_that_goes_takes_no_other_with_it() -> None:
    # Each text is near the next one (0.9), but the third is not near the first (0.8), and the second goes.
    products = goods(("aaaaaaaaaa", "x", "a"), ("aaaaaaaaab", "x", "a"), ("aaaaaaaabb", "x", "a"))
    assert reduce_by_retailer(products).tolist() == [0, 2]


def test_numbers_and_spaces_make_no_difference() -> None:
    products = goods(
        ("tea 80", "x", "a"), ("TEA 160", "x", "a"), ("t ea", "x", "a"), ("80", "x", "a"), ("160", "x", "a")
    )
    # Texts of digits alone are compared as they are.
    assert reduce_by_retailer(products, threshold=1.0).tolist() == [0, 3, 4]


@given(st.lists(st.tuples(st.text("abc", max_size=6), st.sampled_from("xy"), st.sampled_from("ab")), min_size=1))
def test_what_goes_has_a_near_duplicate_that_stays(rows: list[tuple[str, str, str]]) -> None:
    products = goods(*rows)
    kept = reduce_by_retailer(products, threshold=0.8).tolist()
    assert kept == sorted(set(kept))

    def near(first: int, second: int) -> bool:
        same_place = rows[first][1:] == rows[second][1:]
        return same_place and fuzz.ratio(rows[first][0], rows[second][0]) >= 80

    for row in range(len(rows)):
        earlier = [other for other in kept if other < row and near(other, row)]
        assert bool(earlier) == (row not in kept)


def test_large_groups_are_compared_in_stretches() -> None:
    # More texts than are compared at once, each also with another first letter and with another last one: the one slip
    # is near it in the order of the texts read backwards, the other forwards.
    generator = np.random.default_rng(0)
    texts = ["".join(generator.choice(list("abcdefghij"), 20)) for _ in range(2 * STRETCH)]
    slips = ["z" + text[1:] for text in texts] + [text[:-1] + "z" for text in texts]
    kept = reduce_by_retailer(goods(*((text, "x", "a") for text in texts + slips)))
    assert kept.tolist() == list(range(len(texts)))


def test_a_wrong_threshold_and_missing_labels() -> None:
    products = goods(("tea", "x", "a"))
    for threshold in (0.0, 1.1, float("nan")):
        with pytest.raises(ShelfmarkError, match="a similarity is above 0 and at most 1"):
            reduce_by_retailer(products, threshold=threshold)
    products.labels = None
    with pytest.raises(ShelfmarkError, match="have no labels"):
        reduce_by_retailer(products)
