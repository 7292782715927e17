"""The command reference, made from the code: python -m classify.commands.reference docs/commands.md (make docs)."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import classify.cli  # noqa: F401 -- it has all commands registered
from catalog.files import atomic_write
from classify.commands.app import app
from classify.commands.help import record, sections
from classify.commands.parameters import PROGRAM

HEAD = """\
# The command, option by option

Made from the code by `make docs`; a test tells when it is out of date. `classify COMMAND --help` shows the same.
Every command takes `--verbose`, `--quiet` and `--help`.
"""


def reference() -> str:
    """Return the page: each command with what it takes, under the headings of its help."""
    program: Any = typer.main.get_command(app)
    context = typer.Context(program, info_name="classify")
    lines = [HEAD, *_command(program, "classify", program=True)]
    for name in program.list_commands(context):
        lines += _command(program.commands[name], f"classify {name}", program=False)
    return "\n".join(lines)


def _command(command: Any, name: str, *, program: bool) -> Iterator[str]:
    context = typer.Context(command, info_name=name)
    yield f"## {name}\n"
    yield f"    {name} {' '.join(command.collect_usage_pieces(context))}\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    for heading, parameters in sections(command, context):
        rows = [record(one, context) for one in parameters if program or heading != PROGRAM]
        cells = [(written, about) for written, about in filter(None, rows)]
        if cells:
            yield f"| {heading} | |\n|---|---|"
            yield from (f"| `{written}` | {_plain(about)} |" for written, about in cells)
            yield ""


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")


def main() -> None:
    """Write the page to the file that is named."""
    with atomic_write(Path(sys.argv[1])) as out:
        out.write(reference())


if __name__ == "__main__":
    main()
