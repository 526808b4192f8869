"""The service: look, take in hand what is complete, write down what came of it."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specinfer.errors import SpecinferError
from specinfer.watch import heartbeat, outcome
from specinfer.watch.folders import Found, Nights, spectra
from specinfer.watch.journal import ASIDE, FILE_NAME, PENDING, Entry
from specinfer.watch.lock import only_one
from specinfer.watch.log import Log
from specinfer.watch.notify import Notices
from specinfer.watch.options import WatchOptions
from specinfer.watch.record import Record
from specinfer.watch.settle import Settling
from specinfer.watch.vitals import Vitals
from specinfer.watch.workers import Finished, Workers

if TYPE_CHECKING:
    from specinfer.pipeline import Handled
    from specinfer.watch.delivery import Delivery

# Notices come in swarms; looks come no faster than this.
_LEAST_PAUSE = 0.02
# Times what a look took: the least time until the next one.
_REST = 4.0
# A directory that cannot be read is looked at no more often.
_PAUSE_IF_UNREACHABLE = 1.0
# A file that never stops changing does not keep `--once` from ending.
_ONCE_PATIENCE = 60.0


@dataclass(frozen=True)
class _Stop:
    """Somebody wants the service to end."""


@dataclass(frozen=True)
class _Wake:
    """Something changed in a followed folder."""


class Service:
    """Watches one directory.

    Parameters
    ----------
    options : WatchOptions
    answer : callable
        From the path of a spectrum to what came of it (see `specinfer.pipeline.handle`).
    log : Log
    prepare : callable, optional
        Loads what is needed when the lock is held, before the first look; gives what the
        heartbeat says besides (the model).
    delivery : Delivery, optional
        Posts answers; nothing is posted without it.
    """

    def __init__(
        self,
        options: WatchOptions,
        answer: Callable[[Path], Handled],
        log: Log,
        *,
        prepare: Callable[[], dict[str, Any]] | None = None,
        delivery: Delivery | None = None,
    ) -> None:
        self.options = options
        self._answer = answer
        self._log = log
        self._delivery = delivery
        self._prepare = prepare
        # Its put may be called by a signal handler, whatever the main thread is at.
        self._events: queue.SimpleQueue[Finished | _Stop | _Wake] = queue.SimpleQueue()
        self._notices = Notices(lambda: self._events.put(_Wake()))
        self._settling = Settling(options.settle)
        self._ready: list[Found] = []
        self._next_look = 0.0
        self._unreachable = False
        self._stopping = False
        self._asked = threading.Event()
        self._fatal: SpecinferError | None = None
        # With `once` a file is tried once.
        self._tried: set[str] = set()
        self._swept: set[Path] = set()

    def stop(self) -> None:
        """Finish what is in hand and end; may be called by a signal handler or a thread."""
        self._asked.set()
        self._events.put(_Stop())

    def run(self) -> int:
        """Watch until stopped.

        Returns
        -------
        int
            Exit code: 1 if something failed with ``once``, else 0.

        Raises
        ------
        SpecinferError
            If the directory is watched already, journal or lock cannot be used, the model
            is broken, or too many spectra hang.
        """
        options = self.options
        state = options.state_folder
        _make(state)
        with only_one(options.directory, state), contextlib.ExitStack() as closing:
            self._record = Record(state / FILE_NAME, self._log)
            closing.callback(self._record.close)
            heartbeat.sweep(state)
            self._record.recover(options.attempts)
            self._nights: Nights = self._record.nights(options.directory)
            with contextlib.suppress(OSError):
                # At once: should a night begin while the model is loaded, or after a kill in
                # this moment, the one before is not forgotten.
                self._nights.follow(time.monotonic())
                self._record.remember(self._nights)
            self._vitals = Vitals(options)
            self._vitals.beat("starting", dict)
            if self._prepare is not None:
                self._vitals.facts = self._prepare()
            closing.callback(self._notices.stop)
            self._workers = Workers(
                lambda found: self._answer(found.path), options.jobs, self._events.put
            )
            closing.callback(self._workers.stop)
            if self._delivery is not None:
                self._delivery.start()
                closing.callback(self._delivery.stop)
            heartbeat.tell_systemd("READY=1")
            self._vitals.beat("running", self._report)
            self._log.info(
                "started",
                f"watching {options.directory} for {options.pattern}",
                directory=str(options.directory),
                pattern=options.pattern,
                pid=os.getpid(),
            )
            self._loop()
            self._end()
            code = self._exit_code()
        if self._fatal is not None:
            raise self._fatal
        return code

    def _loop(self) -> None:
        while True:
            if not self._stopping and time.monotonic() >= self._next_look:
                self._look()
            if not self._stopping:
                self._begin()
            self._give_up()
            self._vitals.beat(self._status(), self._report)
            if self._is_over():
                return
            self._wait()

    def _look(self) -> None:
        """See what is there, and what of it is complete."""
        options, began = self.options, time.monotonic()
        try:
            nights = self._nights.follow(began, self._record.waiting_nights())
            folders = [options.directory, *(options.directory / name for name in nights)]
            there = [
                found
                for folder in folders
                for found in spectra(options.directory, folder, options.pattern)
            ]
        except OSError as error:
            if not self._unreachable:
                self._log.warning(
                    "unreachable",
                    f"{options.directory} cannot be read ({error.strerror}); trying on",
                )
            self._unreachable = True
            self._next_look = time.monotonic() + max(options.interval, _PAUSE_IF_UNREACHABLE)
            return
        if self._unreachable:
            self._unreachable = False
            self._log.info("reachable", f"{options.directory} can be read again")
        self._follow(folders)
        in_hand = self._workers.in_hand()
        due = [found for found in there if found.file not in in_hand and self._is_due(found)]
        self._ready = sorted(self._settling.settled(due, began), key=self._record.rank)
        self._record.forget({found.file for found in there}, nights)
        took = time.monotonic() - began
        self._vitals.looked(nights, len(due), took)
        # A slow disk with many files is left in peace most of the time.
        self._next_look = time.monotonic() + max(options.interval, _REST * took)

    def _follow(self, folders: list[Path]) -> None:
        """What is to be done about folders when they are followed."""
        from specinfer.replacing import sweep

        self._record.remember(self._nights)
        if self.options.notify and not self.options.once:
            self._notices.follow(folders)
        for folder in folders:
            if folder not in self._swept:
                self._swept.add(folder)
                # Temporary files of services that were killed.
                sweep(folder)

    def _is_due(self, found: Found) -> bool:
        if not self.options.once:
            return self._record.is_due(found, time.time())
        entry = self._record.get(found.file)
        tried = found.file in self._tried and entry is not None
        if tried and entry is not None and entry.signature == found.signature:
            return False
        # What waits for another try need not wait: this is it.
        return self._record.is_due(found, float("inf"))

    def _begin(self) -> None:
        """Give the threads that are free something to do."""
        while self._ready and self._workers.free > 0:
            found = self._ready.pop(0)
            self._record.keep(outcome.begun(found, self._record.get(found.file), time.time()))
            self._tried.add(found.file)
            self._workers.begin(found)

    def _take(self, finished: Finished) -> None:
        """Write down what came of a file."""
        if not self._workers.release(finished.found):
            return
        entry = self._record[finished.found.file]
        handled, error = finished.handled, finished.error
        if handled is not None and handled.state != outcome.UNREADABLE:
            try:
                self._done(entry, finished.found, handled)
                return
            except SpecinferError as problem:  # the outbox cannot be written
                error = problem
        if isinstance(error, SpecinferError) and error.exit_code == 3:
            self._fatal, self._stopping = error, True
        if error is not None:
            unbound = outcome.is_not_of_the_file(error)
            self._failed(entry, outcome.sentence(error), for_ever=unbound)
        elif handled is not None:
            self._failed(entry, handled.reason)

    def _done(self, entry: Entry, found: Found, handled: Handled) -> None:
        from specinfer.sidecar import read_sidecar

        now = time.time()
        document = read_sidecar(found.path)
        if self._delivery is not None and document is not None:
            # Before it is written down as done: after a kill it is queued again, to no effect.
            self._delivery.enqueue(document, found.path, handled.picture)
        event = outcome.event(entry, handled)
        entry = outcome.answered(entry, handled, document, now)
        if event == "answered" and self._vitals.started <= found.modified <= now:
            entry = outcome.timed(entry, now - found.modified)
        self._record.keep(entry)
        self._vitals.answered(entry, fresh=event == "answered")
        if event is not None:
            self._log.info(event, outcome.words(entry, event), **outcome.facts(entry))
        self._record.compare(entry)

    def _failed(self, entry: Entry, reason: str, *, for_ever: bool = False) -> None:
        now = time.time()
        entry = outcome.failed(entry, reason, self.options, now, for_ever=for_ever)
        self._record.keep(entry)
        self._vitals.failed()
        facts = outcome.facts(entry)
        if entry.status == ASIDE:
            words = f"{entry.file}: set aside after {entry.attempts} tries: {reason}"
            self._log.error("set_aside", words, **facts)
        else:
            pause = f"try {entry.attempts}, again in {entry.next_try - now:.1f} s"
            self._log.warning("failed", f"{entry.file}: {reason} ({pause})", **facts)

    def _give_up(self) -> None:
        """Let go of files that hang."""
        limit = self.options.timeout
        for found in self._workers.give_up(limit):
            self._failed(self._record[found.file], f"took more than {limit:g} s")
        if self._workers.too_many_hang:
            self._stopping = True
            self._fatal = SpecinferError(
                "hangs",
                f"{self._workers.hung} spectra took more than {limit:g} s; look at the disk and "
                "start again",
            )

    def _status(self) -> str:
        if self._stopping:
            return "stopping"
        return "unreachable" if self._unreachable else "running"

    def _report(self) -> dict[str, Any]:
        return {
            "files": self._record.counts(),
            "in_hand": {file: round(age, 3) for file, age in self._workers.in_hand().items()},
            "notices": self._notices.state,
            "outbox": None if self._delivery is None else self._delivery.report(),
        }

    def _is_over(self) -> bool:
        if self._workers.in_hand():
            return False
        if self._stopping or not self.options.once or self._unreachable:
            return self._stopping or self.options.once
        age = time.monotonic() - self._vitals.started_monotonic
        growing = self._settling.next_settled() is not None and age < _ONCE_PATIENCE
        return not self._ready and not growing

    def _wait(self) -> None:
        """Sleep until there is something to do, and take note of what happened."""
        until = self._vitals.next_beat
        if not self._stopping:
            settled = self._settling.next_settled()
            if settled is not None:
                self._look_at(settled)
            until = min(until, self._next_look)
        with contextlib.suppress(queue.Empty):
            self._hear(self._events.get(timeout=max(0.001, until - time.monotonic())))
            while True:
                self._hear(self._events.get_nowait())

    def _hear(self, event: Finished | _Stop | _Wake) -> None:
        if isinstance(event, Finished):
            self._take(event)
        elif isinstance(event, _Stop):
            self._stopping = True
        else:
            self._look_at(0.0)

    def _look_at(self, when: float) -> None:
        """Have the next look at that time if it would be later, but not too soon."""
        self._next_look = min(self._next_look, max(when, self._vitals.last_look + _LEAST_PAUSE))

    def _end(self) -> None:
        """Say good-bye; with ``once``, try to post what waits."""
        if self.options.once and self._delivery is not None and not self._stopping:
            self._delivery.drain(self._asked.is_set)
        counts = self._record.counts()
        self._log.info(
            "stopped",
            f"stopped: {self._vitals.answers} answers, {self._vitals.failures} failures, "
            f"{counts.get(PENDING, 0)} to be tried again, {counts.get(ASIDE, 0)} set aside",
            answers=self._vitals.answers,
            failures=self._vitals.failures,
        )
        heartbeat.tell_systemd("STOPPING=1")
        self._vitals.beat("stopped", self._report)

    def _exit_code(self) -> int:
        if not self.options.once:
            return 0
        growing = self._settling.next_settled() is not None
        if growing:
            self._log.error("growing", "files are still being written; run again when they are not")
        waiting = 0 if self._delivery is None else self._delivery.waiting()
        if waiting:
            self._log.error("not_posted", f"posts that wait in the outbox: {waiting}; run again")
        return int(bool(growing or waiting or self._unreachable or self._vitals.failures))


def _make(state: Path) -> None:
    """Make the state folder.

    Raises
    ------
    SpecinferError
        ``no_state``.
    """
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecinferError(
            "no_state",
            f"the state folder {state} cannot be made ({error.strerror}); give one that you may "
            "write to with --state",
        ) from None
