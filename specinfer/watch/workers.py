"""Threads that answer spectra, watched so that none can hang the service."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from specinfer.watch.folders import Found

if TYPE_CHECKING:
    from specinfer.pipeline import Handled

# Threads that hang cannot be stopped; with so many of them something is very wrong.
_MOST_HUNG = 8


@dataclass(frozen=True)
class Finished:
    """What came of a file.

    Parameters
    ----------
    found : Found
        As it was when it was taken in hand.
    handled : Handled or None
        The answer; None if there was an error.
    error : Exception or None
    """

    found: Found
    handled: Handled | None = None
    error: Exception | None = None


class Workers:
    """A few threads that call one function on files.

    Parameters
    ----------
    answer : callable
        From a file to its answer.
    jobs : int
        How many threads.
    done : callable
        Called with each `Finished`, in the thread that made it.
    """

    def __init__(
        self,
        answer: Callable[[Found], Handled],
        jobs: int,
        done: Callable[[Finished], None],
    ) -> None:
        self.jobs = jobs
        self._answer = answer
        self._done = done
        self._queue: queue.SimpleQueue[Found | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        # By file: what is in hand, and since when.
        self._in_hand: dict[str, tuple[Found, float]] = {}
        self._given_up: set[int] = set()
        self.hung = 0
        for _ in range(jobs):
            self._start()

    @property
    def free(self) -> int:
        """How many files could be begun now."""
        with self._lock:
            return self.jobs - len(self._in_hand)

    def begin(self, found: Found) -> None:
        """Take a file in hand; there must be a free thread."""
        with self._lock:
            self._in_hand[found.file] = (found, time.monotonic())
        self._queue.put(found)

    def release(self, found: Found) -> bool:
        """What came of a file was received; False if it had been given up meanwhile."""
        with self._lock:
            current = self._in_hand.get(found.file)
            wanted = current is not None and current[0] is found
            if wanted:
                del self._in_hand[found.file]
        return wanted

    def in_hand(self) -> dict[str, float]:
        """The files that are not released yet, and for how many seconds."""
        now = time.monotonic()
        with self._lock:
            return {file: now - since for file, (_, since) in self._in_hand.items()}

    def give_up(self, timeout: float) -> list[Found]:
        """Files that were in hand for longer than that; their threads are replaced.

        A thread cannot be stopped: it is left to itself, and what it may still give is
        dropped.
        """
        now = time.monotonic()
        with self._lock:
            late = [found for found, since in self._in_hand.values() if now - since > timeout]
            for found in late:
                del self._in_hand[found.file]
                self._given_up.add(id(found))
        for _ in late:
            self.hung += 1
            self._start()
        return late

    @property
    def too_many_hang(self) -> bool:
        """Whether the process should better start afresh."""
        return self.hung >= _MOST_HUNG

    def stop(self) -> None:
        """No more files will come; threads end when they have nothing in hand."""
        for _ in range(self.jobs):
            self._queue.put(None)

    def _start(self) -> None:
        # Daemons: one that hangs must not keep the process from ending.
        threading.Thread(target=self._work, name="specinfer-worker", daemon=True).start()

    def _work(self) -> None:
        while (found := self._queue.get()) is not None:
            try:
                finished = Finished(found, handled=self._answer(found))
            except Exception as error:  # what it means is for the loop to say
                finished = Finished(found, error=error)
            with self._lock:
                if id(found) in self._given_up:
                    self._given_up.remove(id(found))
                    return  # replaced by another thread
            self._done(finished)
