"""The command: reads arguments, and says in one line what is wrong with them."""

from __future__ import annotations

import sys
import traceback
import warnings
from typing import Any

import typer

from catalog.errors import ShelfmarkError, first_line
from classify import console
from classify.commands import (  # noqa: F401 -- they register their commands
    batches,
    contexts,
    doctors,
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
from classify.commands.mistakes import usage_message


def main() -> None:
    """Run the command.

    A mistake of the user's is one line on standard error and exit code 2; a bug is one line and 1, and with
    ``--verbose`` the traceback; ctrl-C is 130.
    """
    # The base class of the option parser's own errors, which typer does not export.
    usage_error: Any = typer.BadParameter.__mro__[2]
    console.reset()
    warnings.formatwarning = console.warning_lines
    if sys.platform == "win32":  # runs are locked by fcntl, which it lacks
        _fail("shelfmark runs on Linux and macOS; on Windows use WSL, the Windows Subsystem for Linux")
    try:
        code = app(standalone_mode=False, prog_name="classify")
        sys.exit(code if isinstance(code, int) else 0)
    except ShelfmarkError as error:
        _fail(str(error))
    except usage_error as error:
        _fail(usage_message(error))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        what = error.strerror or str(error)
        _fail(f"{error.filename}: {what}" if error.filename else what)
    except UnicodeEncodeError as error:  # a file's name holds bytes that are no UTF-8, and is to be written down
        before, after = error.object[: error.start].rpartition('"')[2], error.object[error.start :].partition('"')[0]
        name = f"{before[-200:]}{after[:200]}"
        _fail(f"{name}: a name that is not UTF-8 cannot be written down; rename the file or the folder")
    except MemoryError as error:
        _fail(f"memory does not suffice ({first_line(error)}); classify doctor shows how much there is")
    except Exception as error:
        if console.is_verbose():
            console.say(traceback.format_exc().rstrip("\n"), err=True, lines=True)
        what = f"{type(error).__name__}: {first_line(error)}"
        _fail(f"a bug of shelfmark's: {what}; please report it with what --verbose and classify doctor show", code=1)


def _fail(message: str, code: int = 2) -> None:
    console.say(f"classify: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
