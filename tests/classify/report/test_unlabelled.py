"""The numbers where no labels are known."""

import numpy as np
import pytest

from catalog.taxonomy import Taxonomy
from classify.report.answered import Answered
from classify.report.page import write_report
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


def test_rows_left_open_do_not_count(make_run, row):
    rows = [row("x", A, A, 0.9)] * 2 + [row("x", B, B, 0.6), row("x", ("a", "b", "", ""), A, 0.2, "abstained")]
    rows += [row("x", ("", "", "", ""), A, 0.1, "abstained")]
    run = make_run(rows=rows, labels=False, requests=False, level_confidence=True)
    found = glance(Answered.read(run), TAXONOMY)
    assert (found.answered, found.confidence) == (3, pytest.approx(0.8))
    assert [level.rows for level in found.levels] == [4, 4, 3, 3]
    assert found.levels[3].mean == pytest.approx(0.8)
    assert sum(count for _, _, count in found.histogram) == 3
    assert found.surest + found.doubtful == [0, 2, 2, 0]
    assert [(one.share, one.confidence) for one in found.shifts[0]] == [
        (0.75, pytest.approx(0.9)),
        (0.25, pytest.approx(0.6)),
    ]
    assert found.left_open == [1, 1, 2, 2]
    text = write_report(run).read_text()
    assert "the share of the answered rows to expect right" in text
    assert "20.0% of all" in text


def test_likeness_is_of_any_case(make_run, row):
    run = make_run(rows=[row("toff giant", A, A)] * 2, labels=False)
    file = run.folder / "requests.jsonl"
    file.write_text(file.read_text().replace("toff giant like 0", "TOFF | GIANT"))
    found = glance(Answered.read(run), TAXONOMY)
    assert found.unlike == [(1, pytest.approx(2 * 10 / 22, abs=0.01))]
    assert found.alone == 1
