from itertools import islice, pairwise, permutations

import pytest

from postprocess.orders import NOBODY, best_orders

EVERY = 10**6
VALUES = [{0: 3.0, 1: 1.0, 2: 0.5}, {0: 2.0, 1: 2.5, 2: 0.0}, {0: 0.0, 1: 1.5, 2: 1.0}]


def orders(worth, **changed):
    asked = {"left_out": 0, "above": float("-inf"), "turned": 0.0, "in_order": False, "most": EVERY} | changed
    return list(best_orders(worth, **asked))


def total(worth, order, turned=0.0):
    placed = [value for value in order if value != NOBODY]
    cost = turned * sum(one > other for one, other in pairwise(placed))
    return sum(level[value] for level, value in zip(worth, order, strict=True)) - cost


@pytest.mark.parametrize("turned", [0.0, 0.75])
def test_every_order_comes_once_and_the_best_first(turned):
    found = orders(VALUES, turned=turned)
    assert found == sorted(permutations(range(3)), key=lambda order: (-total(VALUES, order, turned), order))


def test_only_orders_worth_more_are_made():
    assert orders(VALUES, above=5.0) == [(0, 1, 2), (0, 2, 1)][: sum(total(VALUES, o) > 5.0 for o in [(0, 1, 2)])]
    assert orders(VALUES, above=7.0) == []


def test_levels_without_a_value():
    worth = [{NOBODY: 0.0, 0: 1.0, 1: 2.0}, {NOBODY: 0.0, 0: 3.0, 1: 0.5}, {NOBODY: 0.0, 0: 0.0, 1: 1.5}]
    found = orders(worth, left_out=1)
    assert len(found) == 6
    assert all(order.count(NOBODY) == 1 and {0, 1} <= set(order) for order in found)
    assert found[0] == (1, 0, NOBODY)
    assert all(order.index(0) < order.index(1) for order in orders(worth, left_out=1, in_order=True))


def test_the_best_of_a_million_orders_is_found_in_a_few_steps():
    levels = range(10)  # 3,628,800 orders, all worth the same but the one where each value is at home
    worth = [{value: float(value == level) for value in levels} for level in levels]
    assert orders(worth, most=11) == [tuple(levels)]
    alike = [dict.fromkeys(levels, 1.0) for _ in levels]
    assert orders(alike, most=11) == [tuple(levels)]


@pytest.mark.parametrize("most", [0, 1, 10, 100])
def test_no_more_steps_are_taken_than_are_allowed(most):
    class Counted(dict):
        looked = 0

        def items(self):
            type(self).looked += 1
            return super().items()

    worth = [Counted({value: 1.0 / (1 + value + level) for value in range(9)}) for level in range(9)]
    assert len(orders(worth, most=most)) <= most
    assert Counted.looked == 9
    assert len(list(islice(best_orders(worth, left_out=0, above=0.0, turned=0.1, in_order=False, most=most), 6))) <= 6
