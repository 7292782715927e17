"""Files that are whole or absent: written to a temporary name, flushed to disk, then renamed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from catalog.errors import ShelfmarkError, nearest_place
from catalog.json_reader import checked, decode_json

T = TypeVar("T")


def temporary_name(path: Path) -> Path:
    """Return the name under which `path` is written before it is renamed: same folder, so same disk."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextmanager
def atomic_write(path: str | Path, *, binary: bool = False) -> Iterator[IO[Any]]:
    """Open `path` for writing (UTF-8 text, or bytes) so that it appears whole when the block ends, or not at all.

    A name that ends in ``.gz`` is compressed, without a time stamp: the same content gives the same bytes.

    Raises
    ------
    OSError
        When it cannot be written; its ``filename`` is `path`, whatever step failed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(open(temporary, "wb"))
            stream: Any = raw
            if path.suffix == ".gz":
                stream = stack.enter_context(gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0))
            if not binary:
                stream = stack.enter_context(io.TextIOWrapper(stream, encoding="utf-8", newline=""))
            yield stream
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
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
    temporary = temporary_name(path)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            old = path.with_name(f".{path.name}.{os.getpid()}.old")
            path.replace(old)
            temporary.replace(path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with atomic_write(path) as stream:
        json.dump(value, stream, indent=2, ensure_ascii=False, allow_nan=False)
        stream.write("\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file that this package wrote; it may have been damaged or edited since.

    Raises
    ------
    ShelfmarkError
        When the file is missing or damaged.
    """
    try:
        return decode_json(Path(path).read_bytes())
    except FileNotFoundError:
        raise ShelfmarkError(f"{path}: no such file{nearest_place(path)}") from None
    except ValueError as error:
        raise ShelfmarkError(f"{path}: damaged ({error}); make it again") from None


def read_json_as(kind: type[T], path: str | Path, advice: str) -> T:
    """Read a JSON file that this package wrote, as a `kind`; `advice` is what the user can do where it is none.

    Raises
    ------
    ShelfmarkError
        When the file is missing, damaged, or says something else.
    """
    return checked(kind, read_json(path), str(path), advice)


def content_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
