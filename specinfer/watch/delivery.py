"""Posting in a thread of its own, so that a dead network never holds up an answer."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specinfer.errors import SpecinferError
from specinfer.watch.log import Log

if TYPE_CHECKING:
    from specinfer.outbox import Outbox
    from specinfer.skyportal import SkyPortal

# Posts between two looks at whether the service is to end.
_AT_A_TIME = 5
# Seconds between two looks at posts that wait for another try.
_PAUSE = 0.5
_PAUSE_AFTER_ERROR = 10.0
# Seconds that the end of the service waits for the post in hand. One that is cut off is
# looked for at the portal by the next service before it is posted again.
_PATIENCE = 15.0


class Delivery:
    """Posts what is in the outbox.

    Parameters
    ----------
    database : Path
        The journal's file, which holds the outbox, too.
    make_client : callable
        Makes the client of the portal, in the thread that uses it.
    log : Log
    """

    def __init__(self, database: Path, make_client: Callable[[], SkyPortal], log: Log) -> None:
        self._database = database
        self._make_client = make_client
        self._log = log
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._outbox: Outbox | None = None
        self._thread: threading.Thread | None = None
        self._posting = False

    def start(self) -> None:
        """Begin to post."""
        from specinfer.outbox import Outbox

        # One connection for the thread that queues, another for the one that posts.
        self._outbox = Outbox(self._database)
        self._thread = threading.Thread(target=self._run, name="specinfer-delivery", daemon=True)
        self._thread.start()

    def enqueue(self, document: Mapping[str, Any], path: Path, picture: Path | None) -> None:
        """Queue what is to be posted of an answer; what is queued already stays as it is.

        Parameters
        ----------
        document : mapping
            The sidecar.
        path : Path
            The spectrum.
        picture : Path or None

        Raises
        ------
        SpecinferError
            If the outbox cannot be written.
        """
        assert self._outbox is not None
        self._outbox.enqueue(document, path, picture)
        self._wake.set()

    def waiting(self) -> int:
        """How many posts wait."""
        return 0 if self._outbox is None else self._outbox.pending()

    def report(self) -> dict[str, Any]:
        """What the heartbeat says about posts."""
        failures = [] if self._outbox is None else self._outbox.failures()
        return {"waiting": self.waiting(), "refused": len(failures)}

    def drain(self, timeout: float = 60.0) -> None:
        """Wait until all is posted, at most `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.waiting() and time.monotonic() < deadline and self._alive():
            time.sleep(0.05)

    def stop(self) -> None:
        """Finish the post in hand and end."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE)
        if self._outbox is not None:
            self._outbox.close()

    def _alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        from specinfer.outbox import Outbox

        said = ""
        with contextlib.ExitStack() as closing:
            outbox = Outbox(self._database)
            closing.callback(outbox.close)
            client = None
            while not self._stop.is_set():
                self._wake.clear()
                pause = _PAUSE
                try:
                    if client is None:
                        client = self._make_client()
                        closing.callback(client.close)
                    if self._deliver(outbox, client):
                        pause = 0.0
                    said = ""
                except Exception as error:  # the thread must live: answers go on
                    words = error.message if isinstance(error, SpecinferError) else repr(error)
                    if words != said:
                        self._log.error("portal", f"nothing can be posted now: {words}")
                    said, pause = words, _PAUSE_AFTER_ERROR
                if pause:
                    self._wake.wait(pause)

    def _deliver(self, outbox: Outbox, client: SkyPortal) -> bool:
        """Post a few; whether there may be more."""
        raise NotImplementedError
