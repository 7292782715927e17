import io
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from catalog.errors import ShelfmarkError
from submissions.scoreboard import (
    add_row,
    best,
    read_scoreboard,
    record_score,
    scoreboard_table,
)

MOMENT = datetime(2024, 9, 1, 12, 30, 5, 999, tzinfo=timezone(timedelta(hours=2)))
HEADER = "number,score,file_name,date_time,size_bytes,status\n"


def _clock() -> datetime:
    return MOMENT


@pytest.fixture
def board(tmp_path):
    """A scoreboard with three submissions, of which two have the same name."""
    path = tmp_path / "runs" / "scoreboard.csv"
    for name, size in (("rag", 100), ("tree", 200), ("rag", 300)):
        add_row(path, name, size, now=_clock)
    return path


def test_rows_as_they_stand_in_the_file(board) -> None:
    record_score(board, 0.4823, "tree")
    assert board.read_text(encoding="utf-8") == (
        HEADER
        + "1,,rag.zip,2024-09-01T10:30:05+00:00,100,ready\n"
        + "2,0.4823,tree.zip,2024-09-01T10:30:05+00:00,200,scored\n"
        + "3,,rag.zip,2024-09-01T10:30:05+00:00,300,ready\n"
    )
    rows = read_scoreboard(board)
    assert [row.number for row in rows] == [1, 2, 3]
    assert rows[1].date_time == datetime(2024, 9, 1, 10, 30, 5, tzinfo=UTC)
    assert (rows[1].score, rows[1].size_bytes, rows[1].status) == (0.4823, 200, "scored")


def test_no_scoreboard_has_no_rows(tmp_path) -> None:
    assert read_scoreboard(tmp_path / "scoreboard.csv") == []
    assert best([]) is None


def test_the_newest_row_of_a_name_gets_the_score(board) -> None:
    assert record_score(board, 0.0, of="rag.zip").number == 3
    assert [row.score for row in read_scoreboard(board)] == [None, None, 0.0]
    assert record_score(board, 0.5, of="rag").score == 0.5
    assert [row.score for row in read_scoreboard(board)] == [None, None, 0.5]


def test_a_failure_that_a_person_typed_is_no_score(board) -> None:
    board.write_text(board.read_text().replace(",ready", ",failed"))
    assert {row.status for row in read_scoreboard(board)} == {"failed"}
    assert best(read_scoreboard(board)) is None


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(score=st.floats(allow_nan=False, allow_infinity=False))
def test_scores_come_back_exactly(board, score) -> None:
    record_score(board, score, of="tree")
    assert read_scoreboard(board)[1].score == score


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_is_a_finite_number(board, score) -> None:
    before = board.read_bytes()
    with pytest.raises(ShelfmarkError, match="not a finite number"):
        record_score(board, score, of="rag")
    assert board.read_bytes() == before


def test_an_unknown_name_shows_the_near_ones(board, tmp_path) -> None:
    with pytest.raises(ShelfmarkError, match=r"called 'tre' \(did you mean 'tree'\?\); newest: rag, tree$"):
        record_score(board, 0.5, of="tre")
    with pytest.raises(ShelfmarkError, match="no such scoreboard"):
        record_score(tmp_path / "none" / "scoreboard.csv", 0.5, of="rag")
    assert not (tmp_path / "none").exists()


def test_a_bad_name_adds_nothing(board) -> None:
    before = board.read_bytes()
    with pytest.raises(ShelfmarkError, match="cannot be used"):
        add_row(board, "a,b", 1)
    assert board.read_bytes() == before


def test_best_is_the_earliest_of_equals(board) -> None:
    for name, score in (("tree", 0.5), ("rag", 0.5)):
        record_score(board, score, of=name)
    assert best(read_scoreboard(board)).number == 2
    record_score(board, 0.6, of="rag")
    assert best(read_scoreboard(board)).number == 3


def test_a_row_typed_by_hand_is_read(tmp_path) -> None:
    path = tmp_path / "scoreboard.csv"
    path.write_bytes(b"\xef\xbb\xbf" + HEADER.encode() + b"7,5.4e-06,my file.zip,2024-08-30 09:00,12,scored\r\n")
    (row,) = read_scoreboard(path)
    assert (row.number, row.score, row.file_name) == (7, 5.4e-06, "my file.zip")
    assert row.date_time == datetime(2024, 8, 30, 9, tzinfo=UTC)
    assert add_row(path, "next", 1).number == 8


GOOD = "1,0.5,a.zip,2024-09-01T10:30:05+00:00,100,scored\n"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "no rows"),
        (HEADER, "no rows"),
        ("number,score\n1,2\n", "no column 'file_name'"),
        (HEADER + GOOD + "x,,a.zip,2024-09-01,1,ready\n", "line 3, column 'number'"),
        (HEADER + GOOD + GOOD, "line 3, column 'number': 1 after 1"),
        (HEADER + GOOD.replace("0.5", "good"), "'good' is not a finite number"),
        (HEADER + GOOD.replace("0.5", "nan"), "'nan' is not a finite number"),
        (HEADER + GOOD.replace("2024-09", "9/2024"), "not a date and time"),
        (HEADER + GOOD.replace(",100,", ",-1,"), "not a size"),
        (HEADER + GOOD.replace("scored", "lost"), "'lost' is not one of ready, scored, failed"),
        (HEADER + GOOD[:20], "fields where the header has 6"),
        (HEADER + '1,"', "line 2"),
        ("\x00\xff", "not UTF-8"),
    ],
)
def test_a_damaged_scoreboard_is_one_line_and_stays_as_it_is(tmp_path, content, part) -> None:
    path = tmp_path / "scoreboard.csv"
    path.write_bytes(content.encode("latin-1"))
    for act in (lambda: read_scoreboard(path), lambda: add_row(path, "a", 1), lambda: record_score(path, 1, "a")):
        with pytest.raises(ShelfmarkError) as caught:
            act()
        assert part in str(caught.value)
        assert "scoreboard.csv" in str(caught.value)
        assert "move it away" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == content.encode("latin-1")


def test_many_at_once_lose_nothing(tmp_path) -> None:
    path = tmp_path / "scoreboard.csv"
    threads = [threading.Thread(target=add_row, args=(path, f"run-{n}", n)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = read_scoreboard(path)
    assert [row.number for row in rows] == list(range(1, 17))
    assert {row.file_name for row in rows} == {f"run-{n}.zip" for n in range(16)}


def test_the_table_stars_the_best_row(board) -> None:
    record_score(board, 0.41, of="tree")
    record_score(board, 0.4, of="rag")
    rows = read_scoreboard(board)
    stream = io.StringIO()
    Console(file=stream, width=120).print(scoreboard_table(rows))
    lines = stream.getvalue().splitlines()
    (starred,) = [line for line in lines if "*" in line]
    assert "0.41" in starred
    assert "tree.zip" in starred
    assert "2024-09-01 10:30:05" in starred
    assert sum(".zip" in line for line in lines) == 3


def test_square_brackets_are_no_markup(tmp_path) -> None:
    path = tmp_path / "scoreboard.csv"
    path.write_text(HEADER + GOOD.replace("a.zip", "[red]a.zip"), encoding="utf-8")
    stream = io.StringIO()
    Console(file=stream, width=120).print(scoreboard_table(read_scoreboard(path)))
    assert "[red]a.zip" in stream.getvalue()
