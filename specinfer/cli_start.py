"""How the command line starts and ends without waiting: what one answer pays for most.

None of it changes what a command does. Where something here does not apply (another typer,
a debugger, threads that still work), the usual and slower way is taken.
"""

from __future__ import annotations

import atexit
import copy
import gc
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class _Lean:
    """Has its parameters converted only where there is something to convert."""

    def get_params(self, context: Any) -> list[Any]:
        """All parameters, that for the help too."""
        parameters: list[Any] = super().get_params(context)  # type: ignore[misc]
        for one in parameters:
            if "process_value" not in vars(one):
                # The name is that of click's public method, old and new.
                one.process_value = _lean(one, one.process_value)
        return parameters


class LeanCommand(_Lean, TyperCommand):
    """A command whose texts, flags and options that were not given are taken as they are.

    typer (0.29 at least) sets up pydantic to convert any parameter, also a text to a text;
    that takes longer than to read and classify a spectrum. Numbers and paths that are given
    are still converted, and complained about, by typer.
    """


class LeanGroup(_Lean, TyperGroup):
    """Commands under one name, whose own options are taken as those of a `LeanCommand`."""


def _lean(parameter: Any, convert: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """`convert`, asked only where there is something to convert."""
    if parameter.required:
        return convert
    many = parameter.multiple or parameter.nargs != 1
    text = _annotation(parameter) in ((list[str],) if many else (str,))

    def process(context: Any, value: Any) -> Any:
        if many:
            plain = text and isinstance(value, (tuple, list)) and len(value) > 0
            value = list(value) if plain else value
        else:
            # What is not a text was not typed by anyone: a flag, or the default.
            plain = value is None or isinstance(value, (bool, int, float))
            plain = plain or (text and isinstance(value, str))
        if not plain:
            return convert(context, value)
        call = parameter.callback
        return value if call is None else call(context, parameter, value)

    return process


def _annotation(parameter: Any) -> Any:
    """The type of a parameter, if this typer says it; None is not known."""
    return getattr(getattr(parameter, "type_descriptor", None), "annotation", None)


def only(app: typer.Typer, arguments: Sequence[str]) -> typer.Typer:
    """The application with the one command that is asked for.

    typer sets up every option of every command before it runs one.

    Parameters
    ----------
    app : Typer
        Is left as it is.
    arguments : sequence of str
        Of the command line.

    Returns
    -------
    Typer
        `app` itself unless the first argument is the name of one of its own commands.
    """
    wanted = next(iter(arguments), "")
    found = [one for one in app.registered_commands if _name(one) == wanted]
    if len(found) != 1:
        return app
    lean = copy.copy(app)
    lean.registered_commands = found
    lean.registered_groups = []
    return lean


def _name(command: Any) -> str:
    return command.name or (command.callback.__name__ if command.callback else "")


def one_blas_thread() -> None:
    """Let numpy's matrix products run in the thread that asks, unless the user says otherwise.

    They are small: several threads wait for each other, on a busy machine for longer than
    the rest of an answer takes. Works only before numpy is imported.
    """
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def hold_garbage() -> None:
    """No garbage collection while modules are imported, which make almost none."""
    gc.disable()


def collect_garbage() -> None:
    """Collect garbage again, but pass over what was imported: it stays to the end."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def leave(code: int) -> None:
    """End the process, without taking every module apart first.

    What was registered to be done at exit is done, and what was printed is written out.
    Returns if the process must end in the usual way instead: other threads are at work, or a
    debugger or profiler is.

    Parameters
    ----------
    code : int
        Exit code.
    """
    if threading.active_count() > 1 or sys.gettrace() or sys.getprofile():
        return
    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:  # Python says what is to be said about it
        return
    os._exit(code)
