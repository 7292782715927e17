"""Runs compared: what one wins of the other and loses, and which runs cannot be compared."""

import pytest

from catalog.errors import ShelfmarkError
from classify.report.page import write_comparison
from classify.run import Run
from tests.classify.report.reading import checked


def test_runs_compared(make_run, row, shelf_rows):
    first, rows = make_run("first"), shelf_rows()
    rows[1:4] = [row(one.text, one.truth, one.truth, 0.8) for one in rows[1:4]]
    rows[0] = row(rows[0].text, ("food", "x", "y", "z"), rows[0].truth, 0.7)
    place = write_comparison([first, make_run("second", rows), make_run("third")])
    assert place == first.folder.parent / "comparison.html"
    page = checked(place)
    assert "3 rows won, 1 lost: +3.3% item accuracy (95% paired interval" in page.text
    assert "0 rows won, 0 lost" in page.text
    assert "Ids of rows that are won All 3, in input order: 101 , 102 , 103" in page.text
    assert "Commands" in page.text
    assert (
        place.read_bytes()
        == write_comparison(
            [Run.open(first.folder.parent / name) for name in ("first", "second", "third")]
        ).read_bytes()
    )


def test_runs_compared_without_labels(make_run, tmp_path, row, shelf_rows):
    rows = shelf_rows()
    rows[5] = row(rows[5].text, ("other", "x", "y", "z"), rows[5].truth)
    runs = [make_run("first", labels=False), make_run("second", rows, labels=False)]
    page = checked(write_comparison(runs, out=tmp_path / "c.html"))
    assert "1 of 60 rows have another label path (1.7%)" in page.text
    assert page.labels == []
    # Labels beside the test file of one of them are those of both.
    known = make_run("known")
    assert "rows won" in checked(write_comparison([runs[0], known])).text


def test_levels_left_open_are_not_marked_as_wrong(make_run, row):
    good, part = ("a", "b", "c", "d"), ("a", "b", "", "")
    before = make_run("before", [row("x", good, good), row("y", ("a", "b", "x", "d"), good)])
    after = make_run("after", [row("x", part, good, 0.2, "abstained"), row("y", good, good)])
    page = checked(write_comparison([before, after]))
    assert "1 lost (1 of these left open)" in page.text
    assert "– left open" in page.text
    assert "(left open)" not in page.text
    assert page.text.count("wrong: x") == 1


def test_runs_that_hold_other_labels(make_run, tmp_path):
    first, second = make_run("first"), make_run("second")
    labels = second.folder / "inputs" / "test.labels"
    labels.write_text(labels.read_text().replace('"food"', '"feed"', 1))
    with pytest.raises(ShelfmarkError, match=r"second: it holds other labels than .*first; say with --labels"):
        write_comparison([first, second])
    write_comparison([first, second], labels)


def test_runs_of_other_rows(make_run, row, shelf_rows):
    first = make_run("first")
    other = [row("another text", one.predicted, one.truth) for one in shelf_rows()]
    for second in (make_run("second", other), make_run("third", shelf_rows(30))):
        with pytest.raises(ShelfmarkError, match=r"of another test file than .*first"):
            write_comparison([first, second])
