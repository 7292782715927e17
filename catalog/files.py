"""Files that are whole or absent: written to a temporary name, flushed to disk, then renamed.

A folder may come from somebody else, so what is written follows no link in it.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar

from catalog.errors import ShelfmarkError, nearest_place
from catalog.json_reader import checked, decode_json

T = TypeVar("T")

WINDOWS = sys.platform == "win32"
_NO_LINK = 0 if sys.platform == "win32" else os.O_NOFOLLOW | os.O_NONBLOCK
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<maker>[0-9a-f]{12}|[0-9]{1,10})\.(?:tmp|old)")
_PROCESS = re.compile(r"[0-9]{1,10}")
"""Earlier versions had the process's number in temporary names, and no lock."""
DAY = 86_400.0
MOST_JSON, MOST_FACTS = 1 << 26, 1 << 28
"""Bytes of a JSON file, at most: 64 MiB, and 256 MiB where it may list all labels of a taxonomy."""


def temporary_name(path: Path) -> Path:
    """Return a new name under which `path` is written before it is renamed: same folder, so same disk."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


@contextmanager
def atomic_write(path: str | Path, *, binary: bool = False, packed: bool = False) -> Iterator[IO[Any]]:
    """Open `path` for writing (UTF-8 text, or bytes) so that it appears whole when the block ends, or not at all.

    A name that ends in ``.gz`` is compressed, without a time stamp: the same content gives the same bytes. With
    `packed` it is not: what is written is compressed already. What killed processes left of the same file goes.

    Raises
    ------
    OSError
        When it cannot be written; its ``filename`` is `path`, whatever step failed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path.parent, path.name)
    temporary = temporary_name(path)
    try:
        with ExitStack() as held:
            lock = _claim_file(temporary)
            held.callback(os.close, lock)
            with ExitStack() as stack:
                raw = stack.enter_context(open(os.dup(lock), "wb"))
                stream: Any = raw
                if path.suffix == ".gz" and not packed:
                    stream = stack.enter_context(gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0))
                if not binary:
                    stream = stack.enter_context(io.TextIOWrapper(stream, encoding="utf-8", newline=""))
                yield stream
            os.fsync(lock)
            if WINDOWS:
                held.close()  # no open file can be renamed there
            temporary.replace(path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        # A full disk names no file, and the temporary one means nothing to people.
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder that takes the name `path` when the block ends, replacing what stood there."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path.parent, path.name)
    temporary = temporary_name(path)
    temporary.mkdir()
    with ExitStack() as held:
        held.callback(shutil.rmtree, temporary, ignore_errors=True)
        _hold_folder(temporary, held)
        yield temporary
        if path.exists():
            old = temporary.with_suffix(".old")
            _hold_folder(path, held)
            path.replace(old)
            temporary.replace(path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.replace(path)


def _claim_file(temporary: Path) -> int:
    """Make a new file and lock it for as long as it is open, so that others see that its writer lives."""
    while True:
        file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o666)
        _lock(file)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.lstat(temporary)):
                return file
        os.close(file)  # taken for a leftover before it was locked


def _hold_folder(folder: Path, held: ExitStack) -> None:
    """Lock a folder until `held` ends; where that cannot be done, nobody else can take it for a leftover either."""
    if not WINDOWS:
        with suppress(OSError):
            file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            held.callback(os.close, file)
            _lock(file)


def _lock(file: int) -> bool:
    """Lock a file or folder; False where another process has, or the file system knows no locks."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def clear_leftovers(folder: Path, name: str = "", *, alone: bool = False) -> None:
    """Remove what killed processes left in a folder, of one file or, without a name, of all.

    What a living process writes is locked, and stays.

    Parameters
    ----------
    folder : Path
        Where it may be.
    name : str
        Of the file that they were writing; empty for any.
    alone : bool
        Whether no other process can be writing there: then files of earlier versions, which had no locks, go as well.
    """
    if WINDOWS:
        return
    try:
        with os.scandir(folder) as entries:
            found = [(entry, match) for entry in entries if (match := _TEMPORARY.fullmatch(entry.name))]
    except OSError:  # a folder that can be written to, and not be listed
        return
    for entry, match in found:
        if name in ("", match["name"]):
            with suppress(OSError):
                if alone or not _PROCESS.fullmatch(match["maker"]) or not _may_live(int(match["maker"]), entry):
                    _clear(entry, folder / match["name"])


def _clear(entry: os.DirEntry[str], path: Path) -> None:
    place, folder = Path(entry.path), entry.is_dir(follow_symlinks=False)
    if not folder and not entry.is_file(follow_symlinks=False):
        return
    file = os.open(place, (os.O_RDONLY | os.O_DIRECTORY if folder else os.O_RDWR) | os.O_NOFOLLOW)
    try:
        if not _lock(file) or not os.path.samestat(os.fstat(file), os.lstat(place)):
            return
        if place.suffix == ".old" and not os.path.lexists(path):
            place.replace(path)  # its process was killed before the new one took its place
        elif folder:
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink()
    finally:
        os.close(file)


def _may_live(process: int, entry: os.DirEntry[str]) -> bool:
    """Tell whether a file without a lock may be one that is being written: here, or lately on another machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime < DAY
    except (OSError, OverflowError):
        return True
    return True


def owned(path: str, flags: int) -> int:
    """Open a file that is ours alone: an ``opener`` for `open`, which follows no link.

    Raises
    ------
    ShelfmarkError
        When the name stands for a link, or for no regular file.
    """
    try:
        file = os.open(path, (flags & ~os.O_TRUNC) | _NO_LINK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            _refuse(path, "a symbolic link")
        if error.errno == errno.ENXIO:
            _refuse(path, "a pipe or a device")
        raise
    about = os.fstat(file)
    kind = _kind(about)
    if kind:
        os.close(file)
        _refuse(path, kind)
    if flags & os.O_TRUNC:
        os.ftruncate(file, 0)  # not before it is known to be ours
    return file


def require_plain(folder: str | Path) -> None:
    """Refuse a folder that is to be written to, and in which a name stands for something elsewhere.

    The folder itself may be reached through a link.

    Raises
    ------
    ShelfmarkError
        When there is a symbolic or a hard link, a pipe or a device in it, however deep.
    """
    for entry in _all_in(folder):
        with suppress(FileNotFoundError):  # another process may be at work
            about = entry.stat(follow_symlinks=False)
            kind = "" if stat.S_ISDIR(about.st_mode) else _kind(about)
            if kind:
                _refuse(entry.path, kind)


def require_inside(folder: str | Path) -> None:
    """Refuse a folder that is to be read, and in which a link leads out of it.

    Raises
    ------
    ShelfmarkError
        When one does, or there is a pipe or a device in it.
    """
    whole = Path(folder).resolve()
    for entry in _all_in(folder):
        if entry.is_symlink():
            if not Path(entry.path).resolve().is_relative_to(whole):
                _refuse(entry.path, "a link that leads out of its folder")
        elif not entry.is_dir(follow_symlinks=False) and not entry.is_file(follow_symlinks=False):
            _refuse(entry.path, "a pipe or a device")


def place_inside(folder: Path, name: str | Path, what: str) -> Path:
    """Return the file of a folder that another of its files, called `what`, names.

    Raises
    ------
    ShelfmarkError
        When the name may lead out of the folder.
    """
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts or "\0" in str(name):
        raise ShelfmarkError(f"{folder}: {what} names {str(name)[:80]!r}, which is not in the folder; get it anew")
    return folder / name


def _all_in(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """Yield all that is in a folder; no link is followed but the folder itself."""
    waiting = [str(folder)]
    while waiting:
        with suppress(FileNotFoundError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def _kind(about: os.stat_result) -> str:
    """Return what a name stands for that is no file of its own; empty for one that is."""
    if stat.S_ISLNK(about.st_mode):
        return "a symbolic link"
    if not stat.S_ISREG(about.st_mode):
        return "a pipe or a device"
    return "a hard link" if about.st_nlink > 1 else ""


def _refuse(path: str | Path, kind: str) -> NoReturn:
    raise ShelfmarkError(f"{path}: {kind}, and only files of its own belong there; put a copy in its place")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with atomic_write(path) as stream:
        json.dump(value, stream, indent=2, ensure_ascii=False, allow_nan=False)
        stream.write("\n")


def read_json(path: str | Path, most: int = MOST_JSON) -> Any:
    """Read a JSON file that this package wrote; it may have been damaged or edited since.

    Parameters
    ----------
    path : str or Path
        The file.
    most : int
        Bytes that it may have.

    Raises
    ------
    ShelfmarkError
        When the file is missing, damaged or larger than `most`.
    """
    try:
        with open(path, "rb") as stream:
            about = os.fstat(stream.fileno())
            # The size of a pipe or a device is 0.
            room = min(about.st_size, most) if stat.S_ISREG(about.st_mode) else most
            content = stream.read(room + 1)
        if max(about.st_size, len(content)) > most:
            raise ValueError(f"more than {most >> 20} MiB")
        return decode_json(content)
    except FileNotFoundError:
        raise ShelfmarkError(f"{path}: no such file{nearest_place(path)}") from None
    except ValueError as error:
        raise ShelfmarkError(f"{path}: damaged ({error}); make it again") from None


def read_json_as(kind: type[T], path: str | Path, advice: str, most: int = MOST_JSON) -> T:
    """Read a JSON file that this package wrote, as a `kind`; `advice` is what the user can do where it is none.

    Raises
    ------
    ShelfmarkError
        When the file is missing, damaged, larger than `most` bytes, or says something else.
    """
    return checked(kind, read_json(path, most), str(path), advice)


def content_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
