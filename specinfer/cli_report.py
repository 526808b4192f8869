"""What goes to standard error: failures, warnings, a progress line on a terminal."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from specinfer.errors import SpecinferWarning

# Fewer files, or rows of one, than this are done before anyone wonders.
_MIN_FILES, _MIN_ROWS = 5, 20
_INTERVAL_S = 0.1
_WIDTH = 30


class Progress:
    """One line on standard error that counts files and their rows, if that is a terminal.

    Parameters
    ----------
    total : int or None
        Number of files; None if it is not known.
    enabled : bool
        False for --quiet.
    """

    def __init__(self, total: int | None, *, enabled: bool = True) -> None:
        self.total = total
        self._shown = enabled and sys.stderr.isatty()
        self.enabled = self._shown and (total is None or total >= _MIN_FILES)
        self.done = 0
        self._start = time.monotonic()
        self._row_start = self._start
        self._drawn = 0.0
        self._visible = False

    def step(self) -> None:
        """One more file is done."""
        self.done += 1
        if self.enabled:
            self._draw(self.text)
        self._row_start = time.monotonic()

    def row(self, done: int, rows: int) -> None:
        """So many rows of the present file, of so many, are read."""
        if self._shown and rows >= _MIN_ROWS:
            began = time.monotonic() - self._row_start
            self._draw(lambda elapsed: self.row_text(done, rows, began))

    def text(self, elapsed: float) -> str:
        """The line after `elapsed` seconds."""
        if self.total is None:
            return f"{self.done} files, {elapsed:.0f} s"
        left = elapsed / max(self.done, 1) * (self.total - self.done)
        return f"{_bar(self.done, self.total)} {self.done}/{self.total} files, {left:.0f} s left"

    def row_text(self, done: int, rows: int, elapsed: float) -> str:
        """The line `elapsed` seconds after a file of many rows was begun."""
        left = elapsed / max(done, 1) * (rows - done)
        of = "" if self.total in (None, 1) else f" of file {self.done + 1}/{self.total}"
        return f"{_bar(done, rows)} {done}/{rows} rows{of}, {left:.0f} s left"

    def _draw(self, text: Callable[[float], str]) -> None:
        now = time.monotonic()
        if now - self._drawn >= _INTERVAL_S:
            self._drawn = now
            self._visible = True
            sys.stderr.write("\r\x1b[K" + text(now - self._start))
            sys.stderr.flush()

    def hide(self) -> None:
        """Clear the line, so that other output can come."""
        if self._visible:
            self._visible = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _bar(done: int, total: int) -> str:
    filled = _WIDTH * done // max(total, 1)
    return "[" + "#" * filled + "-" * (_WIDTH - filled) + "]"


class Reporter:
    """Lines on standard error that do not collide with the progress line."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._said: set[str] = set()

    def once(self, text: str) -> None:
        """Print one line, unless it was printed before."""
        if text not in self._said:
            self._said.add(text)
            self.line(text)

    def line(self, text: str) -> None:
        """Print one line (or a traceback)."""
        self.progress.hide()
        say(text)

    def finish(self) -> None:
        """The work is over: take the progress line away."""
        self.progress.hide()


def say(text: str) -> None:
    """Print a line on standard error, whatever bytes file names may hold."""
    encoding = sys.stderr.encoding or "utf-8"
    clean = text.encode(encoding, "backslashreplace").decode(encoding)
    sys.stderr.write(clean + "\n")
    sys.stderr.flush()


def warnings_to_lines(*, quiet: bool, debug: bool) -> None:
    """From now on, specinfer's own warnings are single lines, others appear with --debug only.

    Parameters
    ----------
    quiet : bool
        No warnings at all.
    debug : bool
        Warnings of libraries too, in Python's form.
    """
    if debug:
        return
    warnings.simplefilter("ignore")
    if not quiet:
        warnings.filterwarnings("always", category=SpecinferWarning)

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        say(f"specinfer: warning: {message}")

    warnings.showwarning = show
