"""`Record`: the journal as the loop uses it, in memory and on disk, with its reports."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from specinfer.watch import outcome, pairs
from specinfer.watch.folders import Found, Nights
from specinfer.watch.journal import ASIDE, DONE, GONE, PENDING, Entry, Journal
from specinfer.watch.log import Log

_OLDEST_NIGHT = "oldest_night"


class Record:
    """What is known about the files of a directory.

    Parameters
    ----------
    path : Path
        The journal.
    log : Log

    Raises
    ------
    SpecinferError
        See `Journal`.
    """

    def __init__(self, path: Path, log: Log) -> None:
        self._journal = Journal(path)
        self._log = log
        self._entries: dict[str, Entry] = {}

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def recover(self, attempts: int) -> None:
        """Take over what an earlier service left."""
        if self._journal.lost is not None:
            self._log.warning("journal_lost", self._journal.lost)
        for entry in self._journal.recover(attempts, time.time()):
            if entry.status == ASIDE:
                self._log.error("set_aside", f"{entry.file}: {entry.reason}", file=entry.file)
            else:
                self._log.info(
                    "resumed", f"{entry.file}: was in hand when the service died", file=entry.file
                )
        self._entries = {entry.file: entry for entry in self._journal.entries()}

    def __getitem__(self, file: str) -> Entry:
        return self._entries[file]

    def get(self, file: str) -> Entry | None:
        """The entry of a file, None if it was never in hand."""
        return self._entries.get(file)

    def keep(self, *entries: Entry) -> None:
        """Write entries down."""
        self._journal.save(*entries)
        self._entries.update((entry.file, entry) for entry in entries)

    def counts(self) -> dict[str, int]:
        """How many files there are of each status."""
        return self._journal.counts()

    def is_due(self, found: Found, now: float) -> bool:
        """Whether a file is to be taken in hand: new, changed, or to be tried again."""
        entry = self._entries.get(found.file)
        if entry is None or entry.signature != found.signature or entry.status == GONE:
            return True
        return entry.status == PENDING and now >= entry.next_try

    def rank(self, found: Found) -> tuple[bool, float, str]:
        """First come, first served; who was in hand when the service died comes last."""
        entry = self._entries.get(found.file)
        return entry is not None and entry.crashes > 0, found.modified, found.file

    def waiting_nights(self) -> set[str]:
        """Nights in which files wait for another try."""
        files = (entry.file for entry in self._entries.values() if entry.status == PENDING)
        return {file.split("/")[0] for file in files if "/" in file}

    def nights(self, directory: Path) -> Nights:
        """The nights to follow: from the oldest one that an earlier service still did."""
        return Nights(directory, self._journal.fact(_OLDEST_NIGHT))

    def remember(self, nights: Nights) -> None:
        """Remember which nights are followed."""
        oldest = nights.oldest
        if oldest is not None and oldest != self._journal.fact(_OLDEST_NIGHT):
            self._journal.remember(_OLDEST_NIGHT, oldest)

    def forget(self, there: set[str], nights: Iterable[str]) -> None:
        """Files that failed and were taken away wait for nothing any more.

        Parameters
        ----------
        there : set of str
            All files that there are in the followed folders.
        nights : iterable of str
            The followed nights.
        """
        followed = {None, *nights}
        for entry in list(self._entries.values()):
            night = entry.file.split("/")[0] if "/" in entry.file else None
            missing = entry.file not in there and night in followed
            if missing and entry.status in (PENDING, ASIDE):
                self.keep(outcome.gone(entry))
                self._log.info("gone", f"{entry.file}: is no longer there", file=entry.file)

    def compare(self, entry: Entry) -> None:
        """Report an answer that differs from that to another extraction of the exposure."""
        if entry.exposure is None or entry.state not in outcome.COMPARED:
            return
        others = [
            other
            for other in self._journal.of_exposure(entry.exposure)
            if other.file != entry.file and other.status == DONE and other.state in outcome.COMPARED
        ]
        found = pairs.disagreement(entry, others)
        changed = [
            outcome.disagreeing(one, found) for one in (entry, *others) if one.disagreement != found
        ]
        if not changed:
            return
        self.keep(*changed)
        if found is not None:
            self._log.warning(
                "disagreement",
                f"{entry.exposure}: {found}",
                exposure=entry.exposure,
                disagreement=found,
            )
