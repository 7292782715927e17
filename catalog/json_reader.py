"""Read JSON that may come from elsewhere: strictly, and into checked types."""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from catalog.errors import ShelfmarkError

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


def decode_json(text: str | bytes) -> Any:
    """Decode one JSON value, strictly.

    Parameters
    ----------
    text : str or bytes
        One JSON value; bytes are UTF-8.

    Raises
    ------
    ValueError
        When it is no JSON, nested too deep, has a key twice, NaN, an infinity, a number of more than 4,300 digits,
        half a surrogate pair, or bytes that are not UTF-8. The message is one clause, without a place. A
        `json.JSONDecodeError` passes through, since it says where.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    value = _decode(text, _DECODER)
    if "\\u" in text or "\\U" in text:
        # Only an escape can smuggle half a pair into decoded text, and no file could be written with it.
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("half a surrogate pair") from None
    return value


def decode_row(text: str) -> Any:
    """Decode one line of a file of rows: as strictly as `decode_json`, but for what a single value may be.

    NaN, infinities and half surrogate pairs are left as they are: who reads a value can say in which column it stands,
    and of a model's answer it is no fault. Flat objects, the usual case, take no longer than `json.loads`.

    Raises
    ------
    ValueError
        When it is no JSON, nested too deep, has a key twice, or a number of more than 4,300 digits.
    """
    try:
        value, end = _SCAN(text, 0)
        # Each key has a colon behind it: where there are no more of them than keys, no key stands twice.
        if end == len(text) and isinstance(value, dict) and text.count(":") == len(value):
            return value
    except (StopIteration, ValueError, RecursionError):
        pass  # what is wrong, and where, is said below
    return _decode(text, _ROWS)


def _decode(text: str, decoder: json.JSONDecoder) -> Any:
    try:
        return decoder.decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        if "digits" in str(error):  # Python's own words for it advise programmers
            raise ValueError("a number of more than 4,300 digits") from None
        raise


def checked(kind: type[T], value: Any, place: str, advice: str) -> T:
    """Return `value` as a `kind`: a pydantic model, a dataclass, or a type such as ``dict[str, list[int]]``.

    Parameters
    ----------
    kind : type
        What it must be. A model says itself how strictly its types are compared (``strict=True``, `pydantic.Strict`).
    value
        Decoded JSON.
    place : str
        Where it stands: a file, or a file and a line.
    advice : str
        What the user can do.

    Raises
    ------
    ShelfmarkError
        When it is something else: the place, the first field that is wrong, and the advice.
    """
    from pydantic import ValidationError  # when used: the command answers --help without it

    try:
        whole: T = _adapter(cast(Any, kind)).validate_python(value)
        return whole
    except ValidationError as error:
        raise ShelfmarkError(f"{place}: {_first_fault(error)}; {advice}") from None
    except RecursionError:
        raise ShelfmarkError(f"{place}: nested too deep; {advice}") from None


@lru_cache(maxsize=128)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, fault["loc"]))
    message = fault["msg"][:1].lower() + fault["msg"][1:]
    return f"damaged ({field}: {message})" if field else f"damaged ({message})"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key '{twice[:60]}' stands twice")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


# Made once: json.loads would build a decoder for each line.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
_ROWS = json.JSONDecoder(object_pairs_hook=_unique)
_PLAIN: Any = json.JSONDecoder()
_SCAN = _PLAIN.scan_once
