"""``specinfer watch --status``: how a service is, from its lock, heartbeat and journal."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from specinfer.errors import SpecinferError
from specinfer.watch import heartbeat, lock
from specinfer.watch.journal import ASIDE, FILE_NAME, PENDING, Entry, read_entries

SCHEMA = "specinfer.watch-status/1"
# So many heartbeats may be missed before the service counts as stuck.
_MISSED = 4
# Seconds that a model may take to load from a slow disk.
_LOADING = 300.0
# Problems that the table shows; --json has all.
_SHOWN = 20


def look(directory: Path, state: Path, now: float | None = None) -> dict[str, Any]:
    """How the service of a directory is.

    Parameters
    ----------
    directory : Path
        What it watches.
    state : Path
        The state folder.
    now : float, optional
        Seconds since 1970.

    Returns
    -------
    dict
        Plain JSON values; ``service`` is starting, running, unreachable (its directory cannot be
        read), stopping, stuck (no heartbeat though it holds the lock), stopped, died (not
        stopped, yet gone) or never (there has been none).

    Raises
    ------
    SpecinferError
        If the journal cannot be read (code ``no_journal``).
    """
    now = time.time() if now is None else now
    beat = heartbeat.read(state)
    held = lock.is_held(state)
    entries = read_entries(state / FILE_NAME)
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry.status] = counts.get(entry.status, 0) + 1
    return {
        "schema": SCHEMA,
        "directory": str(directory),
        "service": _service(beat, held, now),
        "heartbeat_age": None if beat is None else round(now - float(beat.get("time", 0.0)), 3),
        "heartbeat": beat,
        "files": counts,
        "states": _states(entries),
        "problems": [_problem(entry) for entry in entries if entry.status in (PENDING, ASIDE)],
        "disagreements": sorted({e.disagreement for e in entries if e.disagreement is not None}),
        "outbox": _outbox(state / FILE_NAME),
    }


def is_well(status: dict[str, Any]) -> bool:
    """Whether the service runs and reads its directory."""
    return status["service"] in ("starting", "running", "stopping")


def lines(status: dict[str, Any]) -> list[str]:
    """The status for people."""
    beat = status["heartbeat"] or {}
    told = [f"{status['directory']}: {_SENTENCES[status['service']].format(**_words(status))}"]
    if status["files"]:
        states = ", ".join(f"{count} {state}" for state, count in status["states"].items())
        waiting = ", ".join(
            f"{status['files'][name]} {words}"
            for name, words in (("running", "in hand"), (PENDING, "to be tried again"),
                                (ASIDE, "set aside"))
            if status["files"].get(name)
        )  # fmt: skip
        told.append("files: " + "; ".join(part for part in (states, waiting) if part))
    if beat.get("median_latency") is not None:
        told.append(f"median from complete file to answer: {beat['median_latency']:.2f} s")
    if status["outbox"] is not None:
        posts = status["outbox"]["posts"]
        told.append("posts: " + (", ".join(f"{n} {name}" for name, n in posts.items()) or "none"))
        problem = (beat.get("outbox") or {}).get("problem")
        if problem and is_well(status):
            told.append(f"  portal: {problem}")
        told += [
            f"  {post['object']}: {post['kind']} was refused: {post['message']}"
            for post in status["outbox"]["refused"][:_SHOWN]
        ]
    for problem in status["problems"][:_SHOWN]:
        what = "set aside" if problem["status"] == ASIDE else f"tried {problem['attempts']} times"
        told.append(f"  {problem['file']}: {what}: {problem['reason']}")
    if len(status["problems"]) > _SHOWN:
        told.append(f"  and {len(status['problems']) - _SHOWN} more: --json has all")
    told += [f"  extractions disagree: {words}" for words in status["disagreements"][:_SHOWN]]
    return told


_SENTENCES = {
    "starting": "process {pid} on {host} is loading its model",
    "running": "watched by process {pid} on {host}, model {model}, last heartbeat {age} ago",
    "stopping": "process {pid} on {host} is finishing what it has in hand",
    "unreachable": "process {pid} on {host} cannot read the directory, and tries on",
    "stuck": "process {pid} on {host} gives no sign of life: last heartbeat {age} ago",
    "stopped": "not watched; the service was stopped {age} ago",
    "died": "not watched; the service died, its last heartbeat was {age} ago",
    "never": "not watched, and never was with this state folder",
}


def _words(status: dict[str, Any]) -> dict[str, str]:
    beat = status["heartbeat"] or {}
    age = status["heartbeat_age"]
    return {
        "pid": str(beat.get("pid", "?")),
        "host": str(beat.get("host", "?")),
        "model": str(beat.get("model", "?")),
        "age": "some time" if age is None else _span(age),
    }


def _span(seconds: float) -> str:
    for size, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"


def _service(beat: dict[str, Any] | None, held: bool | None, now: float) -> str:
    if beat is None:
        # It has just taken the lock.
        return "starting" if held else "never"
    told = str(beat.get("status"))
    patience = _LOADING if told == "starting" else _MISSED * float(beat.get("interval", 5.0))
    late = now - float(beat.get("time", 0.0)) > patience
    if held is None:
        held = not late and told != "stopped"
    if not held:
        return "stopped" if told == "stopped" else "died"
    if told == "stopped":
        return "starting"  # again
    return "stuck" if late else told


def _states(entries: list[Entry]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in entries:
        if entry.state is not None and entry.status == "done":
            counts[entry.state] = counts.get(entry.state, 0) + 1
    return dict(sorted(counts.items()))


def _problem(entry: Entry) -> dict[str, Any]:
    return {
        "file": entry.file,
        "status": entry.status,
        "reason": entry.reason,
        "attempts": entry.attempts,
        "next_try": entry.next_try or None,
    }


def _outbox(journal: Path) -> dict[str, Any] | None:
    """How many posts there are of each state, and what was refused; None without an outbox.

    Read as it is on the disk: `specinfer.outbox` needs a portal's configuration, and may
    change the file.
    """
    if not journal.exists():
        return None
    try:
        uri = f"{journal.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as database:
            tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
            if "outbox" not in tables:
                return None
            states = "SELECT state, count(*) FROM outbox GROUP BY state ORDER BY state"
            refused = "SELECT obj, kind, message FROM outbox WHERE state = 'failed' ORDER BY id"
            return {
                "posts": dict(database.execute(states).fetchall()),
                "refused": [
                    {"object": obj, "kind": kind, "message": message}
                    for obj, kind, message in database.execute(refused)
                ],
            }
    except sqlite3.Error as error:
        raise SpecinferError(
            "no_journal",
            f"the journal {journal} cannot be read ({error}); start the service, which mends it",
        ) from None
