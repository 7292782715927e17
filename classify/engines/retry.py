"""How long to wait before asking a server again."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_WAIT = 0.5
"""Seconds: the most before the first retry; doubled for each further one."""
LONGEST_WAIT = 30.0
"""Seconds: the most that is waited of one's own accord."""
LONGEST_ASKED = 120.0
"""Seconds: the most that is waited because the server says so."""


def again(status: int) -> bool:
    """Return whether an HTTP status may be another one later."""
    return status in (408, 409, 425, 429) or status >= 500


def wait(retries: int, asked: float | None = None) -> float:
    """Return the seconds to wait before another try: exponential, with full jitter.

    All requests of a run fail at once when a server stumbles; jitter keeps them from coming back at once (Brooker,
    'Exponential backoff and jitter', 2015). What the server asks for is the least, and is spread, too.

    Parameters
    ----------
    retries : int
        How many there were before this one.
    asked : float, optional
        The seconds that the server asks for (`retry_after`).
    """
    # The exponent is bounded, as 2.0**1024 is no float.
    drawn = random.uniform(  # noqa: S311 -- spreads retries, guards nothing
        0, min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(retries, 32))
    )
    return drawn if asked is None else min(asked, LONGEST_ASKED) + min(drawn, FIRST_WAIT)


def retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds, 0 or more, that a ``Retry-After`` header asks for.

    Parameters
    ----------
    header : str or None
        Seconds, or an HTTP date.
    now : datetime, optional
        By default the present time.

    Returns
    -------
    float or None
        None where there is no header, or one that says neither.
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            then = parsedate_to_datetime(header)
        except ValueError:
            return None
        if then.tzinfo is None:
            then = then.replace(tzinfo=UTC)
        seconds = (then - (now or datetime.now(UTC))).total_seconds()
    return max(seconds, 0.0) if seconds == seconds else None


def after(retries: int) -> str:
    """Return what is told of retries that were in vain; empty where there were none."""
    return f", after {retries} {'retry' if retries == 1 else 'retries'}" if retries else ""
