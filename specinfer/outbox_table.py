"""The outbox on disk: one row a post, every change a transaction."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specinfer.errors import SpecinferError
from specinfer.skyportal_posts import Kind, Post

# States: pending; sent (it is at the portal); failed (refused or given up); withheld (not to
# be posted after all); superseded (another answer came before it was sent); shown (dry run).
_TABLE = """
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY,
    portal TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    model TEXT NOT NULL,
    kind TEXT NOT NULL,
    obj TEXT NOT NULL,
    stems TEXT NOT NULL,
    body TEXT NOT NULL,
    picture TEXT,
    state TEXT NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    queued REAL NOT NULL,
    next_try REAL NOT NULL,
    started REAL,
    finished REAL,
    outcome TEXT,
    message TEXT,
    UNIQUE (portal, sha256, model, kind)
)
"""
_BUSY_S = 30.0


@dataclass(frozen=True)
class Row:
    """One post with its history.

    ``revision`` counts how often it came to say something else; times are in seconds
    since 1970, and ``started`` is that of an attempt whose end was not seen.
    """

    id: int
    revision: int
    post: Post
    state: str
    attempts: int
    queued: float
    started: float | None
    finished: float | None
    message: str


class OutboxTable:
    """The rows of one portal; may be shared by threads.

    Parameters
    ----------
    database : Path
        SQLite file, made if it is not there; others may have tables in it.
    portal : str
        Its URL: what was posted to a test portal is not posted to the real one.

    Raises
    ------
    SpecinferError
        ``bad_outbox``, from every method: the file cannot be used.
    """

    def __init__(self, database: Path, portal: str) -> None:
        self._database = database
        self._portal = portal
        self._lock = threading.Lock()
        with self._errors():
            # Transactions are written out here, not opened by Python as it thinks best.
            self._sql = sqlite3.connect(
                database, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._sql.row_factory = sqlite3.Row
            self._sql.execute("PRAGMA journal_mode = WAL")
            self._sql.execute("PRAGMA synchronous = FULL")
            self._sql.execute(_TABLE)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._sql.close()

    @contextlib.contextmanager
    def change(self) -> Iterator[None]:
        """A transaction: all that is done in it, or nothing."""
        with self._lock, self._errors():
            self._sql.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._sql.execute("ROLLBACK")
                raise
            self._sql.execute("COMMIT")

    def put(self, sha256: str, model: str, post: Post, held: str | None, *, dry: bool) -> bool:
        """Write one post, within `change`.

        Parameters
        ----------
        sha256, model : str
            With the kind, what the post is known by.
        post : Post
        held : str or None
            Why it is withheld, if it is.
        dry : bool
            Whether it is for a dry run, which need not say it again.

        Returns
        -------
        bool
            Whether there is something new to send.
        """
        now = time.time()
        key = (self._portal, sha256, model, post.kind)
        there = self._sql.execute(
            "SELECT * FROM outbox WHERE portal = ? AND sha256 = ? AND model = ? AND kind = ?", key
        ).fetchone()
        # Another answer for the same file takes the place of what was not sent yet.
        self._sql.execute(
            "UPDATE outbox SET state = 'superseded', finished = ? WHERE portal = ? AND kind = ? "
            "AND state = 'pending' AND id != ? AND EXISTS "
            "(SELECT 1 FROM json_each(stems) WHERE value = ?)",
            (now, self._portal, post.kind, there["id"] if there else -1, post.stems[0]),
        )
        state = "pending" if held is None else "withheld"
        if there is None:
            self._sql.execute(
                "INSERT INTO outbox (portal, sha256, model, kind, obj, stems, body, picture, "
                "state, queued, next_try, message) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*key, post.obj, json.dumps(post.stems), post.body_json(), post.picture,
                 state, now, now, held),
            )  # fmt: skip
            return held is None
        stems = json.dumps(list(dict.fromkeys([*json.loads(there["stems"]), *post.stems])))
        settled = {"sent", "failed", state} | ({"shown"} if dry else set())
        says_the_same = there["body"] == post.body_json() and there["obj"] == post.obj
        if says_the_same and there["state"] in settled:
            # Perhaps of a copy of the file, which goes by another name.
            self._sql.execute("UPDATE outbox SET stems = ? WHERE id = ?", (stems, there["id"]))
            return False
        self._sql.execute(
            "UPDATE outbox SET obj = ?, stems = ?, body = ?, picture = ?, state = ?, "
            "revision = revision + 1, attempts = 0, queued = ?, next_try = ?, message = ? "
            "WHERE id = ?",
            (post.obj, stems, post.body_json(), post.picture, state, now, now, held, there["id"]),
        )
        return held is None

    def due(self, after_crash: float, limit: int | None) -> list[int]:
        """What is to be tried now, oldest first.

        Parameters
        ----------
        after_crash : float
            Seconds after which an attempt whose end was not seen must be over.
        limit : int or None

        Returns
        -------
        list of int
            Row ids.
        """
        now = time.time()
        rows = self._rows(
            "SELECT id FROM outbox WHERE portal = ? AND state = 'pending' AND next_try <= ? "
            "AND coalesce(started + ?, 0) <= ? ORDER BY id LIMIT ?",
            self._portal,
            now,
            after_crash,
            now,
            -1 if limit is None else limit,
        )
        return [row["id"] for row in rows]

    def next_due(self, after_crash: float) -> float | None:
        """When something is to be tried, in seconds since 1970; None if nothing is pending."""
        (row,) = self._rows(
            "SELECT min(max(next_try, coalesce(started + ?, 0))) AS due FROM outbox "
            "WHERE portal = ? AND state = 'pending'",
            after_crash,
            self._portal,
        )
        return None if row["due"] is None else float(row["due"])

    def begin(self, number: int) -> Row | None:
        """Note that a post is being sent; None if it is no longer to be."""
        with self.change():
            self._sql.execute(
                "UPDATE outbox SET started = ? WHERE id = ? AND state = 'pending'",
                (time.time(), number),
            )
            found = self._sql.execute(
                "SELECT * FROM outbox WHERE id = ? AND state = 'pending'", (number,)
            ).fetchone()
        return None if found is None else _row(found)

    def finish(self, row: Row, state: str, outcome: str, message: str) -> None:
        """The post needs no further attempt, unless it came to say something else meanwhile."""
        with self.change():
            ended = self._sql.execute(
                "UPDATE outbox SET state = ?, outcome = ?, message = ?, finished = ?, "
                "attempts = attempts + 1, started = NULL WHERE id = ? AND revision = ?",
                (state, outcome, message, time.time(), row.id, row.revision),
            )
            if not ended.rowcount:
                self._sql.execute("UPDATE outbox SET started = NULL WHERE id = ?", (row.id,))

    def put_off(self, row: Row, attempts: int, wait: float, message: str) -> None:
        """Try the post again after `wait` seconds."""
        with self.change():
            self._sql.execute(
                "UPDATE outbox SET attempts = ?, next_try = ?, message = ?, started = NULL "
                "WHERE id = ? AND state = 'pending'",
                (attempts, time.time() + wait, message, row.id),
            )

    def revive(self, state: str) -> int:
        """Make all posts of a state pending again; how many they are."""
        now = time.time()
        with self.change():
            return self._sql.execute(
                "UPDATE outbox SET state = 'pending', attempts = 0, queued = ?, next_try = ?, "
                "started = NULL, revision = revision + 1 WHERE portal = ? AND state = ?",
                (now, now, self._portal, state),
            ).rowcount

    def counts(self) -> dict[str, int]:
        """How many posts there are of each state."""
        rows = self._rows(
            "SELECT state, count(*) AS n FROM outbox WHERE portal = ? GROUP BY state",
            self._portal,
        )
        return {row["state"]: row["n"] for row in rows}

    def of_state(self, state: str) -> list[Row]:
        """The posts of one state, oldest first."""
        rows = self._rows(
            "SELECT * FROM outbox WHERE portal = ? AND state = ? ORDER BY id", self._portal, state
        )
        return [_row(row) for row in rows]

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock, self._errors():
            return self._sql.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise SpecinferError(
                "bad_outbox",
                f"{self._database} cannot be used ({error}); free disk space, or move the file "
                "away: posts that are at the portal are found there",
            ) from None


def _row(found: sqlite3.Row) -> Row:
    kind: Kind = found["kind"]
    stems = tuple(json.loads(found["stems"]))
    return Row(
        id=found["id"],
        revision=found["revision"],
        post=Post(kind, found["obj"], stems, json.loads(found["body"]), found["picture"]),
        state=found["state"],
        attempts=found["attempts"],
        queued=found["queued"],
        started=found["started"],
        finished=found["finished"],
        message=found["message"] or "",
    )
