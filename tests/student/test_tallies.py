import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from student.tallies import PriceSums

values = st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=8)


@given(values)
def test_a_row_is_weighed_by_the_prices_of_the_others(prices: list[float]) -> None:
    price = np.array(prices, dtype=np.float32)
    ones, classes = np.ones(len(price), dtype=np.float32), np.zeros(len(price), dtype=np.int64)
    whole = PriceSums.of(classes, ones, price, 1)
    rest = PriceSums.of(classes[1:], ones[1:], price[1:], 1)
    told = whole.fit_of(classes[:1], price[:1], ones[:1])
    fresh = rest.fit_of(classes[:1], price[:1], 0 * ones[:1])
    for one, other in zip(told, fresh, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_a_usual_price_fits_better_than_an_odd_one() -> None:
    sums = PriceSums.of(
        np.zeros(4, dtype=np.int64), np.ones(4, np.float32), np.array([0, 0.1, -0.1, math.nan], np.float32), 2
    )
    fit, off = sums.fit_of(np.zeros(2, dtype=np.int64), np.array([0, 3], np.float32), np.zeros(2, np.float32))
    assert fit[0] > fit[1]
    assert off[1] == pytest.approx(3)


def test_no_price_says_nothing() -> None:
    sums = PriceSums.of(np.zeros(1, dtype=np.int64), np.ones(1, np.float32), np.array([math.nan], np.float32), 2)
    for price in (math.nan, 1.0):
        for told in sums.fit_of(np.array([0, 1]), np.full(2, price, np.float32), np.zeros(2, np.float32)):
            assert told.tolist() == [0, 0]
