"""The books of batches: every event, and what a killed process left."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import ShelfmarkError
from classify.costs import Budget, Load, load_prices
from classify.engines.books_report import books_report
from classify.engines.ledger import Chunk, Ledger, read_ledger

LOAD = Load(3, 30.0, 40.0, 6.0, 48.0)
ENDED = {"status": "completed", "turned_away": False, "usage": [25, 5], "reason": ""}
COUNTS = {"answers": 2, "refused": 1, "read": 25, "written": 5, "cut": 1}


def enter(books: Ledger, number: int = 1, *, again: bool = False) -> Chunk:
    about: dict[str, Any] = {"options": "o", "rows": 3, "size": 99, "again": again}
    books.write("chunk", number=number, digest=f"d{number}", load=vars(LOAD), **about)
    return books.chunks[number]


def end(books: Ledger, batch: str = "b", number: int = 1, **more: Any) -> None:
    books.write("ended", number=number, batch=batch, **{**ENDED, **more})


def states(chunk: Chunk) -> set[str]:
    return {name for name in ("waiting", "creating", "open", "done", "unread", "cancelled") if getattr(chunk, name)}


def test_the_life_of_a_chunk(tmp_path: Path) -> None:
    with Ledger.writing(tmp_path / "batches") as books:
        chunk = enter(books)
        assert "waiting" in states(chunk)
        assert not books.unsettled
        books.write("uploaded", number=1, file="f")
        assert chunk.file == "f"
        books.write("creating", number=1)
        assert books.unsettled
        books.write("not created", number=1)
        assert not books.unsettled
        books.write("creating", number=1)
        books.write("created", number=1, batch="b")
        assert states(chunk) == {"open"}
        assert books.known == {"b"}
        end(books)
        assert states(chunk) == {"done", "unread"}
        assert books.unsettled
        books.write("read", number=1, counts=COUNTS)
        assert states(chunk) == {"done"}
        assert not books.unsettled
    again = Ledger(tmp_path / "batches")
    assert again.chunks == books.chunks
    assert again.next_number() == 2


def test_a_chunk_that_was_turned_away_waits(tmp_path: Path) -> None:
    with Ledger.writing(tmp_path) as books:
        chunk = enter(books)
        books.write("created", number=1, batch="b")
        end(books, status="failed", turned_away=True, usage=None)
        assert chunk.waiting
        assert not chunk.done
        books.write("dropped", number=1)
        assert not chunk.waiting


def test_a_second_batch_opens_a_chunk_that_was_read(tmp_path: Path) -> None:
    with Ledger.writing(tmp_path) as books:
        chunk = enter(books)
        books.write("created", number=1, batch="b")
        end(books)
        books.write("read", number=1, counts=COUNTS)
        books.write("created", number=1, batch="c")
        assert chunk.open
        end(books, "c", status="cancelled")
        assert chunk.unread
        assert not chunk.cancelled  # the other was not
        assert books.known == {"b", "c"}


def test_what_was_given_up_was_so_at_a_time(tmp_path: Path) -> None:
    with Ledger.writing(tmp_path) as books:
        enter(books)
        books.write("gave up", ids=["a"])
        enter(books, 2)
    assert Ledger(tmp_path).given_up == {"a": 1}


def test_the_report(tmp_path: Path) -> None:
    price = load_prices().of("gpt-4o-mini")
    assert price is not None
    with Ledger.writing(tmp_path) as books:
        for number, again in ((1, False), (2, True), (3, False)):
            enter(books, number, again=again)
        books.write("dropped", number=3)
        books.write("created", number=1, batch="b")
        end(books)
        books.write("read", number=1, counts=COUNTS)
        books.write("created", number=2, batch="c")
        report = books_report(books, Budget(None, price, batch=True))
        unpriced = books_report(books, Budget(None, None, batch=True))
    assert report["batches"] == {"completed": 1, "sent": 1}
    assert report["estimate"] == [round(value, 6) for value in LOAD.dollars(price, batch=True)]
    assert report["cost"] == round(price.dollars(25, 5, batch=True), 6)
    assert (report["resent"], report["cut"], report["refused"], report["lost"]) == (3, 1, 1, 0)
    assert (unpriced["estimate"], unpriced["cost"], unpriced["billed_tokens"]) == (None, None, [25, 5])


def test_no_books(tmp_path: Path) -> None:
    assert read_ledger(tmp_path) is None
    (tmp_path / "batches").mkdir()
    assert read_ledger(tmp_path) is None


@given(st.data())
def test_a_torn_end_is_cut_off(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("books")
    with Ledger.writing(folder) as books:
        enter(books)
        books.write("uploaded", number=1, file="f")
        books.write("creating", number=1)
        books.write("created", number=1, batch="b")
    path = folder / "ledger.jsonl"
    whole = path.read_bytes()
    kept = whole[: data.draw(st.integers(0, len(whole)))]
    path.write_bytes(kept)
    with Ledger.writing(folder) as books:
        assert len(books.chunks) == ("\n" in kept.decode())
        enter(books, books.next_number())
    lines = path.read_bytes().splitlines()
    assert len(lines) == kept.count(b"\n") + 1
    assert all(json.loads(line) for line in lines)


def test_a_line_that_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").write_bytes(b'{"event": \n')
    with pytest.raises(ShelfmarkError, match=r"ledger\.jsonl, line 1: damaged"):
        Ledger(tmp_path)
