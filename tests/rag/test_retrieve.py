import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rag.retrieve
from catalog.products import Products
from catalog.schema import PRESETS
from rag.encoders import Vectors
from rag.index import Index
from rag.ngram import NgramEncoder
from rag.postings import largest
from rag.retrieve import FOUND, SHORTLIST, Neighbours, rank, shortlist

SCHEMA = PRESETS["indoml"]
WORDS = ("milk", "mlk", "whole", "cider", "cdr", "tea", "2l", "4pk", "bread", "organic")
LABEL = "food__drinks__milk__own"


@pytest.fixture(scope="module")
def encoder() -> NgramEncoder:
    encoder = NgramEncoder()
    encoder.fit([*WORDS, "whole milk", "whole milk 2l", "organic whole milk"])
    return encoder


def build(products: Products, encoder: NgramEncoder) -> Index:
    """Index with an encoder that is fitted already."""
    order = sorted(range(len(products)), key=lambda row: products.retailers[row])
    products = products.take(order)
    return Index(encoder, encoder.encode(products.texts), products, SCHEMA)


def search(index: Index, queries: Products, k: int = 3, *, width: int = SHORTLIST, **options) -> Neighbours:
    filter_by = options.pop("filter_by", "retailer")
    vectors = index.encoder.encode(queries.texts)
    band = options.get("price_band")
    found = shortlist(index, vectors, queries, filter_by=filter_by, enough=k, price_band=band, width=width)
    return rank(index, found, queries.prices, k=k, filter_by=filter_by, **{"price_weight": 0.0, **options})


def exact_cosines(index: Index, vectors: Vectors) -> np.ndarray:
    return (vectors.sparse @ index.vectors.sparse.T).toarray()


prices = st.one_of(st.just(math.nan), st.sampled_from([0.0, 0.5, 1.0, 1.9, 2.0, 3.99, 80.0]))
texts = st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join)
rows = st.tuples(texts, st.sampled_from(["a", "b", "c", ""]), prices, st.just(LABEL))
queries = st.tuples(texts, st.sampled_from(["a", "b", "c", "", "elsewhere"]), prices, st.just(LABEL))


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(rows, min_size=1, max_size=40),
    asked=st.lists(queries, min_size=1, max_size=4),
    k=st.integers(1, 7),
    filter_by=st.sampled_from(["retailer", "prefer", "none"]),
    price_weight=st.sampled_from([0.0, 0.2]),
    price_band=st.sampled_from([None, 1.01, 2.0]),
)
def test_neighbours_are_those_of_an_exact_search(
    encoder, make_products, rows, asked, k, filter_by, price_weight, price_band
) -> None:
    index, products = build(make_products(rows), encoder), make_products(asked)
    other_weight = 0.7 if filter_by == "prefer" else 1.0
    near = search(
        index,
        products,
        k,
        filter_by=filter_by,
        price_weight=price_weight,
        price_band=price_band,
        **({"other_weight": other_weight} if filter_by == "prefer" else {}),
    )
    cosines = exact_cosines(index, encoder.encode(products.texts))
    for query in range(len(asked)):
        retailer, price = products.retailers[query], products.prices[query]
        own = np.array([bool(retailer) and name == retailer for name in index.products.retailers])
        gap = np.abs(np.log(np.maximum(index.products.prices, 0.01)) - np.log(max(price, 0.01)))
        outside = np.zeros(len(index), bool) if price_band is None else gap > math.log(price_band) + 1e-9
        weight = np.maximum(cosines[query], 0) * np.exp(-price_weight * np.where(np.isnan(gap), 0.5, gap))
        if filter_by == "prefer":
            weight = np.where(own, weight, weight * other_weight)
        first = own if filter_by == "retailer" else np.zeros(len(index), bool)
        stage = 2 * ~first + outside
        best = sorted(range(len(index)), key=lambda row: (stage[row], -round(float(weight[row]), 5)))[:k]
        found = near.rows[query]
        count = min(k, len(index))
        assert len(found) == k
        assert (found[:count] >= 0).all()
        assert (found[count:] == -1).all()
        assert len(set(found[:count].tolist())) == count
        # Equal weights may stand in any order here; stages and weights may not differ.
        assert stage[found[:count]].tolist() == stage[best].tolist()
        np.testing.assert_allclose(weight[found[:count]], weight[best], atol=2e-5)
        np.testing.assert_allclose(near.similarity[query, :count], cosines[query][found[:count]], atol=1e-5)
        np.testing.assert_allclose(near.weight[query, :count], weight[found[:count]], atol=1e-5)
        assert (near.similarity[query, count:] == 0).all()
        assert (near.weight[query, count:] == 0).all()
        for at in range(count):
            row = found[at]
            told = FOUND[near.found[query, at]]
            assert ("retailer" in told) == bool(first[row])
            assert ("price" in told) == (price_band is not None and not outside[row])


def test_the_filter_restricts(encoder, make_products) -> None:
    train = make_products(
        [("whole milk 2l", "b", 1.0, LABEL)] * 5 + [("bread", "a", 1.0, LABEL), ("tea", "a", 1.0, LABEL)]
    )
    index, query = build(train, encoder), make_products([("whole milk 2l", "a", 1.0, LABEL)])
    near = search(index, query, 2)
    assert {index.products.retailers[row] for row in near.rows[0]} == {"a"}
    assert [FOUND[how] for how in near.found[0]] == ["retailer", "retailer"]
    free = search(index, query, 2, filter_by="none")
    assert {index.products.retailers[row] for row in free.rows[0]} == {"b"}
    assert [FOUND[how] for how in free.found[0]] == ["any", "any"]


def test_the_filter_comes_before_the_search(encoder, make_products) -> None:
    """However many others are more similar, none of them takes the place of one of the retailer's own."""
    others = [("whole milk 2l", "b", 1.0, LABEL)] * 50
    train = make_products([*others, *[(text, "a", 1.0, LABEL) for text in ("bread", "tea", "milk", "cider 4pk")]])
    index, query = build(train, encoder), make_products([("whole milk 2l", "a", 1.0, LABEL)])
    near = search(index, query, 3, width=10)
    assert {index.products.retailers[row] for row in near.rows[0]} == {"a"}
    assert index.products.texts[near.rows[0, 0]] == "milk"
    preferred = search(index, query, 3, width=10, filter_by="prefer", other_weight=0.01)
    assert index.products.texts[preferred.rows[0, 0]] == "milk"


def test_too_few_hits_widen_the_search(encoder, make_products) -> None:
    train = make_products([("bread", "a", 1.0, LABEL), *[("whole milk 2l", "b", 1.0, LABEL)] * 5])
    index = build(train, encoder)
    near = search(index, make_products([("whole milk 2l", "a", 1.0, LABEL)]), 3)
    assert [index.products.retailers[row] for row in near.rows[0]] == ["a", "b", "b"]
    assert [FOUND[how] for how in near.found[0]] == ["retailer", "any", "any"]


@pytest.mark.parametrize("retailer", ["", "never seen"])
def test_no_or_an_unknown_retailer_searches_everywhere(encoder, make_products, retailer: str) -> None:
    index = build(make_products([("bread", "a", 1.0, LABEL), ("whole milk", "b", 1.0, LABEL)]), encoder)
    near = search(index, make_products([("milk", retailer, 1.0, LABEL)]), 1)
    assert index.products.retailers[near.rows[0, 0]] == "b"
    assert FOUND[near.found[0, 0]] == "any"


def test_fewer_rows_than_neighbours(encoder, make_products) -> None:
    index = build(make_products([("milk", "a", 1.0, LABEL)]), encoder)
    near = search(index, make_products([("milk", "a", 1.0, LABEL), ("tea", "b", 1.0, LABEL)]), 4)
    assert near.rows.tolist() == [[0, -1, -1, -1], [0, -1, -1, -1]]
    assert near.weight[:, 1:].sum() == 0


def test_a_price_band_is_a_filter(encoder, make_products) -> None:
    train = make_products([("milk", "a", price, LABEL) for price in (1.0, 1.9, 2.0, 2.1, 0.5, 0.49, math.nan)])
    index = build(train, encoder)
    near = search(index, make_products([("milk", "a", 1.0, LABEL)]), 7, price_band=2.0)
    assert near.rows[0].tolist() == [0, 1, 2, 4, 6, 3, 5]
    assert [FOUND[how] for how in near.found[0]] == ["retailer and price"] * 5 + ["retailer"] * 2


def test_a_price_band_without_a_price_keeps_all(encoder, make_products) -> None:
    index = build(make_products([("milk", "a", 1.0, LABEL), ("milk 2l", "a", 9.0, LABEL)]), encoder)
    near = search(index, make_products([("milk", "a", math.nan, LABEL)]), 2, price_band=1.5)
    assert [FOUND[how] for how in near.found[0]] == ["retailer and price"] * 2


@pytest.mark.parametrize("filter_by", ["retailer", "prefer", "none"])
def test_a_price_band_finds_what_is_not_among_the_most_similar(encoder, make_products, filter_by: str) -> None:
    far = [("whole milk 2l", "a", 9.0, LABEL)] * 30
    train = make_products(
        [*far, ("organic tea", "a", 1.0, LABEL), ("bread", "a", 1.0, LABEL), ("milk", "b", 1.0, LABEL)]
    )
    index, query = build(train, encoder), make_products([("whole milk 2l", "a", 1.0, LABEL)])
    near = search(index, query, 2, width=10, filter_by=filter_by, price_band=1.5)
    found = [index.products.texts[row] for row in near.rows[0]]
    assert set(found) == ({"organic tea", "bread"} if filter_by == "retailer" else {"milk", found[1]})
    assert all("price" in FOUND[how] for how in near.found[0])
    assert (index.products.prices[near.rows[0]] == 1.0).all()


def test_price_weighs_softly(encoder, make_products) -> None:
    train = make_products([("whole milk", "a", 9.0, LABEL), ("whole milk", "a", 1.1, LABEL), ("milk", "a", 1.0, LABEL)])
    index, query = build(train, encoder), make_products([("whole milk", "a", 1.0, LABEL)])
    assert search(index, query, 3).rows[0].tolist() == [0, 1, 2]
    assert search(index, query, 3, price_weight=0.1).rows[0].tolist()[:2] == [1, 0]
    near = search(index, query, 3, price_weight=1.0)
    assert near.rows[0].tolist() == [1, 2, 0]
    assert near.weight[0, 2] == pytest.approx(1 / 9, rel=1e-4)
    assert near.similarity[0, 2] == pytest.approx(1, rel=1e-4)


def test_a_preferred_retailer_comes_first_among_equals_and_last_where_it_is_unlike(encoder, make_products) -> None:
    train = make_products([("milk", "b", 1.0, LABEL), ("milk", "a", 1.0, LABEL), ("bread", "a", 1.0, LABEL)])
    index, query = build(train, encoder), make_products([("milk", "a", 1.0, LABEL)])
    near = search(index, query, 3, filter_by="prefer", other_weight=0.7)
    assert [(index.products.texts[row], index.products.retailers[row]) for row in near.rows[0]] == [
        ("milk", "a"),
        ("milk", "b"),
        ("bread", "a"),
    ]
    assert near.weight[0, 1] == pytest.approx(0.7, abs=1e-4)


def test_ties_go_to_the_first_row(encoder, make_products) -> None:
    index = build(make_products([("milk", "a", 1.0, LABEL)] * 50), encoder)
    query = make_products([("milk", "a", 1.0, LABEL)] * 3)
    assert search(index, query, 4).rows.tolist() == [[0, 1, 2, 3]] * 3


def test_more_ties_than_the_shortlist_holds_are_the_same_every_time(encoder, make_products) -> None:
    index = build(make_products([("milk", "a", 1.0, LABEL)] * (SHORTLIST + 100)), encoder)
    query = make_products([("milk", "a", 1.0, LABEL), ("mlk", "", 1.0, LABEL)])
    first = search(index, query, 5).rows
    assert all((search(index, query, 5).rows == first).all() for _ in range(3))


def test_an_empty_text_resembles_nothing(encoder, make_products) -> None:
    index = build(make_products([("milk", "a", 1.0, LABEL), ("", "a", 1.0, LABEL), ("tea", "b", 1.0, LABEL)]), encoder)
    near = search(index, make_products([("", "a", 1.0, LABEL), ("  ", "", math.nan, LABEL)]), 2)
    assert (near.weight == 0).all()
    assert near.rows[0].tolist() == [0, 1]


def test_the_shortlist_holds_the_nearest_of_all(make_products) -> None:
    draw = random.Random(0)
    brands = ["acme", "zeta", "bulmers", "stella", "hovis", "heinz", "own label", "the finest"]
    goods = ["whole milk", "semi skimmed milk", "dry cider", "lager", "sliced bread", "baked beans", "green tea"]
    sizes = ["2l", "500ml", "4 pack", "1kg", "12s", ""]
    names = [
        f"{draw.choice(brands)} {draw.choice(goods)} {draw.choice(sizes)} {draw.randint(0, 99)}" for _ in range(400)
    ]
    index = Index.build(make_products([(name, "a", 1.0, LABEL) for name in names[:340]]), SCHEMA, NgramEncoder())
    queries = make_products([(name, "a", 1.0, LABEL) for name in names[340:]])
    near = search(index, queries, 5, width=50, filter_by="none")
    cosines = exact_cosines(index, index.encoder.encode(queries.texts))
    best = -np.sort(-np.maximum(cosines, 0), axis=1)[:, :5]
    np.testing.assert_allclose(near.similarity, best, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(columns=st.integers(1, 700), count=st.integers(1, 12), values=st.integers(1, 40), seed=st.integers(0, 99))
def test_the_largest_are_found_among_any_number(columns: int, count: int, values: int, seed: int) -> None:
    count = min(count, columns)
    scores = np.random.default_rng(seed).integers(0, values, (3, columns)).astype(np.float32)
    places = largest(scores, count)
    assert all(len(set(row.tolist())) == count for row in places)
    found = np.take_along_axis(scores, places, axis=1)
    assert (np.sort(found, axis=1) == np.sort(scores, axis=1)[:, -count:]).all()


def test_rows_that_are_alike_are_equally_similar_to_the_last_bit(make_products) -> None:
    names = [f"whole milk {number}" for number in range(30)] * 3
    index = Index.build(make_products([(name, "a", 1.0, LABEL) for name in names]), SCHEMA, NgramEncoder())
    near = search(index, make_products([("milk whole 7", "a", 1.0, LABEL)]), 90)
    of_text: dict[str, set[float]] = {}
    for row, similarity in zip(near.rows[0].tolist(), near.similarity[0].tolist(), strict=True):
        of_text.setdefault(index.products.texts[row], set()).add(similarity)
    assert len(of_text) == 30
    assert all(len(values) == 1 for values in of_text.values())


def test_queries_do_not_depend_on_their_company(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index.build(shop.train, shop.schema, NgramEncoder())
    together = search(index, shop.test, 5, price_weight=0.2)
    monkeypatch.setattr(rag.retrieve, "SCORES", 7)
    apart = search(index, shop.test, 5, price_weight=0.2)
    for name in ("rows", "similarity", "weight", "found"):
        assert (getattr(together, name) == getattr(apart, name)).all()
    for row in (0, 17, 60):
        alone = search(index, shop.test.take([row]), 5, price_weight=0.2)
        if together.weight[row].any():
            assert (alone.rows[0] == together.rows[row]).all()
            assert (alone.weight[0] == together.weight[row]).all()
