"""The numbers where the labels are known."""

import math

import numpy as np
import pytest

from catalog.taxonomy import Taxonomy
from classify.report.answered import Answered
from classify.report.figures import figures, telling
from classify.report.page import _tenths
from measure.coverage import coverage_curve

LEVELS = ("supergroup", "group", "module", "brand")
A, B = ("a", "b", "c", "d"), ("a", "b", "c", "e")


@pytest.fixture
def answered(make_run):
    def make(rows, **changes):
        return Answered.read(make_run(rows=rows, **changes))

    return make


def test_by_hand(answered, row):
    rows = [row("x", A, A, 0.9)] * 4 + [row("y", B, A, 0.3), row("z", ("", "", "", ""), B, 0.1, "abstained")]
    found = figures(answered(rows), Taxonomy(LEVELS, {A: 7, B: 1}))
    assert found.scores.item_accuracy == pytest.approx(4 / 6)
    assert [level.right for level in found.levels] == [5, 5, 5, 4]
    assert [(group.name, group.rows, group.right) for group in found.frequencies] == [("once", 1, 0), ("5 to 9", 5, 4)]
    assert sum(part.rows for part in found.reliability) == found.curve[-1].rows == 5  # of those that are answered
    assert found.surest[0][1].rows == 4
    assert [pair.rows for pair in found.confusions[3]] == [1]
    assert found.mistakes == [4]
    assert found.wrong_at.tolist() == [4, 4, 4, 4, 3, 0]
    assert found.valid == 1  # what was left open is not wrong, nor does it count for a confidence
    assert found.frequencies[0].confidence is None


def test_the_points_nearest_to_each_tenth():
    for rows in (1, 2, 5, 60, 1000):
        points = [point.share for point in _tenths(coverage_curve(np.linspace(0, 1, rows), [True] * rows))]
        assert points == sorted(set(points))
        assert len(points) == min(10, rows)
        assert points[-1] == 1


def test_prices_are_cut_into_fifths(answered, row):
    taken = answered([row("x", A, A)] * 60)
    found = figures(taken, Taxonomy(LEVELS, {A: 1})).prices
    assert sum(group.rows for group in found) == 60
    assert found[-1].name == "(no price)"
    assert found[-1].rows == 10
    assert [group.name for group in found[:2]] == ["0.99 to 0.99", "2.50 to 2.50"]
    taken.prices[:] = math.nan
    assert figures(taken, Taxonomy(LEVELS, {A: 1})).prices == []


def test_many_retailers(answered, row):
    taken = answered([row("x", A, A)] * 60)
    taken.retailers[:] = [f"shop {min(at, 40)}" for at in range(60)]
    found = figures(taken, Taxonomy(LEVELS, {A: 1})).retailers
    assert len(found) == 20
    assert (found[0].name, found[0].rows) == ("shop 40", 20)
    assert (found[-1].name, found[-1].rows) == ("(22 others)", 22)
    taken.retailers[:] = [""] * 60
    assert figures(taken, Taxonomy(LEVELS, {A: 1})).retailers == []


def test_telling_mistakes_are_of_many_kinds(answered, row):
    # Thirty of one kind that are the surest, and three of others.
    rows = [row("x", B, A, 0.99)] * 30
    rows += [row("y", ("q", "b", "c", "d"), ("a", "b", "c", f"{at}"), 0.5 - at / 10) for at in range(3)]
    taken = answered(rows)
    wrong_at = np.array([3] * 30 + [0] * 3)
    chosen = telling(taken, wrong_at, most=5)
    assert len(chosen) == len(set(chosen)) == 5
    assert 0 in chosen
    assert 30 in chosen
    assert sum(row < 30 for row in chosen) < 5
    assert [taken.confidence[row] for row in chosen] == sorted((taken.confidence[row] for row in chosen), reverse=True)
    assert len(telling(taken, wrong_at)) == 20
