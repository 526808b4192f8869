"""Posting in a thread of its own, so that a dead network never holds up an answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specinfer.errors import SpecinferError
from specinfer.watch.log import Log

if TYPE_CHECKING:
    from specinfer.config_tables import DecisionConfig, SkyPortalConfig
    from specinfer.outbox import Delivered, Outbox
    from specinfer.skyportal_outcome import Sender

# Longest sleep: a spectrum may be uploaded, or the clock be set, at any time.
_LONGEST = 30.0
_AFTER_ERROR = 10.0
# Seconds that the end of the service waits for the post in hand. One that is cut off is
# looked for at the portal by the next service before it is posted again.
_PATIENCE = 15.0
# What `--once` gives the portal.
_DRAIN = 60.0


class Delivery:
    """Posts what is in the outbox.

    Parameters
    ----------
    database : Path
        The journal's file, which holds the outbox, too.
    client : Sender
        Of the portal, or of a dry run.
    config : SkyPortalConfig
    decisions : DecisionConfig
    log : Log
    """

    def __init__(
        self,
        database: Path,
        client: Sender,
        config: SkyPortalConfig,
        decisions: DecisionConfig,
        log: Log,
    ) -> None:
        self._database = database
        self._client = client
        self._config = config
        self._decisions = decisions
        self._log = log
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._outbox: Outbox | None = None
        self._thread: threading.Thread | None = None
        self._problem: str | None = None

    def start(self) -> None:
        """Begin to post.

        Raises
        ------
        SpecinferError
            If the outbox cannot be used.
        """
        from specinfer.outbox import Outbox

        self._outbox = Outbox(self._database, self._config, self._decisions)
        self._thread = threading.Thread(
            target=self._run, args=(self._outbox,), name="specinfer-delivery", daemon=True
        )
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
        if self._outbox is not None and self._outbox.enqueue(document, path, picture):
            self._wake.set()

    def waiting(self) -> int:
        """How many posts wait."""
        return 0 if self._outbox is None else self._outbox.pending()

    def report(self) -> dict[str, Any]:
        """What the heartbeat says about posts."""
        counts = {} if self._outbox is None else self._outbox.counts()
        return {"posts": counts, "problem": self._problem}

    def drain(self, stop: Callable[[], bool]) -> None:
        """Wait until all is posted, not for ever, and not when asked to stop."""
        deadline = time.monotonic() + _DRAIN
        while self.waiting() and time.monotonic() < deadline and not stop():
            time.sleep(0.05)

    def stop(self) -> None:
        """Finish the post in hand and end."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE)
            if self._thread.is_alive():
                # The process ends anyway; the outbox knows that the post was begun.
                return
        if self._outbox is not None:
            self._outbox.close()
        close = getattr(self._client, "close", None)
        if close is not None:
            close()

    def _run(self, outbox: Outbox) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self._tell(outbox.deliver(self._client, stop=self._stop.is_set))
                due = outbox.next_due()
                pause = _LONGEST if due is None else min(due, _LONGEST)
            except Exception as error:  # answers go on, and so must this thread
                known = isinstance(error, SpecinferError)
                self._say(str(error) if known else f"{type(error).__name__}: {error}")
                pause = _AFTER_ERROR
            # Never without a breath, should the outbox think that all is always due.
            self._wake.wait(max(pause, 0.02))

    def _tell(self, delivered: Delivered) -> None:
        """Log what one round came to."""
        self._say(delivered.problem)
        if delivered.done:
            self._log.info(
                "posted",
                f"portal: {delivered.posted} posted, {delivered.updated} updated, "
                f"{delivered.already} were there",
                posted=delivered.posted,
                updated=delivered.updated,
                already=delivered.already,
            )
        if delivered.failed:
            self._log.error(
                "refused",
                f"portal: {delivered.failed} posts were refused or given up; see --status",
                failed=delivered.failed,
            )

    def _say(self, problem: str | None) -> None:
        """Log a problem when it begins."""
        if problem is not None and self._problem is None:
            self._log.warning("portal", f"portal: {problem}; posts wait")
        self._problem = problem
