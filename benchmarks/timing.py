"""Times of several things in one run, turn by turn, so that a drift of the machine hits all.

The garbage collector stays on, as in use; it is run once before the first turn.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from specinfer.errors import UsageError

# Fewer repetitions give no figure.
MINIMUM = 20

Action = Callable[[int], Any]


def require(count: int, option: str) -> None:
    """Refuse numbers of repetitions that say nothing.

    Raises
    ------
    UsageError
        ``too_few``.
    """
    if count < MINIMUM:
        raise UsageError(
            "too_few", f"{option} {count}: fewer than {MINIMUM} repetitions give no figure"
        )


def interleave(
    actions: Mapping[str, Action],
    rounds: int,
    *,
    warmups: int = 3,
    block: int = 1,
    title: str = "",
) -> dict[str, list[float]]:
    """Seconds of every call, after some that do not count.

    Parameters
    ----------
    actions : mapping of str to callable
        Each gets the number of its call, from 0; the calls that warm up get the same
        numbers as those that follow them.
    rounds : int
        Timed calls of each.
    warmups : int, optional
        Calls of each that are not timed.
    block : int, optional
        Calls of one before the next has its turn; all are timed. With 1 each finds the
        caches of the processor full of what the others left.
    title : str, optional
        For the progress bar on standard error; without one there is none.

    Returns
    -------
    dict of str to list of float
        In the order of the calls. The order of turns is another in every round, the same in
        every run: none always follows the same neighbour.

    Raises
    ------
    UsageError
        ``too_few``; see `MINIMUM`.
    """
    require(rounds, "repetitions")
    names = list(actions)
    for name in names:
        for number in range(warmups):
            actions[name](number)
    gc.collect()
    order = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    progress = _Progress(title, rounds)
    for start in range(0, rounds, block):
        order.shuffle(names)
        for name in names:
            action, taken = actions[name], seconds[name]
            for number in range(start, min(start + block, rounds)):
                began = time.perf_counter_ns()
                action(number)
                taken.append(1e-9 * (time.perf_counter_ns() - began))
        progress.show(start + block)
    return seconds


class _Progress:
    """A line on a terminal, written between turns: no thread of its own disturbs them."""

    def __init__(self, title: str, total: int) -> None:
        self._on = bool(title) and sys.stderr.isatty()
        self._title, self._total, self._shown = title, total, 0.0

    def show(self, done: int) -> None:
        if not self._on:
            return
        now, last = time.monotonic(), done >= self._total
        if last or now - self._shown > 0.5:
            self._shown = now
            text = "" if last else f"{self._title}: {done} of {self._total}"
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
