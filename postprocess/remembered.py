"""Results that are remembered for short texts alone, so that memory has a bound whatever the texts are."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Concatenate, ParamSpec, TypeVar, cast

Rest = ParamSpec("Rest")
Result = TypeVar("Result")

SHORT = 200
"""Texts with more characters are not remembered: they are rare, seldom the same, and could fill any memory."""


def remembered(
    most: int, short: int = SHORT
) -> Callable[[Callable[Concatenate[str, Rest], Result]], Callable[Concatenate[str, Rest], Result]]:
    """Return a decorator: the last `most` results of a function are kept whose first text has up to `short` characters.

    Parameters
    ----------
    most : int
        So many results are kept.
    short : int
        The results of longer texts are made anew each time.
    """

    def decorate(function: Callable[Concatenate[str, Rest], Result]) -> Callable[Concatenate[str, Rest], Result]:
        known = cast(Callable[Concatenate[str, Rest], Result], lru_cache(maxsize=most)(function))

        @wraps(function)
        def call(text: str, /, *args: Rest.args, **kwargs: Rest.kwargs) -> Result:
            if len(text) > short:
                return function(text, *args, **kwargs)
            return known(text, *args, **kwargs)

        return call

    return decorate
