"""Rates, time left, and where they are shown."""

from __future__ import annotations

import io
import sys

import pytest

from specinfer.batch import progress
from specinfer.batch.progress import Meter


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_rates_and_time_left(clock: Clock) -> None:
    meter = Meter(10_000, shown=False)
    for _ in range(100):
        clock.now += 1.0
        meter.add(20, 18, 0)
    assert meter.text(clock.now) == "18/s now, 18/s overall, 6 min 40 s left"
    # Twice as fast from now on: the rate of the last half minute says so, and so does the rest.
    for _ in range(40):
        clock.now += 1.0
        meter.add(40, 36, 1)
    assert meter.text(clock.now) == "36/s now, 23/s overall, 2 min 40 s left, 40 failed"


def test_long_runs_are_told_in_hours(clock: Clock) -> None:
    meter = Meter(1_000_000, shown=False)
    clock.now += 10.0
    meter.add(1000, 1000, 0)
    assert meter.text(clock.now) == "100/s now, 100/s overall, 2 h 46 min left"


def test_lines_now_and_then_where_there_is_no_terminal(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    meter = Meter(1000)
    for _ in range(40):
        clock.now += 1.0
        meter.add(10, 10, 0)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "specinfer: 150 of 1000 rows, 10/s now, 10/s overall, 1 min 25 s left",
        "specinfer: 300 of 1000 rows, 10/s now, 10/s overall, 1 min 10 s left",
    ]
    silent = Meter(1000, shown=False)
    clock.now += 100.0
    silent.add(10, 10, 0)
    assert not capsys.readouterr().err


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    meter = Meter(1000)
    meter.add(250, 250, 3)
    meter.line("specinfer: something [to] say")
    meter.close()
    shown = screen.getvalue()
    assert "250/1000" in shown
    assert "3 failed" in shown
    assert "specinfer: something [to] say" in shown
