import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rag.vote
from catalog.products import Products
from catalog.sample import sample_products
from catalog.schema import PRESETS, Schema
from catalog.taxonomy import Taxonomy
from measure.calibration import expected_calibration_error
from rag.index import Index
from rag.ngram import NgramEncoder
from rag.retrieve import shortlist
from rag.vote import RetrievalOptions, Vote

pytestmark = pytest.mark.filterwarnings("error")

SCHEMA = PRESETS["indoml"]
WORDS = ("milk", "whole", "cider", "tea", "2l", "bread", "acme", "zeta")
LABELS = ("a__b__c__acme", "a__b__c__zeta", "a__b__d__acme", "e__f__g__own", "e__f__h__zeta")


@pytest.fixture(scope="module")
def encoder() -> NgramEncoder:
    encoder = NgramEncoder()
    encoder.fit(WORDS)
    return encoder


def build(products: Products, encoder: NgramEncoder) -> Index:
    products = products.take(sorted(range(len(products)), key=lambda row: products.retailers[row]))
    return Index(encoder, encoder.encode(products.texts), products, SCHEMA)


def candidates(index: Index, vote: Vote, queries: Products, limit: int = 20):
    options = vote.options
    found = shortlist(
        index,
        index.encoder.encode(queries.texts),
        queries,
        filter_by=options.filter_by,
        enough=options.top_k,
        price_band=options.price_band,
    )
    return vote.candidates(index, vote.neighbours(index, found, queries.prices), limit)


texts = st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join)
prices = st.sampled_from([math.nan, 0.0, 1.0, 2.0, 30.0])
rows = st.tuples(texts, st.sampled_from(["x", "y", ""]), prices, st.sampled_from(LABELS))


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(rows, min_size=1, max_size=25),
    asked=st.lists(rows, min_size=1, max_size=3),
    options=st.builds(
        RetrievalOptions,
        st.integers(1, 30),
        st.sampled_from(["retailer", "prefer", "none"]),
        st.sampled_from([None, 1.5]),
        st.sampled_from(["path", "brand-free"]),
    ),
    limit=st.integers(1, 6),
)
def test_candidates_are_valid_ordered_and_probable(encoder, make_products, rows, asked, options, limit) -> None:
    index = build(make_products(rows), encoder)
    vote = Vote.fit(index, options, seed=0)
    for paths, chances in candidates(index, vote, make_products(asked), limit):
        assert 1 <= len(paths) == len(chances) <= limit
        assert len(set(paths)) == len(paths)
        assert all(index.taxonomy.is_valid(path, options.policy) for path in paths)
        assert all(0 <= chance <= 1 for chance in chances)
        assert chances == sorted(chances, reverse=True)


def test_path_gives_seen_paths_and_brand_free_new_pairs(encoder, make_products) -> None:
    train = make_products(
        [("acme milk", "x", 1.0, "a__b__milk__acme")] * 6
        + [("acme cider", "x", 1.0, "a__b__cider__acme")] * 6
        + [("zeta milk", "x", 1.0, "a__b__milk__zeta")] * 6
    )
    index, query = build(train, encoder), make_products([("zeta cider", "x", 1.0, "a__b__cider__zeta")])
    new = ("a", "b", "cider", "zeta")
    for policy in ("path", "brand-free"):
        vote = Vote(RetrievalOptions(18, "none", None, policy), sharpness=1.0)
        ((paths, _),) = candidates(index, vote, query)
        assert (new in paths) == (policy == "brand-free")
        assert new not in index.taxonomy.counts
        assert {("a", "b", "cider", "acme"), ("a", "b", "milk", "zeta")} <= set(paths)


def test_a_bonus_favours_seen_pairs(encoder, make_products) -> None:
    train = make_products([("acme milk", "x", 1.0, "a__b__milk__acme"), ("zeta cider", "x", 1.0, "a__b__cider__zeta")])
    index, query = build(train, encoder), make_products([("acme cider", "x", 1.0, "a__b__cider__acme")])
    options = RetrievalOptions(2, "none", None, "brand-free")
    ((plain, _),) = candidates(index, Vote(options, seen_bonus=1.0), query)
    assert len(plain) == 4
    ((favoured, _),) = candidates(index, Vote(options, seen_bonus=100.0), query)
    assert set(favoured[:2]) == set(index.taxonomy.paths)


def test_one_level_is_voted_for_as_a_whole() -> None:
    schema = Schema("grades", "id", ("text",), ("grade",))
    encoder = NgramEncoder()
    encoder.fit(WORDS)
    texts = ["milk", "whole milk", "tea", "tea 2l"]
    train = Products([1, 2, 3, 4], {"text": texts}, [""] * 4, np.full(4, np.nan), [("m",), ("m",), ("t",), ("t",)])
    index = Index(encoder, encoder.encode(texts), train, schema)
    for policy in ("path", "brand-free"):
        vote = Vote.fit(index, RetrievalOptions(2, "retailer", None, policy), seed=0)
        query = Products([9], {"text": ["milk 2l"]}, [""], np.full(1, np.nan))
        ((paths, _),) = candidates(index, vote, query)
        assert paths[0] == ("m",)


def test_what_resembles_nothing_gets_the_most_frequent_path(encoder, make_products) -> None:
    train = make_products(
        [("tea", "x", 1.0, LABELS[3]), ("milk", "x", 1.0, LABELS[0]), ("milk 2l", "x", 1.0, LABELS[0])]
    )
    index = build(train, encoder)
    vote = Vote.fit(index, RetrievalOptions(), seed=0)
    for text in ("", "%%%%%"):
        ((paths, chances),) = candidates(index, vote, make_products([(text, "x", 1.0, LABELS[0])]))
        assert paths == [("a", "b", "c", "acme")]
        assert 0 <= chances[0] <= 1


@pytest.mark.parametrize("filter_by", ["retailer", "prefer", "none"])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_few_rows_of_one_class(encoder, make_products, rows: int, filter_by: str) -> None:
    index = build(make_products([("milk", "x", 1.0, LABELS[0])] * rows), encoder)
    vote = Vote.fit(index, RetrievalOptions(5, filter_by), seed=0)
    for paths, chances in candidates(
        index, vote, make_products([("milk", "x", 1.0, LABELS[0]), ("", "", 1.0, LABELS[0])])
    ):
        assert paths == [("a", "b", "c", "acme")]
        assert 0 < chances[0] <= 1


def test_a_held_out_row_does_not_make_its_own_path_a_seen_one(encoder, make_products) -> None:
    """Under ``path`` a path that one row alone has cannot be found for that row, as it could not for a new one."""
    train = make_products(
        [("acme cider", "x", 1.0, "a__b__cider__acme")] * 4
        + [("zeta milk", "x", 1.0, "a__b__milk__zeta")] * 4
        + [("acme milk", "x", 1.0, "a__b__milk__acme")]
    )
    index = build(train, encoder)
    vote = Vote(RetrievalOptions(8, "none"))
    vectors = index.vectors.take(np.array([8]))
    found = shortlist(index, vectors, index.products.take([8]), filter_by="none", enough=9)
    found.rows[found.rows == 8] = -1
    near = vote.neighbours(index, found, index.products.prices[[8]])
    new = ("a", "b", "milk", "acme")
    assert new in vote._shares(index, near, 0)
    assert new not in vote._shares(index, near, 0, new)
    assert ("a", "b", "cider", "acme") in vote._shares(index, near, 0, ("a", "b", "cider", "acme"))


def test_every_held_out_row_wrong(encoder, make_products) -> None:
    """Each class is there once: nothing held out can be right, and the vote must not promise that it is."""
    train = make_products([(word, "x", 1.0, f"a__b__c__{word}") for word in WORDS])
    index = build(train, encoder)
    vote = Vote.fit(index, RetrievalOptions(), seed=0)
    for paths, chances in candidates(index, vote, make_products([("milk whole", "x", 1.0, LABELS[0])])):
        assert paths[0][-1] in {"milk", "whole"}
        assert 0 <= chances[0] <= 0.5


@pytest.fixture(scope="module")
def market() -> tuple[Index, Products]:
    (rows,) = sample_products(2000, seed=3)
    return Index.build(rows.take(range(1400)), SCHEMA, NgramEncoder()), rows.take(range(1400, 2000))


@pytest.fixture(autouse=True)
def _fewer_rows_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rag.vote, "HELD_OUT_ROWS", 500)


@pytest.mark.parametrize("policy", ["path", "brand-free"])
def test_probabilities_are_calibrated_on_rows_held_out(market, policy: str) -> None:
    index, held = market
    vote = Vote.fit(index, RetrievalOptions(policy=policy), seed=0)
    found = candidates(index, vote, held)
    top = np.array([chances[0] for _, chances in found])
    right = np.array([paths[0] == label for (paths, _), label in zip(found, held.labels, strict=True)])
    assert abs(top.mean() - right.mean()) < 0.08
    assert expected_calibration_error(top, right) < 0.1
    sure = top >= np.quantile(top, 0.8)
    assert right[sure].mean() > right.mean() + 0.15
    valid = Taxonomy.from_labels(index.labels, SCHEMA.levels)
    assert all(valid.is_valid(paths[0], policy) for paths, _ in found)


def test_the_fit_depends_on_the_seed_alone(market) -> None:
    index, _ = market
    one, other = (Vote.fit(index, RetrievalOptions(), seed=seed).to_dict() for seed in (4, 4))
    assert one == other


def test_a_vote_goes_through_json(market) -> None:
    index, held = market
    vote = Vote.fit(index, RetrievalOptions(7, "retailer", 2.0, "brand-free"), seed=1)
    assert vote.calibrator is not None
    again = Vote.from_dict(json.loads(json.dumps(vote.to_dict())))
    assert again.options == vote.options
    queries = held.take(range(60))
    assert candidates(index, again, queries) == candidates(index, vote, queries)


def test_a_vote_that_was_not_fitted_gives_shares(encoder, make_products) -> None:
    index = build(make_products([("milk", "x", 1.0, LABELS[0]), ("milk", "x", 1.0, LABELS[1])]), encoder)
    vote = Vote(RetrievalOptions(2))
    ((paths, chances),) = candidates(index, vote, make_products([("milk", "x", 1.0, LABELS[0])]))
    assert paths == [("a", "b", "c", "acme"), ("a", "b", "c", "zeta")]
    assert chances == pytest.approx([0.5, 0.5])
    again = Vote.from_dict(vote.to_dict())
    assert candidates(index, again, make_products([("milk", "x", 1.0, LABELS[0])])) == [(paths, chances)]
