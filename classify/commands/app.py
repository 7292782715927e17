"""The application that commands belong to, and how they carry out a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from catalog.errors import ShelfmarkError
from classify.commands.help import Command, Group
from classify.commands.parameters import talks
from classify.console import say, show_also

if TYPE_CHECKING:
    from classify.run import Run

Function = TypeVar("Function", bound=Callable[..., Any])


class Program(typer.Typer):
    """The application: each of its commands can say more or less, and has its options under headings."""

    def command(self, name: str | None = None, **how: Any) -> Callable[[Function], Function]:
        """Register a command."""
        register = super().command(name, **{"cls": Command, **how})

        def add(function: Function) -> Function:
            register(talks(function))
            return function

        return add


app = Program(
    cls=Group,
    add_completion=True,
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Put products on the right shelf: short noisy product text in, one valid label path out.\n\n"
    "classify --strategy tree --train TRAIN --test TEST does it; classify alone shows what to do next.",
)


def execute(folder: Path, begin: Callable[[], Run], **how: Any) -> None:
    """Begin a run or open one, carry it out, print what came of it; where it stops, say how to carry on.

    Raises
    ------
    ShelfmarkError
        When a file cannot be written, or the job cannot be done.
    """
    from classify.tables import run_table

    def hint(mended: str = "") -> str:
        if (folder / "manifest.json").is_file():
            return f"{mended}carry on with: classify resume {folder}"
        return f"nothing was begun; {mended}give the command again"

    try:
        run = begin()
        run.execute(**how)
    except KeyboardInterrupt:
        from classify.engines.ledger import read_ledger

        books = read_ledger(folder)
        if books is not None and books.unsettled:
            say(f"classify: its batches go on at the provider; classify batches {folder} --cancel stops them", err=True)
        say(f"classify: stopped; {hint()}", err=True)
        raise
    except OSError as error:  # a full disk, most likely
        what = f"{error.filename or folder}: {error.strerror or error}"
        raise ShelfmarkError(f"{what}; {hint('when that is mended, ')}") from None
    show_also(run_table(run), folder)
