"""The command: reads arguments, and says in one line what is wrong with them."""

from __future__ import annotations

import sys
from typing import Any

import typer

from catalog.errors import ShelfmarkError
from classify.commands import (  # noqa: F401 -- they register their commands
    batches,
    fits,
    jobs,
    machines,
    models,
    plans,
    reports,
    results,
    snaps,
    tuning,
)
from classify.commands.app import app


def main() -> None:
    """Run the command. A mistake of the user's is one line on standard error and exit code 2; ctrl-C is 130."""
    # The base class of the option parser's own errors, which typer does not export.
    usage_error: Any = typer.BadParameter.__mro__[2]
    try:
        code = app(standalone_mode=False, prog_name="classify")
        sys.exit(code if isinstance(code, int) else 0)
    except ShelfmarkError as error:
        _fail(str(error))
    except usage_error as error:
        _fail(" ".join(error.format_message().split()))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        what = error.strerror or str(error)
        _fail(f"{error.filename}: {what}" if error.filename else what)


def _fail(message: str) -> None:
    typer.echo(f"classify: {message}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
