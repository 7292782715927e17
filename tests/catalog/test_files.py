import errno
import gzip
import os
import re
from pathlib import Path

import pytest

from catalog.errors import ShelfmarkError, nearest, require
from catalog.extras import install_command
from catalog.files import atomic_folder, atomic_write, content_hash, read_json, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with atomic_write(path) as stream:
        stream.write("é\r\n")
        assert not path.exists()
    assert path.read_bytes() == "é\r\n".encode()
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), atomic_write(path) as stream:  # noqa: PT012
        stream.write("new")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_compressed_files_have_the_same_bytes_whenever_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, now in (("a.gz", 1.0), ("b.gz", 2e9)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        with atomic_write(tmp_path / name) as stream:
            stream.write("text\n")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"text\n"


def test_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a.bin", binary=True) as stream:
        stream.write(b"\x00\xff\n")
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff\n"


def test_a_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for name in ("first", "second"):
        with atomic_folder(path) as folder:
            (folder / name).write_text(name)
    assert names(path) == ["second"]
    assert names(tmp_path) == ["model"]


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with atomic_folder(path) as folder:
        (folder / "old").touch()
    with pytest.raises(KeyboardInterrupt), atomic_folder(path) as folder:  # noqa: PT012
        (folder / "new").touch()
        raise KeyboardInterrupt
    assert names(path) == ["old"]
    assert names(tmp_path) == ["model"]


def test_json_round_trip(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, "é"], "a": None})
    assert read_json(tmp_path / "a.json") == {"b": [1, "é"], "a": None}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert read_json(tmp_path / "a.json") == {"b": [1, "é"], "a": None}


def test_damaged_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(ShelfmarkError, match=r"a\.json: no such file"):
        read_json(path)
    path.write_text("{")
    with pytest.raises(ShelfmarkError, match=r"a\.json: damaged \(.*\); make it again"):
        read_json(path)
    path.write_bytes(b'"\xff"')
    with pytest.raises(ShelfmarkError, match=r"a\.json: damaged"):
        read_json(path)


def test_content_hash_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert content_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_an_error_is_one_line() -> None:
    assert str(ShelfmarkError("a value\nof two\r\nlines")) == "a value of two lines"


def test_the_nearest_name_is_suggested() -> None:
    assert nearest("desciption", ["id", "description"]) == " (did you mean 'description'?)"
    assert nearest("xyz", ["id", "description"]) == ""


def test_a_missing_extra_says_how_to_install_it() -> None:
    assert require("json", "any").__name__ == "json"
    with pytest.raises(ShelfmarkError, match=re.escape(install_command("embed"))):
        require("no_such_package_here.part", "embed")


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match="No space") as full, atomic_write(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert full.value.filename == str(path)
    path.mkdir()
    with pytest.raises(OSError, match=r"directory: '[^']*a\.txt'$") as taken, atomic_write(path) as stream:
        stream.write("new")
    assert taken.value.filename == str(path)
    with pytest.raises(OSError, match="other") as foreign, atomic_write(tmp_path / "b.txt"):
        raise OSError(errno.EACCES, "Permission denied", "other.txt")
    assert foreign.value.filename == "other.txt"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(PermissionError) as closed, atomic_write(tmp_path / "closed" / "a.txt"):
        pass
    assert closed.value.filename == str(tmp_path / "closed" / "a.txt")
