"""The journal: what was done with which file, in SQLite, so that a restart resumes.

It is a convenience, not the truth: that is beside the spectra (sidecars, and header cards
with ``--annotate``). A lost journal is rebuilt by looking at them again.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from specinfer.errors import SpecinferError

FILE_NAME = "journal.sqlite3"

# Status of a file.
RUNNING = "running"  # a service has, or had when it died, this file in hand
PENDING = "pending"  # failed, will be tried again
DONE = "done"
ASIDE = "aside"  # failed for good, until the file changes
GONE = "gone"  # failed, and is no longer there

# Seconds that SQLite waits for whoever else writes (`--status`, the outbox).
_PATIENCE = 10.0
# A service that dies is mostly killed; only who takes it down time and again is poison.
_CRASHES_AN_ATTEMPT = 2

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spectra (
    file TEXT PRIMARY KEY,
    signature TEXT NOT NULL,
    status TEXT NOT NULL,
    state TEXT,
    reason TEXT,
    sha256 TEXT,
    model TEXT,
    class TEXT,
    probability REAL,
    redshift REAL,
    redshift_err REAL,
    exposure TEXT,
    extraction TEXT,
    disagreement TEXT,
    attempts INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    next_try REAL NOT NULL,
    first_seen REAL NOT NULL,
    started REAL NOT NULL,
    finished REAL,
    latency REAL
);
CREATE INDEX IF NOT EXISTS spectra_by_exposure ON spectra (exposure);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Entry:
    """What the journal knows about one file.

    Parameters
    ----------
    file : str
        Its path below the watched directory.
    signature : str
        Sizes and times of file and text twin when it was last taken in hand.
    status : {"running", "pending", "done", "aside", "gone"}
    state, reason : str or None
        The state of its sidecar (OK, LOWQ, ...), or what went wrong.
    sha256, model : str or None
        Of its content; ``name@version``.
    class_name, probability, redshift, redshift_err : optional
        The answer in short.
    exposure, extraction : str or None
        Which exposure it is of, and how it was extracted (robot, contsep, ...).
    disagreement : str or None
        How the answer differs from that of another extraction.
    attempts, crashes : int
        Failed tries; how often the service died while it was in hand.
    next_try : float
        When it may be tried again (seconds since 1970, as all times).
    first_seen, started : float
    finished, latency : float or None
        When there was an answer; how many seconds that was after the file was complete.
    """

    file: str
    signature: str
    status: str = RUNNING
    state: str | None = None
    reason: str | None = None
    sha256: str | None = None
    model: str | None = None
    class_name: str | None = None
    probability: float | None = None
    redshift: float | None = None
    redshift_err: float | None = None
    exposure: str | None = None
    extraction: str | None = None
    disagreement: str | None = None
    attempts: int = 0
    crashes: int = 0
    next_try: float = 0.0
    first_seen: float = 0.0
    started: float = 0.0
    finished: float | None = None
    latency: float | None = None


_NAMES = tuple(f.name for f in fields(Entry))
_COLUMNS = ", ".join("class" if name == "class_name" else name for name in _NAMES)
_SAVE = f"INSERT OR REPLACE INTO spectra ({_COLUMNS}) VALUES ({', '.join(['?'] * len(_NAMES))})"


class Journal:
    """The journal of one watched directory; used by one thread.

    Parameters
    ----------
    path : Path
        Its file, which is made if it is not there. One that is damaged is put aside under
        another name and a new one begun: `lost` then has a sentence about it.

    Raises
    ------
    SpecinferError
        ``no_journal`` if it cannot be written, or its file system has no locks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost: str | None = None
        with self._errors():
            try:
                self._database = _open(path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                aside = _put_aside(path)
                self.lost = f"the journal was damaged ({error}); it is kept as {aside.name}"
                self._database = _open(path)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def save(self, *entries: Entry) -> None:
        """Write entries, replacing those of the same files, all or none."""
        rows = [[getattr(entry, name) for name in _NAMES] for entry in entries]
        with self._errors(), self._database:
            self._database.executemany(_SAVE, rows)

    def entries(self) -> list[Entry]:
        """All of them, by file name."""
        return self._select("ORDER BY file")

    def get(self, file: str) -> Entry | None:
        """The entry of a file, None if there is none."""
        found = self._select("WHERE file = ?", file)
        return found[0] if found else None

    def of_exposure(self, exposure: str) -> list[Entry]:
        """What was extracted from one exposure, by file name."""
        return self._select("WHERE exposure = ? ORDER BY file", exposure)

    def recover(self, attempts: int, now: float) -> list[Entry]:
        """Take over from a service that died: what it had in hand is to be done again.

        Parameters
        ----------
        attempts : int
            As in `WatchOptions`.
        now : float

        Returns
        -------
        list of Entry
            What was in hand. A file that has been so too often is set aside.
        """
        found = []
        for entry in self._select("WHERE status = ?", RUNNING):
            crashes = entry.crashes + 1
            entry = replace(entry, status=PENDING, crashes=crashes, next_try=now)
            if crashes >= _CRASHES_AN_ATTEMPT * attempts:
                reason = f"the service died {crashes} times while this file was in hand"
                entry = replace(entry, status=ASIDE, reason=reason, finished=now)
            found.append(entry)
        self.save(*found)
        return found

    def counts(self) -> dict[str, int]:
        """How many files there are of each status."""
        with self._errors():
            rows = self._database.execute("SELECT status, count(*) FROM spectra GROUP BY status")
            return {str(status): int(count) for status, count in rows}

    def fact(self, name: str) -> str | None:
        """A remembered fact about the directory."""
        with self._errors():
            row = self._database.execute(
                "SELECT value FROM facts WHERE name = ?", (name,)
            ).fetchone()
        return None if row is None else str(row[0])

    def remember(self, name: str, value: str) -> None:
        """Remember a fact, replacing what was remembered under that name."""
        with self._errors(), self._database:
            self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def _select(self, condition: str, *values: Any) -> list[Entry]:
        with self._errors():
            rows = self._database.execute(
                f"SELECT {_COLUMNS} FROM spectra {condition}", values
            ).fetchall()
        return [Entry(*row) for row in rows]

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise SpecinferError(
                "no_journal",
                f"the journal {self.path} cannot be used ({error}); give a folder on a local "
                "disk that you may write to with --state",
            ) from error


def read_entries(path: Path) -> list[Entry]:
    """The entries of a journal that a service may be writing, without changing anything.

    Parameters
    ----------
    path : Path
        Its file.

    Returns
    -------
    list of Entry
        By file name; empty if there is no journal.

    Raises
    ------
    SpecinferError
        ``no_journal`` if it cannot be read.
    """
    if not path.exists():
        return []
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_PATIENCE)) as database:
            query = f"SELECT {_COLUMNS} FROM spectra ORDER BY file"
            return [Entry(*row) for row in database.execute(query)]
    except sqlite3.Error as error:
        raise SpecinferError(
            "no_journal",
            f"the journal {path} cannot be read ({error}); start the service, which mends it",
        ) from None


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_PATIENCE)
    try:
        # A transaction survives the death of the process; after a power failure the last
        # ones may be missing, and are then found again from the sidecars.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        found = {row[1] for row in database.execute("PRAGMA table_info(spectra)")}
        if found and found != set(_COLUMNS.split(", ")):
            # Of another version: begun anew. The outbox beside it stays.
            database.execute("DROP TABLE spectra")
        database.executescript(_SCHEMA)
        if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("its pages are inconsistent")
    except BaseException:
        database.close()
        raise
    return database


def _put_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    path.replace(aside)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    return aside
