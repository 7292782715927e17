"""What a provider tells beside an answer: tokens, log-probabilities, why it ended. None of it is worth more than the
answer: what is not as it should be is left out, and tokens are then the most that there may be."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from classify.engines.logprobs import Step

MOST_TOKENS = 10_000_000
"""No model reads or writes more for one answer: a greater number is none."""
ROUNDING = 1e-3
"""A logarithm of a probability that is above 0 by no more was rounded."""
MOST_DIGITS = 400
"""A whole number of more digits is beyond any float."""
LONGEST = 300
"""Characters of a text that is told of an answer."""

Bound = tuple[int, int]
"""Tokens read and written, at most."""


def writable(text: str) -> str:
    """Return the text without half signs, as those of an answer that was cut: they can be written nowhere."""
    return text.encode("utf-8", "replace").decode()


def said(value: Any) -> str:
    """Return what is told as a word or a sentence, for people; empty where it is no text or number."""
    text = value if isinstance(value, str) else str(value) if isinstance(value, int) and abs(value) < 10**9 else ""
    text = " ".join(writable(text[: 4 * LONGEST]).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def decode(content: bytes | str) -> Any:
    """Decode what a provider sent: leniently, as what is odd in it may stand beside a good answer.

    Raises
    ------
    ValueError
        When it is no JSON, or nested too deep.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
            raise
        # A whole number of more digits than Python reads: it is more than any float.
        return json.loads(content, parse_int=_any_int)


def decode_first(content: bytes) -> Any:
    """Decode the first JSON value of what a server sent, as `decode` does.

    What follows it, and bytes that are no UTF-8, are no reason to throw an answer away that is paid.

    Raises
    ------
    ValueError
        When it does not begin with JSON, or is nested too deep.
    """
    try:
        return decode(content)
    except ValueError:
        text = content.decode("utf-8", "replace").lstrip("\ufeff\0 \t\r\n")
        try:
            return _FIRST.raw_decode(text)[0]
        except RecursionError:
            raise ValueError("nested too deep") from None


def _any_int(text: str) -> float:
    return int(text) if len(text) < MOST_DIGITS else math.inf


_FIRST = json.JSONDecoder(parse_int=_any_int)


def count(value: Any, most: int = MOST_TOKENS) -> int | None:
    """Return a number of tokens or requests; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:  # NaN is not
        return None
    return int(value) if value == int(value) else None


def tokens(answer: dict[str, Any], most: Callable[[], Bound]) -> tuple[int, int, bool]:
    """Return the tokens that were read and written, as the answer's ``usage`` tells, and whether it does not.

    Parameters
    ----------
    answer : dict
        The body.
    most : callable
        Gives the most that there may be: a number that is not told is that.
    """
    usage = answer.get("usage")
    told = [
        count(usage.get(f"{what}_tokens")) if isinstance(usage, dict) else None for what in ("prompt", "completion")
    ]
    if None not in told:
        return told[0] or 0, told[1] or 0, False
    read, written = (bound if number is None else number for number, bound in zip(told, most(), strict=True))
    return read, written, True


def steps(choice: dict[str, Any]) -> list[Step] | None:
    """Return the answer token by token, or None where the provider gave no tokens, or one that is odd."""
    try:
        found: list[Step] = []
        for token in choice["logprobs"]["content"]:
            found.append([_step(one) for one in (token, *(token.get("top_logprobs") or ()))])
    except (LookupError, TypeError, AttributeError, ValueError):
        return None
    return found


def _step(token: dict[str, Any]) -> tuple[str, float]:
    text, logprob = token["token"], token["logprob"]
    if not isinstance(text, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
        raise TypeError
    if not logprob <= ROUNDING:  # NaN is not
        raise ValueError
    # As a float: a whole number may be beyond any.
    return writable(text), min(float(logprob), 0.0) if logprob > -1e308 else -math.inf
