"""Arrays that this package stored: memory-mapped, and what their files must be before anything computes with them.

A file may have the right checksum and still be another's: compiled code that is handed an array of another shape, or
numbers that lead beyond another array's end, reads and writes memory that is not its own.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from catalog.errors import ShelfmarkError

Shape = tuple[int | None, ...]
"""The length of each axis; None where any will do."""

FIT_AGAIN = "fit the model again"
# What zipfile raises for a file that is no archive, is encrypted, or is packed by a method that it does not know.
_UNREADABLE = (ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
_BLOCK = 1 << 20  # numbers that are looked at together: what they are compared by stays in the processor's cache
_INFINITE = 0x7C00  # the exponent of half precision, all bits set: infinite, or not a number


def load_array(path: str | Path, dtype: str | tuple[str, ...], shape: Shape) -> NDArray[Any]:
    """Return the array in a ``.npy`` file, memory-mapped and read-only.

    Parameters
    ----------
    path : str or Path
        Written by `numpy.save`, from an array in C order.
    dtype : str or tuple of str
        What its numbers must be, with their byte order: ``<f4``; one of several.
    shape : tuple of (int or None)
        What its shape must be.

    Raises
    ------
    ShelfmarkError
        When the file is missing, cut short, too long, no such file, or of another type or shape.
    """
    path = Path(path)
    try:
        with open(path, "rb") as stream:
            stored, kind = _header(path, stream, dtype, shape)
            begin, end = stream.tell(), stream.seek(0, 2)
    except FileNotFoundError:
        raise ShelfmarkError(f"{path}: missing; {FIT_AGAIN}") from None
    if begin + math.prod(stored) * kind.itemsize != end:  # a map beyond the end of a file kills the process
        raise damaged(path, f"{end - begin:,} bytes of numbers where its shape {_shown(stored)} says otherwise")
    if not math.prod(stored):
        return np.zeros(stored, dtype=kind)
    # A plain array over the map: the subclass costs time at each slice.
    return np.asarray(np.memmap(path, dtype=kind, mode="r", offset=begin, shape=stored))


def read_array(path: str | Path, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return an array of a ``.npz`` file, which may be compressed.

    Parameters
    ----------
    path : str or Path
        Written by `numpy.savez_compressed`.
    name : str
        Of the array.
    dtype : str
        What its numbers must be.
    shape : tuple of int
        What its shape must be. No more is unpacked than that takes.

    Raises
    ------
    ShelfmarkError
        When the file is missing or damaged, or the array is another.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
            _header(path, stream, dtype, shape)
            content = stream.read(size + 1)
    except FileNotFoundError:
        raise ShelfmarkError(f"{path}: missing; {FIT_AGAIN}") from None
    except _UNREADABLE as error:
        raise damaged(path, str(error).partition("\n")[0][:160]) from None
    if len(content) != size:
        raise damaged(path, "more or fewer numbers than its shape says")
    return np.frombuffer(content, dtype=dtype).reshape(shape)


def _header(
    path: str | Path, stream: IO[bytes], dtype: str | tuple[str, ...], shape: Shape
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read the header of a ``.npy`` file; return the shape and the type, which are as wanted."""
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("a header of another version")
        stored, by_columns, kind = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, EOFError) as error:
        raise damaged(path, str(error).partition("\n")[0][:160]) from None
    wanted = (dtype,) if isinstance(dtype, str) else dtype
    if kind.str not in wanted:
        raise damaged(path, f"numbers of the type {kind.str[:20]} where {wanted[0]} was written")
    alike = len(stored) == len(shape) and all(w in (None, n) for n, w in zip(stored, shape, strict=True))
    if by_columns or not alike or min(stored, default=0) < 0:
        raise damaged(path, f"its shape is {_shown(stored)}, and it must be {_shown(shape)}")
    return tuple(stored), kind


def require_numbers(path: str | Path, array: NDArray[Any], *, least: float = -1e6, most: float = 1e6) -> None:
    """Refuse an array that has a number that is not finite, or outside of a range.

    Parameters
    ----------
    path : str or Path
        Its file.
    array : ndarray of float
        In C order. Of half precision only what is not finite is refused.
    least, most : float
        The range: what is computed with numbers far beyond those that are ever written would overflow.

    Raises
    ------
    ShelfmarkError
        When it has.
    """
    flat = array.reshape(-1)
    half = array.dtype.str == "<f2"
    for start in range(0, len(flat), _BLOCK):
        block = flat[start : start + _BLOCK]
        # Half precision by its bits: numpy widens each number before it looks at it.
        wrong = ((block.view("<u2") & _INFINITE) == _INFINITE).any() if half else False
        # Never true of what is not a number.
        if wrong or not (half or (block.min() >= least and block.max() <= most)):
            raise damaged(path, f"a number that is not finite, or outside of {least:g} to {most:g}")


def require_rising(path: str | Path, numbers: NDArray[Any], *, low: int, high: int, strictly: bool = False) -> None:
    """Refuse whole numbers that fall, or are not in ``[low, high]``; with `strictly`, those that stand still, too.

    Raises
    ------
    ShelfmarkError
        When they do or are not.
    """
    if len(numbers) and not (numbers[0] >= low and numbers[-1] <= high):
        raise damaged(path, f"a number outside of {low:,} to {high:,}")
    steps = numbers[1:] > numbers[:-1] if strictly else numbers[1:] >= numbers[:-1]
    if not steps.all():
        raise damaged(path, "its numbers are not in order")


def damaged(path: str | Path, what: str) -> ShelfmarkError:
    """Return the error of a model's file that is not what was written: where, what, and what to do."""
    return ShelfmarkError(f"{path}: damaged ({what}); {FIT_AGAIN}")


def _shown(shape: Shape) -> str:
    sizes = " x ".join("any" if size is None else f"{size:,}" for size in shape)
    return sizes[:80] if shape else "a single number"
