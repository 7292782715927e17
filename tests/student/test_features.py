import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from student.features import Encoder, _Substrings, cents, normalise, skeletons

NOTHING = np.array([math.nan]), np.array([-1])


def test_normalise_keeps_words_and_drops_what_shops_write_differently() -> None:
    assert normalise(["Arnott's  TIM-TAM\n200g.", "", "Crème & Tea"]) == ["arnotts tim tam 200g", "", "crème tea"]


def test_skeletons_are_what_receipts_write() -> None:
    assert skeletons(["katoomba butter", "", "ice aa"]) == ["ktmb btr", "", "ic a"]


@given(st.lists(st.text(max_size=40), min_size=1, max_size=6))
def test_a_row_is_encoded_the_same_alone_and_among_others(texts: list[str]) -> None:
    encoder = Encoder.fit(texts)
    count = len(texts)
    together = encoder.encode(normalise(texts), np.full(count, math.nan), np.full(count, -1))
    for row, text in enumerate(texts):
        assert abs(together[row] - encoder.encode(normalise([text]), *NOTHING)).max() <= 1e-6
    assert np.isfinite(together.data).all()


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_lines_stay_lines(texts: list[str]) -> None:
    assert len(normalise(texts)) == len(skeletons(normalise(texts))) == len(texts)


def test_text_has_length_one_and_empty_text_none() -> None:
    encoder = Encoder.fit(["whole milk 2l", "rye bread"])
    rows = encoder.encode(["whole milk 2l", ""], np.full(2, math.nan), np.full(2, -1)).toarray()
    assert np.linalg.norm(rows[0]) == pytest.approx(1, abs=0.1)  # buckets may collide
    assert not rows[1].any()


def test_words_far_apart_make_pairs_in_either_order() -> None:
    lines = _Substrings(["mint fresh pot", "pot old mint", "pot", "mint"])
    rows, hashes = lines.word_pairs(4)
    found = [set(hashes[rows == row].tolist()) for row in range(4)]
    assert [len(pairs) for pairs in found] == [3, 3, 0, 0]  # no pair reaches into the next line
    assert len(found[0] & found[1]) == 1


def test_price_and_shop_are_in_the_encoding() -> None:
    encoder = Encoder.fit(["milk"])
    lines, prices = ["milk"] * 4, np.array([2.0, 2.0, 50.0, 2.0])
    same, again, dear, elsewhere = encoder.encode(lines, prices, np.array([0, 0, 0, 1])).toarray()
    np.testing.assert_array_equal(same, again)
    assert same @ again > same @ elsewhere
    assert same @ again > same @ dear


def test_cents_are_whole_and_unknown_is_marked() -> None:
    assert cents(np.array([1.1, math.nan, 0.0, 1e300])).tolist() == [110, -1, 0, 10**10]
