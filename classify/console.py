"""How much the command says, and where: on standard output what was found, on standard error what matters meanwhile.

What a command was asked to show, it always shows. With ``--quiet`` nothing goes with it: no bars, no tables, no advice;
of a result, its path alone. With ``--verbose`` each stage tells how long it took, and libraries tell what they log.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import typer

from catalog.errors import ShelfmarkError
from classify.progress import Progress, bar, silent, timed

_LEVEL = {"said": 0}


def settle(*, verbose: bool = False, quiet: bool = False) -> None:
    """Say more or less from here on; neither leaves it as it is.

    Raises
    ------
    ShelfmarkError
        When both are wanted.
    """
    if (verbose or is_verbose()) and (quiet or is_quiet()):
        raise ShelfmarkError("give one of --verbose and --quiet")
    if verbose:
        _LEVEL["said"] = 1
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
        warnings.simplefilter("default")
    elif quiet:
        _LEVEL["said"] = -1
        warnings.simplefilter("ignore")


def reset() -> None:
    """Begin anew: neither more nor less, on streams that can take any text."""
    _LEVEL["said"] = 0
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who began the process: what is printed goes nowhere
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 -- until the process ends
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # a name of a file may hold what no encoding can write
            stream.reconfigure(errors="backslashreplace")


def can_write() -> bool:
    """Tell whether what was printed can be written to standard output."""
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return True


def hush() -> None:
    """Have what is still to be printed go nowhere, so that Python does not try once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def is_quiet() -> bool:
    """Tell whether results alone are wanted."""
    return _LEVEL["said"] < 0


def is_verbose() -> bool:
    """Tell whether more is wanted."""
    return _LEVEL["said"] > 0


def is_watched() -> bool:
    """Tell whether somebody looks at standard error, and wants bars."""
    return sys.stderr.isatty() and not is_quiet()


def progress() -> Progress:
    """Return what opens progress bars, or keeps silent."""
    return silent if is_quiet() else timed if is_verbose() else bar


def show(table: Any) -> None:
    """Print a table that was asked for."""
    from rich.console import Console

    # Where nobody watches (a file, a pipe) a table is not cut to a terminal's width.
    Console(width=None if sys.stdout.isatty() else 140, highlight=False).print(table)


def show_also(table: Any, of: Path | None = None) -> None:
    """Print a table that goes with a result; where that is wanted alone, its path."""
    if not is_quiet():
        show(table)
    elif of is not None:
        typer.echo(of)


def result(path: Path, about: str) -> None:
    """Print where a result is, and what there is to say of it."""
    typer.echo(path if is_quiet() else f"{path}{about}")


def advise(line: str) -> None:
    """Print a line that goes with a result: what was done, what to do next."""
    if not is_quiet():
        typer.echo(line)


def tell(line: str) -> None:
    """Print on standard error what people may want to know while they wait."""
    if not is_quiet():
        print(line, file=sys.stderr, flush=True)
