"""How much the command says, and where: on standard output what was found, on standard error what matters meanwhile.

Everything that is printed passes through here, and no value of it gives the terminal orders: names of files, labels and
what a provider says come from elsewhere (`catalog.foreign.visible`).

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
from catalog.foreign import json_line, visible
from classify.progress import Progress, bar, silent, timed

_LEVEL = {"said": 0}
_format_warning = warnings.formatwarning


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record), lines=True)


def warning_lines(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Return what Python prints of a warning."""
    return visible(_format_warning(message, category, filename, lineno, line), lines=True)


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
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Formatter("%(name)s: %(message)s"))
        logging.basicConfig(level=logging.INFO, handlers=[handler])
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
    from classify.terminal import Terminal

    # Where nobody watches (a file, a pipe) a table is not cut to a terminal's width.
    Terminal(width=None if sys.stdout.isatty() else 140).print(table)


def show_json(value: Any) -> None:
    """Print a value that was asked for as one line of JSON, which a program reads back the same."""
    typer.echo(json_line(value))


def say(text: object, *, err: bool = False, lines: bool = False) -> None:
    """Print what is said however much is said: one line, or with `lines` several."""
    typer.echo(visible(str(text), lines=lines), err=err)


def show_also(table: Any, of: Path | None = None) -> None:
    """Print a table that goes with a result; where that is wanted alone, its path."""
    if not is_quiet():
        show(table)
    elif of is not None:
        say(of)


def result(path: Path, about: str) -> None:
    """Print where a result is, and what there is to say of it."""
    say(path if is_quiet() else f"{path}{about}")


def advise(text: str) -> None:
    """Print what goes with a result: what was done, what to do next."""
    if not is_quiet():
        say(text, lines=True)


def tell(line: str) -> None:
    """Print on standard error what people may want to know while they wait."""
    if not is_quiet():
        print(visible(line), file=sys.stderr, flush=True)
