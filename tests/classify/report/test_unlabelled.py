"""The numbers where no labels are known."""

import numpy as np
import pytest

from catalog.taxonomy import Taxonomy
from classify.report.answered import Answered
from classify.report.unlabelled import glance

LEVELS = ("supergroup", "group", "module", "brand")
A, B = ("a", "b", "c", "d"), ("q", "r", "s", "t")
TAXONOMY = Taxonomy(LEVELS, {A: 3, B: 1})


def test_by_hand(make_run, row):
    rows = [row("xyz", A, A, 0.9)] * 3 + [row("some words", B, B, 0.2)]
    found = glance(Answered.read(make_run(rows=rows, labels=False)), TAXONOMY)
    (first, second) = found.shifts[0]
    assert (first.name, first.rows, first.share, first.training) == ("a", 3, 0.75, 0.75)
    assert second.confidence == pytest.approx(0.2)
    assert sum(count for _, _, count in found.histogram) == 4
    assert found.histogram[18][2] == 3
    assert found.surest == [0, 3]
    assert found.doubtful == [3, 0]
    # One candidate is the answer, the other is the truth, which is the same here.
    assert found.at_least
    assert [level.middle for level in found.levels] == pytest.approx([0.91] * 4)
    # The first row shows no neighbours; the others show "text like N".
    assert [at for at, _ in found.unlike] == [1, 2, 3]
    assert found.unlike[0][1] == pytest.approx(2 * 3 / 13, abs=0.01)


def test_a_strategy_that_tells_its_levels(make_run, row):
    run = make_run(rows=[row("x", A, A, 0.5)], level_confidence=True, requests=False, labels=False)
    found = glance(Answered.read(run), TAXONOMY)
    assert [level.mean for level in found.levels] == pytest.approx([0.56, 0.54, 0.52, 0.5])
    assert not found.at_least
    assert found.unlike == found.unlike_shares == []
    assert not np.isnan([level.low for level in found.levels]).any()


def test_where_a_model_had_the_last_word(make_run, row):
    run = make_run(rows=[row("x", A, A, 0.5)], answers=True, labels=False)
    assert [level.name for level in glance(Answered.read(run), TAXONOMY).levels] == ["whole path"]
