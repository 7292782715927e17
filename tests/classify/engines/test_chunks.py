"""Requests in chunks: whatever the limits, each line comes out once, in order."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.messages import Request
from classify.engines import chunks
from classify.engines.base import ModelOptions
from classify.engines.batch_files import request_line
from classify.engines.chunks import ChunkWriter, chunk_lines, options_hash, some_lines
from classify.engines.ledger import Ledger
from classify.token_counts import TokenCounts

COUNTS = TokenCounts("letters", True, len)
OPTIONS = ModelOptions(llm="m", constrain="off")


def line(number: int, text: str = "shoe") -> bytes:
    request = Request(f"row-{number}", [{"role": "user", "content": text}], max_tokens=8)
    return request_line(request, OPTIONS, None, logprobs=False)


def written(folder: Path, lines: list[bytes], **limits: float) -> Ledger:
    """Enter the lines as chunks."""
    with Ledger.writing(folder) as books:
        writer = ChunkWriter(books, "o", COUNTS, written=None, **limits)
        for text in lines:
            writer.add(text)
        load = writer.load()
        writer.enter()
        assert sum(chunk.rows for chunk in books) == load.rows == len(lines)
    assert not list(folder.glob(".*"))
    return Ledger(folder)


def test_by_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "MOST_ROWS", 3)
    assert [chunk.rows for chunk in written(tmp_path, [line(row) for row in range(7)])] == [3, 3, 1]


def test_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line(row) for row in range(7)]
    monkeypatch.setattr(chunks, "MOST_BYTES", 2 * len(lines[0]))
    books = written(tmp_path, lines)
    assert [chunk.rows for chunk in books] == [2, 2, 2, 1]
    assert [chunk.size for chunk in books] == [books.requests(chunk).stat().st_size for chunk in books]


def test_by_tokens(tmp_path: Path) -> None:
    each = COUNTS.prompt([{"role": "user", "content": "shoe"}])[1]
    assert [chunk.rows for chunk in written(tmp_path, [line(row) for row in range(5)], most_tokens=2 * each)] == [
        2,
        2,
        1,
    ]


def test_a_request_beyond_every_limit_is_alone(tmp_path: Path) -> None:
    lines = [line(0), line(1, "x" * 500), line(2)]
    assert [chunk.rows for chunk in written(tmp_path, lines, most_tokens=100)] == [1, 1, 1]


@given(
    st.lists(st.text("aé\u2028\n🍫", max_size=12), min_size=1, max_size=20),
    st.integers(1, 6),
    st.integers(1, 2000),
    st.integers(1, 80),
)
def test_each_line_comes_out_once_in_order(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], rows: int, size: int, tokens: int
) -> None:
    lines = [line(number, text) for number, text in enumerate(texts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "MOST_ROWS", rows)
        patch.setattr(chunks, "MOST_BYTES", size)
        books = written(tmp_path_factory.mktemp("chunks"), lines, most_tokens=tokens)
    found = [text for chunk in books for _, text in chunk_lines(books, chunk)]
    assert found == lines
    for chunk in books:
        assert chunk.rows <= rows
        assert chunk.rows == 1 or (chunk.size <= size and chunk.load.most_read <= tokens)
        assert chunk.load.most_written == 8 * chunk.rows


def test_the_load_holds_the_schema_of_answers(tmp_path: Path) -> None:
    candidates = [("food", "milk"), ("food", "tea")]
    request = Request("a", [{"role": "user", "content": "shoe"}], candidates, [0.5, 0.5])
    bare, held = (
        next(iter(written(tmp_path / how, [request_line(request, ModelOptions(llm="m", constrain=how), None)])))
        for how in ("off", "json")
    )
    assert held.load.most_read > bare.load.most_read + len("food__milk")


def test_what_is_not_entered_leaves_nothing(tmp_path: Path) -> None:
    with Ledger.writing(tmp_path) as books:
        writer = ChunkWriter(books, "o", COUNTS, written=2.0)
        writer.add(line(0))
        writer.discard()
        writer.enter()
        assert not books.chunks
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.jsonl"]


def test_some_lines_of_a_chunk(tmp_path: Path) -> None:
    books = written(tmp_path, [line(row) for row in range(5)])
    found = some_lines(books, books.chunks[1], ["row-3", "row-1", "row-9"])
    assert [json.loads(text)["custom_id"] for text in found] == ["row-1", "row-3"]


def test_what_answers_hang_on() -> None:
    assert options_hash({"a": 1, "b": 2}) == options_hash({"b": 2, "a": 1})
    assert options_hash({"a": 1}) != options_hash({"a": 2})
