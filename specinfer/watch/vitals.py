"""What the service tells about itself, and when it does."""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from specinfer import __version__
from specinfer.watch import heartbeat
from specinfer.watch.journal import Entry
from specinfer.watch.options import WatchOptions

# Of so many answers the latency is told.
_RECENT = 200


class Vitals:
    """Counts of one run of the service, and its heartbeat.

    Parameters
    ----------
    options : WatchOptions

    Attributes
    ----------
    facts : dict
        What every heartbeat says besides.
    """

    def __init__(self, options: WatchOptions) -> None:
        self._options = options
        self.facts: dict[str, Any] = {}
        self.started = time.time()
        self.started_monotonic = time.monotonic()
        self.last_look = 0.0
        self.next_beat = 0.0
        self.answers = 0
        self.failures = 0
        self._status = ""
        self._nights: list[str] = []
        self._due = 0
        self._look_seconds = 0.0
        self._last: Entry | None = None
        self._latencies: deque[float] = deque(maxlen=_RECENT)

    def looked(self, nights: list[str], due: int, seconds: float) -> None:
        """There was a look at the directory: what is followed, how many files wait."""
        self.last_look = time.monotonic()
        self._nights, self._due, self._look_seconds = nights, due, seconds

    def answered(self, entry: Entry, *, fresh: bool) -> None:
        """A file has its answer."""
        self._last = entry
        if fresh:
            self.answers += 1
            if entry.latency is not None:
                self._latencies.append(entry.latency)

    def failed(self) -> None:
        """A file could not be answered."""
        self.failures += 1

    def beat(self, status: str, report: Callable[[], dict[str, Any]]) -> None:
        """Write a heartbeat if it is time, or if the status is another.

        Parameters
        ----------
        status : str
            starting, running, unreachable, stopping or stopped.
        report : callable
            Gives what only the service knows.
        """
        now = time.monotonic()
        if now < self.next_beat and status == self._status:
            return
        self._status, self.next_beat = status, now + self._options.heartbeat
        last = self._last
        facts = {
            "status": status,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "specinfer": __version__,
            **self.facts,
            "directory": str(self._options.directory.absolute()),
            "pattern": self._options.pattern,
            "nights": self._nights,
            "started": self.started,
            "time": time.time(),
            "interval": self._options.heartbeat,
            "answers": self.answers,
            "failures": self.failures,
            "waiting": self._due,
            "look_ms": round(1e3 * self._look_seconds, 3),
            "median_latency": statistics.median(self._latencies) if self._latencies else None,
            "last": None if last is None else {"file": last.file, "state": last.state},
            **report(),
        }
        try:
            heartbeat.write(self._options.state_folder, facts)
        except OSError:
            # A full disk: who looks at the heartbeat sees that it is old.
            return
        if status != "starting":
            heartbeat.tell_systemd("WATCHDOG=1")
