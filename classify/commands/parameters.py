"""Options in groups: defined once, taken by several commands, shown under one heading."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import typer

from classify import console

FILES, HOW, ENGINE, MONEY, PROGRAM = "What goes in and out", "How", "Engine", "Money", "This program"
HEADINGS = (FILES, HOW, "rag", "tree", "lora", "openai", ENGINE, MONEY, PROGRAM)
"""Of options, in the order in which they are shown."""

Names = Iterable[str] | Callable[[], Iterable[str]]
Group = dict[str, inspect.Parameter]


def completing(names: Names) -> Callable[[str], list[str]]:
    """Return what a shell asks for the rest of a word: those of `names` that begin so."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in (names() if callable(names) else names) if name.startswith(incomplete)]

    return complete


@dataclass(frozen=True)
class Option:
    """An option that need not be given.

    Attributes
    ----------
    kind : type
        Of its value.
    help : str
        What it does.
    flags : tuple of str
        How it is written, where that does not follow from its name.
    names : iterable of str, or callable
        Values that a shell completes.
    more : dict
        What else typer is told.
    """

    kind: Any
    help: str
    flags: tuple[str, ...] = ()
    names: Names = ()
    more: dict[str, Any] = field(default_factory=dict)

    def parameter(self, name: str, heading: str) -> inspect.Parameter:
        """Return the parameter of a command called `name`."""
        complete = completing(self.names) if self.names else None
        info = typer.Option(
            None, *self.flags, help=self.help, rich_help_panel=heading, autocompletion=complete, **self.more
        )
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=self.kind | None)


def group(heading: str, **options: Option) -> Group:
    """Return options that stand under one heading."""
    return {name: option.parameter(name, heading) for name, option in options.items()}


def some(options: Group, *names: str) -> Group:
    """Return those of these names."""
    return {name: options[name] for name in names}


def takes(**groups: Group) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Have a command take groups of options.

    Parameters
    ----------
    **groups
        By the name of the function's parameter that they go to, as a dict of those that were given.
    """

    def wrap(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**values: Any) -> None:
            for name, options in groups.items():
                taken = {option: values.pop(option) for option in options}
                values[name] = {option: value for option, value in taken.items() if value is not None}
            function(**values)

        own = [one for one in _parameters(function) if one.name not in groups]
        return _with_parameters(command, [*own, *(one for options in groups.values() for one in options.values())])

    return wrap


_TALK = {
    "verbose": typer.Option(
        False, "--verbose", help="Say more: times, logs, what a bug looks like.", rich_help_panel=PROGRAM
    ),
    "quiet": typer.Option(
        False, "--quiet", help="Errors, and the result or where it is; nothing beside.", rich_help_panel=PROGRAM
    ),
}


def talks(function: Callable[..., None]) -> Callable[..., None]:
    """Have a command take ``--verbose`` and ``--quiet``."""

    @functools.wraps(function)
    def command(*, verbose: bool, quiet: bool, **values: Any) -> None:
        console.settle(verbose=verbose, quiet=quiet)
        if function.__name__ != "doctor":  # which shows what there is, and loads no library
            from classify.limits import check_limits

            check_limits()
        function(**values)

    keyword = inspect.Parameter.KEYWORD_ONLY
    flags = [inspect.Parameter(name, keyword, default=info, annotation=bool) for name, info in _TALK.items()]
    return _with_parameters(command, [*_parameters(function), *flags])


def _parameters(function: Callable[..., None]) -> list[inspect.Parameter]:
    """Return a command's parameters; typer gives them all by name."""
    signature = inspect.signature(function, eval_str=True)
    return [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in signature.parameters.values()]


def _with_parameters(command: Any, parameters: list[inspect.Parameter]) -> Callable[..., None]:
    """Have typer see these parameters in place of the function's own."""
    del command.__wrapped__
    command.__signature__ = inspect.Signature(parameters)
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    found: Callable[..., None] = command
    return found
