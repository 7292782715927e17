"""What is wrong with a command line, in one line, with the nearest that would be right."""

from __future__ import annotations

from typing import Any

import typer

from catalog.errors import ShelfmarkError, nearest
from classify.commands.app import app


def usage_message(error: Any) -> str:
    """Return what the option parser found wrong; of an option that another command has, which one.

    Parameters
    ----------
    error
        The option parser's error.
    """
    name, context = getattr(error, "option_name", None), error.ctx
    if not hasattr(error, "possibilities") or name is None or context is None:
        return " ".join(error.format_message().split()) + _surplus(error, context)
    if name.lstrip("-") in _arguments(context.command):
        return f"{name}: {context.command_path} takes it without the name: {context.command_path} {name[2:].upper()}"
    program: Any = typer.main.get_command(app)
    owners = [f"classify {other}" for other, command in program.commands.items() if name in _flags(command)]
    if name in _flags(program):
        owners.insert(0, "classify itself")
    hint = f"; it is one of {', '.join(owners)}" if owners else _nearest(name, _flags(context.command))
    return f"{name}: no such option of {context.command_path}{hint or f'; see {context.command_path} --help'}"


def check_before(context: typer.Context) -> None:
    """Refuse options of the program's own before a command, which would not see them; how much is said may stand there.

    Raises
    ------
    ShelfmarkError
        When there is one.
    """
    for one in context.command.params:
        source = context.get_parameter_source(one.name or "")
        if one.name not in ("verbose", "quiet") and source is not None and source.name == "COMMANDLINE":
            name = context.invoked_subcommand
            raise ShelfmarkError(
                f"{one.opts[0]} before the command {name}: put it after, where it has such an option "
                f"(classify {name} --help)"
            )


def _surplus(error: Any, context: Any) -> str:
    """Return what a command takes, where it was given more."""
    if context is None or "unexpected extra argument" not in error.format_message():
        return ""
    taken = " ".join(name.upper() for name in _arguments(context.command)) or "options alone"
    return f"; {context.command_path} takes {taken}; see {context.command_path} --help"


def _arguments(command: Any) -> list[str]:
    return [one.name for one in command.params if one.param_type_name == "argument"]


def _nearest(name: str, flags: list[str]) -> str:
    """Return `nearest`, by the words alone: dashes make all flags alike."""
    return nearest(name.lstrip("-"), [flag.lstrip("-") for flag in flags]).replace("'", "'--", 1)


def _flags(command: Any) -> list[str]:
    options = [one for one in command.params if one.param_type_name == "option"]
    return [flag for one in options for flag in (*one.opts, *one.secondary_opts)]
