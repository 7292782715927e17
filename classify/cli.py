"""The command: reads arguments, and says in one line what is wrong with them."""

from __future__ import annotations

import sys
import traceback
import warnings
from typing import Any, NoReturn

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
        sys.stdout.flush()  # here a full disk can still be told
        sys.exit(code if isinstance(code, int) else 0)
    except ShelfmarkError as error:
        _fail(str(error))
    except usage_error as error:
        _fail(usage_message(error))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:
        console.hush()
        sys.exit(141)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # the option parser makes it a 1, which is a bug's
            console.hush()
            sys.exit(141)
        raise
    except UnicodeEncodeError as error:
        encoding = sys.getfilesystemencoding()
        if encoding == "utf-8" and not any("\udc80" <= sign <= "\udcff" for sign in error.object):
            _fail_as_bug(error)
        _fail(
            f"{ascii(error.object)[:100]}: no name of a file in {encoding}, in which they are written here; "
            + ("rename it" if encoding == "utf-8" else "set LC_ALL=C.UTF-8, or PYTHONUTF8=1")
        )
    except OSError as error:
        what = error.strerror or str(error)
        if error.filename is None and not console.can_write():
            console.hush()
            what = f"standard output: {what}"
        _fail(f"{error.filename}: {what}" if error.filename else what)
    except MemoryError as error:
        _fail(f"memory does not suffice ({first_line(error)}); classify doctor shows how much there is")
    except Exception as error:
        if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
            _fail("no room for another thread: the limit of memory or of processes is too low (ulimit -v, ulimit -u)")
        _fail_as_bug(error)


def _fail_as_bug(error: Exception) -> NoReturn:
    if console.is_verbose():
        console.say(traceback.format_exc().rstrip("\n"), err=True, lines=True)
    what = f"{type(error).__name__}: {first_line(error)}"
    _fail(f"a bug of shelfmark's: {what}; please report it with what --verbose and classify doctor show", code=1)


def _fail(message: str, code: int = 2) -> NoReturn:
    try:
        console.say(f"classify: {message}", err=True)
    except OSError:  # nobody hears it; the code still says it
        console.hush()
    sys.exit(code)


if __name__ == "__main__":
    main()
