"""Help pages: options under headings, commands first. Plain text, so that it reads the same in a pipe."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

from classify.commands.parameters import FILES, HEADINGS, PROGRAM

ORDER = (
    *("doctor", "sample", "context", "plan", "fit", "tuning", "resume", "batches", "export", "import"),
    *("evaluate", "report", "submit", "vote", "ask", "snap", "profile", "push"),
)
_KINDS = {"list[Path]": "PATH", "path": "PATH", "str": "TEXT", "int": "INTEGER", "float": "NUMBER"}
ARGUMENTS, OPTIONS = "Arguments", "Options"


def sections(command: Any, context: Any) -> list[tuple[str, list[Any]]]:
    """Return a command's parameters under their headings, in the order in which they are shown.

    Parameters
    ----------
    command, context
        Of the option parser.

    Returns
    -------
    list of (str, list of parameter)
        Headings without parameters are left out.
    """
    found: dict[str, list[Any]] = {heading: [] for heading in (ARGUMENTS, *HEADINGS)}
    for parameter in command.get_params(context):
        if parameter.param_type_name == "argument":
            heading = ARGUMENTS
        elif parameter.name in ("help", "install_completion", "show_completion"):
            heading = PROGRAM
        else:
            heading = parameter.rich_help_panel or FILES
        found.setdefault(heading, []).append(parameter)
    found[PROGRAM] = found.pop(PROGRAM)  # last, whatever headings a command has of its own
    kinds = [heading for heading in found if found[heading] and heading not in (ARGUMENTS, PROGRAM)]
    return [
        (OPTIONS if [heading] == kinds else heading, parameters) for heading, parameters in found.items() if parameters
    ]


def record(parameter: Any, context: Any) -> tuple[str, str] | None:
    """Return how a parameter is written, its values named by words of people, and what it does; None for a hidden one.

    Parameters
    ----------
    parameter, context
        Of the option parser.
    """
    found: tuple[str, str] | None = parameter.get_help_record(context)
    if found is None:
        return None
    return re.sub(r"<([\w\[\]]+)(?: range)?>", lambda kind: _KINDS.get(kind[1], kind[0]), found[0]), found[1]


def _write(command: Any, context: Any, formatter: Any) -> None:
    for heading, parameters in sections(command, context):
        rows = [found for found in (record(one, context) for one in parameters) if found is not None]
        if rows:
            with formatter.section(heading):
                formatter.write_dl(rows)


class Command(TyperCommand):
    """A command whose options stand under headings."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what stands behind the command's name: its arguments in capitals."""
        return [piece.replace("{", "").replace("}", "").upper() for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write them."""
        _write(self, ctx, formatter)


class Group(TyperGroup):
    """The program: its commands, then its own options under headings."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return their names, in the order in which a job needs them; one that is not in it comes last."""
        del ctx
        return sorted(self.commands, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write them."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, self.commands[name].get_short_help_str(200)) for name in self.list_commands(ctx)]
            )
        _write(self, ctx, formatter)
