"""How far a run is: a bar with rate and time left on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from specinfer.cli_report import say

if TYPE_CHECKING:
    from rich.progress import Progress

# The rate now is that of so many seconds.
_WINDOW_S = 30.0
_LINE_EVERY_S = 15.0


class Meter:
    """Counts rows, and shows them on standard error.

    Parameters
    ----------
    rows : int
        Rows to do in this run, as far as the plan knows.
    shown : bool
        False for --quiet.
    """

    def __init__(self, rows: int, *, shown: bool = True) -> None:
        self.rows = rows
        self.planned = 0
        self.spectra = 0
        self.failed = 0
        self._began = self._said = time.monotonic()
        self._recent: deque[tuple[float, int, int]] = deque([(self._began, 0, 0)])
        self._shown = shown
        self._bar: Progress | None = None
        self._task: Any = None
        if shown and sys.stderr.isatty():
            self._start_bar()

    def add(self, planned: int, spectra: int, failed: int) -> None:
        """A chunk is done: rows that were planned, rows that came, and failed ones."""
        self.planned += planned
        self.spectra += spectra
        self.failed += failed
        now = time.monotonic()
        self._recent.append((now, self.planned, self.spectra))
        while len(self._recent) > 2 and now - self._recent[1][0] > _WINDOW_S:
            self._recent.popleft()
        self.draw()

    def text(self, now: float) -> str:
        """Rates, time left, failures."""
        then, planned, spectra = self._recent[0]
        span = max(now - then, 1e-3)
        overall = self.spectra / max(now - self._began, 1e-3)
        said = f"{(self.spectra - spectra) / span:.0f}/s now, {overall:.0f}/s overall"
        if self.planned > planned:
            left = (self.rows - self.planned) * span / (self.planned - planned)
            said += f", {_clock(left)} left"
        return said + (f", {self.failed} failed" if self.failed else "")

    def draw(self) -> None:
        """Show where it is."""
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=self.planned, rates=self.text(now))
        elif self._shown and now - self._said >= _LINE_EVERY_S:
            self._said = now
            say(f"specinfer: {self.planned} of {self.rows} rows, {self.text(now)}")

    def line(self, text: str) -> None:
        """A line that does not collide with the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            say(text)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=self.rows, rates="")
        self._bar.start()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
