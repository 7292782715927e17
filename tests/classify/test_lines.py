import json
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import classify.lines
from catalog.errors import ShelfmarkError
from classify.lines import GrowingLines, count_lines, read_lines

values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")), st.lists)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.dictionaries(st.text(st.characters(codec="utf-8")), values, max_size=3), max_size=6))
def test_what_is_appended_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[dict]) -> None:
    path = tmp_path_factory.mktemp("lines") / "x.jsonl"
    with GrowingLines(path) as out:
        out.append(rows[:2])
        out.append(rows[2:])
        assert out.lines == len(rows)
    assert list(read_lines(path)) == rows
    assert count_lines(path) == len(rows)


def test_lines_are_there_as_soon_as_they_are_appended(tmp_path) -> None:
    path = tmp_path / "x.jsonl"
    out = GrowingLines(path)
    out.append([{"a": "ü\n"}])
    assert list(read_lines(path)) == [{"a": "ü\n"}]
    out.close()
    out.close()  # twice does no harm


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_last_line_is_cut_off(tmp_path, cut: int) -> None:
    path = tmp_path / "x.jsonl"
    whole = b'{"a": 1}\n{"a": 2}\n'
    path.write_bytes(whole + '{"a": "ü"}\n'.encode()[:cut])
    assert count_lines(path) == 2
    with GrowingLines(path) as out:
        assert out.lines == count_lines(path)
        out.append([{"a": 3}])
    assert list(read_lines(path)) == [{"a": 1}, {"a": 2}, {"a": 3}]


@pytest.mark.parametrize(("keep", "left"), [(None, 3), (0, 0), (2, 2), (9, 3)])
def test_keep(tmp_path, keep: int | None, left: int) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 0}\n{"a": 1}\n{"a": 2}\n')
    with GrowingLines(path, keep=keep) as out:
        assert out.lines == left
    assert [line["a"] for line in read_lines(path)] == list(range(left))


@pytest.mark.parametrize("keep", [None, 0, 1, 2, 3, 4, 9])
@pytest.mark.parametrize("tail", [b"", b"x", b"x" * 9])
def test_where_the_pieces_of_a_file_end_makes_no_difference(
    tmp_path, monkeypatch: pytest.MonkeyPatch, keep: int | None, tail: bytes
) -> None:
    monkeypatch.setattr(classify.lines, "_PIECE", 4)
    whole = [b"1\n", b"123\n", b"\n", b"123456789\n"]
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"".join(whole) + tail)
    assert count_lines(path) == 4
    with GrowingLines(path, keep=keep) as out:
        assert out.lines == min(4, 4 if keep is None else keep)
    assert path.read_bytes() == b"".join(whole[:keep])


def test_a_torn_line_as_long_as_the_disk_is_cut_off(tmp_path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": 1}\n')
    os.truncate(path, 1 << 28)
    tracemalloc.start()
    try:
        assert count_lines(path) == 1
        with GrowingLines(path) as out:
            assert out.lines == 1
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()
    assert path.read_bytes() == b'{"a": 1}\n'


def test_nan_is_never_written(tmp_path) -> None:
    with GrowingLines(tmp_path / "x.jsonl") as out, pytest.raises(ValueError, match="JSON"):
        out.append([{"a": float("nan")}])
    assert (tmp_path / "x.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("content", "message"),
    [(b'{"a": 1}\n{"a"\n', "line 2: damaged"), (b'{"a": 1}\nx', "line 2: damaged"), (b'{"a": "\xff"}\n', "damaged")],
)
def test_a_damaged_file(tmp_path, content: bytes, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(ShelfmarkError, match=message):
        list(read_lines(path))


def test_a_missing_file(tmp_path) -> None:
    assert count_lines(tmp_path / "x.jsonl") == 0
    with pytest.raises(ShelfmarkError, match="no such file"):
        list(read_lines(tmp_path / "x.jsonl"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_names_the_file_and_closes(tmp_path) -> None:
    (tmp_path / "x.jsonl").symlink_to("/dev/full")
    out = object.__new__(GrowingLines)
    out.path, out.lines = tmp_path / "x.jsonl", 0
    with open(out.path, "ab", buffering=0) as out._stream, pytest.raises(OSError, match="No space left") as caught:
        out.append([{"a": 1}])
    assert caught.value.filename == str(tmp_path / "x.jsonl")


def test_the_file_is_plain_json_lines(tmp_path) -> None:
    with GrowingLines(tmp_path / "x.jsonl") as out:
        out.append([{"b": "é", "a": [1.5, None]}])
    assert (tmp_path / "x.jsonl").read_text(encoding="utf-8") == '{"b": "é", "a": [1.5, null]}\n'
    assert json.loads((tmp_path / "x.jsonl").read_text())["a"] == [1.5, None]
