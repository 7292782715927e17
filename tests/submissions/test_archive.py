import json
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.errors import ShelfmarkError
from catalog.schema import PRESETS
from submissions.archive import check_name, validate_archive, write_submission

SCHEMA = PRESETS["indoml"]
LEVELS = SCHEMA.levels


def _json_lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _test_file(folder: Path, ids: list) -> Path:
    rows = [{"indoml_id": name, "description": "milk", "retailer": "r", "price": 1.0} for name in ids]
    return _json_lines(folder / "test.features", rows)


def _answer(name: int | str, **changed: object) -> dict:
    path = dict(zip(LEVELS, ("dairy", "milk & cream", "fresh/uht", "o'brien's «é»"), strict=True))
    return {"indoml_id": name, **path, "confidence": 0.5, "status": "exact", **changed}


def _member(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        return archive.read(name)


@pytest.fixture
def write(tmp_path):
    """Write a submission from rows, and return what `write_submission` does."""

    def write(rows: list[dict], ids: list, out: str = "first.zip", name: str = "first"):
        predictions = _json_lines(tmp_path / "predictions.jsonl", rows)
        return write_submission(predictions, _test_file(tmp_path, ids), SCHEMA, tmp_path / out, name)

    return write


def test_holds_the_id_and_the_levels_in_test_order(tmp_path, write) -> None:
    found = write([_answer(3), _answer(1), _answer("x-2", brand="own\nbrand")], [1, "x-2", 3])
    lines = _member(found.path).decode().splitlines()
    assert lines[0] == (
        '{"indoml_id":1,"supergroup":"dairy","group":"milk & cream","module":"fresh/uht","brand":"o\'brien\'s «é»"}'
    )
    assert [json.loads(line)["indoml_id"] for line in lines] == [1, "x-2", 3]
    assert json.loads(lines[1])["brand"] == "own\nbrand"
    with zipfile.ZipFile(found.path) as archive:
        (info,) = archive.infolist()
    assert (info.filename, info.date_time) == ("first.predict", (1980, 1, 1, 0, 0, 0))
    assert info.compress_type == zipfile.ZIP_DEFLATED
    assert info.external_attr >> 16 == 0o644
    assert (found.name, found.rows, found.size) == ("first", 3, found.path.stat().st_size)
    assert validate_archive(found.path, tmp_path / "test.features", SCHEMA) == found
    assert validate_archive(found.path, tmp_path / "test.features", SCHEMA, name="first") == found


def test_the_same_answers_give_the_same_bytes(write) -> None:
    rows = [_answer(n, brand=f"b{n}") for n in range(50)]
    first = write(rows, list(range(50)))
    before = first.path.read_bytes()
    second = write([{**row, "confidence": 0.1} for row in reversed(rows)], list(range(50)))
    assert second.path.read_bytes() == before
    assert second.sha256 == first.sha256


def test_csv_predictions_and_a_folder_of_test_data(tmp_path) -> None:
    table = tmp_path / "predictions.csv"
    table.write_text('indoml_id,supergroup,group,module,brand\n2,a,"b, c",d,e\n1,a,b,c,d\n', encoding="utf-8")
    _test_file(tmp_path, [1, 2])
    found = write_submission(table, tmp_path, SCHEMA, tmp_path / "new" / "x.zip", "x")
    assert json.loads(_member(found.path).splitlines()[1])["group"] == "b, c"


@pytest.mark.parametrize(
    ("rows", "ids", "parts"),
    [
        ([_answer(1)], [1, 2, 3], ["2 ids of ", "missing, the first 2", "make the predictions again"]),
        ([_answer(9), _answer(1), _answer(8)], [1], ["2 ids not in ", "the first 9"]),
        ([_answer(1), _answer(5)], [1, 2], ["1 id of ", "missing, the first 2", "1 id not in ", "the first 5"]),
        ([_answer(1), _answer(1), _answer("1")], [1], ["2 rows repeat an id, the first 1 on line 2"]),
        (
            [_answer(1, brand="")],
            [1],
            ["1 row with an empty level, the first 'brand' of the id 1 on line 1", "abstain"],
        ),
        ([_answer(1, group=None), _answer(2, group="")], [1, 2], ["2 rows with an empty level, the first 'group'"]),
        ([_answer(1, colour="red")], [1], ["line 1", "unknown column 'colour'", "keep to indoml_id"]),
        ([_answer(1, modul="red")], [1], ["unknown column 'modul' (did you mean 'module'?)"]),
        ([{"indoml_id": 1, "supergroup": "a"}], [1], ["no column 'group'"]),
        ([_answer(1, brand=["x"])], [1], ["line 1", "'brand'", "not text"]),
        ([_answer(1, brand="\ud800")], [1], ["line 1", "'brand'", "half a surrogate pair"]),
        ([_answer("\ud800")], [1], ["line 1", "'indoml_id'", "half a surrogate pair"]),
        ([_answer(1)], [1, 1], ["test.features", "occurs twice"]),
        ([], [1], ["no rows"]),
    ],
)
def test_wrong_predictions_write_nothing(tmp_path, write, rows, ids, parts) -> None:
    (tmp_path / "first.zip").write_bytes(b"as it was")
    with pytest.raises(ShelfmarkError) as caught:
        write(rows, ids)
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "first.zip").read_bytes() == b"as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.zip", "predictions.jsonl", "test.features"]


@pytest.mark.parametrize("name", ["a", "Run_1.2-b", "_x", "0", "a" * 100])
def test_good_names(name) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", ".x", "-x", "a b", "a/b", "../a", "é", "a\n", "a" * 101])
def test_bad_names(write, name) -> None:
    with pytest.raises(ShelfmarkError, match="cannot be used"):
        write([_answer(1)], [1], name=name)


def _zip(path: Path, members: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _line(name: object, **changed: object) -> str:
    row = {key: value for key, value in _answer(1).items() if key not in ("confidence", "status")}
    return json.dumps({**row, "indoml_id": name, **changed}) + "\n"


@pytest.mark.parametrize(
    ("members", "part"),
    [
        ({}, "it holds 0 files (nothing)"),
        ({"a.predict": _line(1) + _line(2), "b.predict": ""}, "it holds 2 files (a.predict, b.predict)"),
        ({"a.txt": _line(1) + _line(2)}, "it must hold NAME.predict"),
        ({"x/a.predict": _line(1) + _line(2)}, "cannot be used"),
        ({"a.predict": ""}, "2 ids of "),
        ({"a.predict": _line(1)}, "1 id of "),
        ({"a.predict": _line(2) + _line(1)}, "row 1 has the id 2 where"),
        ({"a.predict": _line(1) + _line(2) + _line(2)}, "1 row repeat"),
        ({"a.predict": _line(1) + _line(2) + _line(3)}, "1 id not in"),
        ({"a.predict": _line(1) + _line(2, brand="")}, "empty level"),
        ({"a.predict": _line(1) + _line(2, confidence=1)}, "unknown column 'confidence'"),
        ({"a.predict": _line(1) + "[]\n"}, "line 2: not an object"),
        ({"a.predict": _line(1) + "{\n"}, "line 2: not JSON"),
        ({"a.predict": b"\xff\n"}, "line 1: not JSON in UTF-8"),
    ],
)
def test_wrong_zips_are_refused(tmp_path, members, part) -> None:
    archive = _zip(tmp_path / "a.zip", members)
    with pytest.raises(ShelfmarkError) as caught:
        validate_archive(archive, _test_file(tmp_path, [1, 2]), SCHEMA)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_zip_of_another_name_is_refused(tmp_path) -> None:
    archive = _zip(tmp_path / "a.zip", {"a.predict": _line(1)})
    with pytest.raises(ShelfmarkError, match=r"holds 'a\.predict'; it must hold b\.predict"):
        validate_archive(archive, _test_file(tmp_path, [1]), SCHEMA, name="b")


def test_a_missing_a_torn_and_a_flipped_zip_are_refused(tmp_path, write) -> None:
    found = write([_answer(n, brand=f"brand {n * n}") for n in range(300)], list(range(300)))
    whole = found.path.read_bytes()
    for damaged in (b"", b"no zip", whole[: len(whole) // 2], whole[:500] + bytes([whole[500] ^ 255]) + whole[501:]):
        found.path.write_bytes(damaged)
        with pytest.raises(ShelfmarkError, match=r"not a zip that can be read|not JSON"):
            validate_archive(found.path, tmp_path / "test.features", SCHEMA)
    with pytest.raises(ShelfmarkError, match="no such file"):
        validate_archive(tmp_path / "none.zip", tmp_path / "test.features", SCHEMA)


text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(str.strip)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.dictionaries(st.integers(0, 10**9), st.tuples(text, text, text, text), min_size=1), data=st.data())
def test_any_text_comes_back(tmp_path, write, rows, data) -> None:
    ids = data.draw(st.permutations(sorted(rows)))
    found = write([_answer(name, **dict(zip(LEVELS, path, strict=True))) for name, path in rows.items()], ids)
    assert validate_archive(found.path, tmp_path / "test.features", SCHEMA) == found
    back = [json.loads(line) for line in _member(found.path).split(b"\n") if line]
    assert [row["indoml_id"] for row in back] == ids
    assert all(tuple(row[level] for level in LEVELS) == rows[row["indoml_id"]] for row in back)


def test_many_rows_need_little_memory(tmp_path, write) -> None:
    ids = list(range(8_000))
    rows = [_answer(name, module=f"m{name % 400}", brand=f"b{name % 2000}") for name in ids]
    predictions, test = _json_lines(tmp_path / "predictions.jsonl", rows), _test_file(tmp_path, ids)
    del rows
    tracemalloc.start()
    write_submission(predictions, test, SCHEMA, tmp_path / "a.zip", "a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # About 300 bytes a row: its id, its place in the index, and a path that is shared.
    assert peak < 8_000 * 600
