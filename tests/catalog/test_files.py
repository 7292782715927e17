import errno
import gzip
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.errors import ShelfmarkError, nearest, require
from catalog.extras import install_command
from catalog.files import (
    atomic_folder,
    atomic_write,
    clear_leftovers,
    content_hash,
    owned,
    read_json,
    require_inside,
    require_plain,
    write_json,
)


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


WRITES = """
import sys
from catalog.files import atomic_folder, atomic_write
with atomic_write("file") as stream, atomic_folder("folder") as folder:
    stream.write("half")
    stream.flush()
    (folder / "half").write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is writing ``file`` and ``folder``."""
    settings = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", WRITES], cwd=tmp_path, env=settings, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


def write_both(place: Path) -> None:
    with atomic_write(place / "file") as stream:
        stream.write("whole")
    with atomic_folder(place / "folder") as folder:
        (folder / "whole").write_text("whole")


def test_what_a_killed_process_left_goes_when_another_writes_there(tmp_path: Path, writer) -> None:
    write_both(tmp_path)
    left = [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]
    assert len(left) == 2  # it lives
    clear_leftovers(tmp_path, alone=True)
    assert all(path.exists() for path in left)
    writer.kill()
    writer.wait()
    write_both(tmp_path)
    assert names(tmp_path) == ["file", "folder"]
    assert names(tmp_path / "folder") == ["whole"]


def test_two_processes_write_one_name_at_once(tmp_path: Path, writer) -> None:
    write_both(tmp_path)
    assert writer.communicate("")[0] == ""
    assert writer.returncode == 0
    assert names(tmp_path) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "half"
    assert names(tmp_path / "folder") == ["half"]


def test_two_blocks_of_one_process_write_one_name(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "file") as first, atomic_write(tmp_path / "file") as second:
        first.write("first")
        second.write("second")
    assert (tmp_path / "file").read_text() == "first"
    assert names(tmp_path) == ["file"]


def test_what_earlier_versions_left_goes_when_nobody_can_be_writing_it(tmp_path: Path) -> None:
    gone = [subprocess.Popen([sys.executable, "-c", ""]) for _ in range(2)]
    for process in gone:
        process.wait()
    makers = (f"file.{gone[0].pid}", f"file.{gone[1].pid}", f"file.{os.getpid()}", "file.else")
    old, fresh, mine, others = (tmp_path / f".{name}.tmp" for name in makers)
    for path in (old, fresh, mine, others):
        path.write_text("half")
    for path in (old, mine, others):
        os.utime(path, times=(time.time() - 2 * 86400,) * 2)
    write_json(tmp_path / "file", 1)
    assert [path.exists() for path in (old, fresh, mine, others)] == [False, True, True, True]


def test_a_folder_comes_back_where_its_writer_was_killed_before_the_new_one_took_its_place(tmp_path: Path) -> None:
    (tmp_path / ".model.0123456789ab.old").mkdir()
    (tmp_path / ".model.0123456789ab.old" / "old").write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "model"):
        raise KeyboardInterrupt
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["old"]


def test_an_own_file_is_emptied_only_when_it_is_ours(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    for name, link in (("soft", Path.symlink_to), ("hard", Path.hardlink_to)):
        link(tmp_path / name, tmp_path / "precious")
        with pytest.raises(ShelfmarkError, match="link"), open(tmp_path / name, "w", opener=owned):
            pass
    assert (tmp_path / "precious").read_text() == "precious"
    (tmp_path / "hard").unlink()
    with open(tmp_path / "precious", "w", opener=owned) as stream:
        stream.write("new")
    assert (tmp_path / "precious").read_text() == "new"


def test_folders_are_looked_through_to_the_bottom(tmp_path: Path) -> None:
    deep = tmp_path / "folder" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    require_plain(tmp_path / "link")
    require_inside(tmp_path / "link")
    (deep / "soft").symlink_to("file")
    require_inside(tmp_path / "link")
    with pytest.raises(ShelfmarkError, match=re.escape("a/b/soft: a symbolic link")):
        require_plain(tmp_path / "link")
    (deep / "soft").unlink()
    (deep / "soft").symlink_to("../../../link/../..")
    with pytest.raises(ShelfmarkError, match="leads out"):
        require_inside(tmp_path / "folder")
