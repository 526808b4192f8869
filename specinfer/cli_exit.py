"""How a command ends: an exit code, and one line on standard error for every failure."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

import typer

from specinfer.errors import SpecinferError

_BROKEN_PIPE = 141
_INTERRUPTED = 130


def exit_with(work: Callable[[], int], *, debug: bool) -> NoReturn:
    """Run a command; every failure becomes one line on standard error and an exit code.

    Parameters
    ----------
    work : callable
        Does the command's work and returns its exit code.
    debug : bool
        Whether to print the traceback of a failure, too.

    Raises
    ------
    typer.Exit
        Always, with the exit code: what `work` returned; that of a `SpecinferError`; 1 for
        anything unexpected; 3 for a module that is missing; 130 if interrupted; 141 if the
        reader of standard output has gone.
    """
    try:
        code = work()
        sys.stdout.flush()
    except SpecinferError as error:
        code = error.exit_code
        _complain(f"specinfer: {error.message} ({error.code})", debug)
    except BrokenPipeError:
        # Whoever read standard output has gone; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _BROKEN_PIPE
    except KeyboardInterrupt:
        _complain("specinfer: interrupted", False)
        code = _INTERRUPTED
    except ImportError as error:
        code = 3
        _complain(f"specinfer: {error}; reinstall specinfer (bad_installation)", debug)
    except Exception as error:
        code = 1
        _complain(
            f"specinfer: {type(error).__name__}: {error}; this is a bug of specinfer, please "
            "report it with the output of --debug (internal_error)",
            debug,
        )
    raise typer.Exit(code)


def _complain(text: str, debug: bool) -> None:
    from specinfer.cli_report import say

    if debug:
        say(traceback.format_exc().rstrip())
    say(" ".join(text.split()))
