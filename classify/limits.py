"""What the system lets this process have: told in one line where it is less than the libraries need.

A library that gets no memory for its threads tries again for minutes, or ends the process without a word. Imports none.
"""

from __future__ import annotations

import resource

from catalog.errors import ShelfmarkError
from catalog.machine import memory

LEAST_SPACE = 900 << 20
"""Bytes of address space that numpy, scipy, pandas and pyarrow take before the first row, with some for the rows."""
LEAST_MEMORY = 256 << 20
"""Bytes of memory that they take."""
LEAST_FILES, ENOUGH_FILES = 128, 1024
"""Open files: a model's arrays and a server's connections."""


def check_limits() -> None:
    """Refuse to begin where the libraries could not be loaded; take as many open files as are allowed.

    Raises
    ------
    ShelfmarkError
        When a limit is too low: which, and what to do.
    """
    for kind, name, flag in ((resource.RLIMIT_AS, "address space", "v"), (resource.RLIMIT_DATA, "memory", "d")):
        most = resource.getrlimit(kind)[0]
        if most != resource.RLIM_INFINITY and most < (LEAST_SPACE if flag == "v" else LEAST_MEMORY):
            least = LEAST_SPACE if flag == "v" else LEAST_MEMORY
            raise ShelfmarkError(
                f"this process may have {most >> 20:,} MB of {name}, and needs {least >> 20:,} MB at least: raise the "
                f"limit (ulimit -{flag} unlimited)"
            )
    total, _ = memory()
    if total < LEAST_MEMORY:
        raise ShelfmarkError(
            f"there are {total / 2**20:,.0f} MB of memory here, and {LEAST_MEMORY >> 20:,} MB are needed at least: "
            "give the container more"
        )
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    unbounded = most == resource.RLIM_INFINITY
    if now != resource.RLIM_INFINITY and now < ENOUGH_FILES and (unbounded or now < most):
        now = ENOUGH_FILES if unbounded else min(ENOUGH_FILES, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (now, most))
    if now != resource.RLIM_INFINITY and now < LEAST_FILES:
        raise ShelfmarkError(
            f"this process may open {now} files, and needs {LEAST_FILES} at least: raise the limit "
            f"(ulimit -n {ENOUGH_FILES})"
        )
