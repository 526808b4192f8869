"""``specinfer watch --status``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from specinfer.errors import SpecinferError
from specinfer.watch import heartbeat, lock
from specinfer.watch.journal import ASIDE, DONE, PENDING, Entry, Journal
from specinfer.watch.status import is_well, lines, look


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / ".specinfer"
    folder.mkdir()
    return folder


def beat(state: Path, **facts: Any) -> None:
    usual = {"status": "running", "pid": 42, "host": "p60", "time": 1000.0, "interval": 5.0}
    heartbeat.write(state, usual | {"model": "m@1"} | facts)


@pytest.mark.parametrize(
    ("told", "held", "age", "service"),
    [
        ("running", True, 3.0, "running"),
        ("stopping", True, 3.0, "stopping"),
        ("unreachable", True, 3.0, "unreachable"),
        ("running", True, 60.0, "stuck"),
        ("starting", True, 60.0, "starting"),
        ("starting", True, 600.0, "stuck"),
        ("stopped", True, 60.0, "starting"),  # started again, no heartbeat yet
        ("running", False, 3.0, "died"),
        ("stopped", False, 3.0, "stopped"),
        ("running", None, 3.0, "running"),  # locks cannot be asked here
        ("running", None, 60.0, "died"),
    ],
)
def test_lock_and_heartbeat_together_say_how_it_is(
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: str,
    held: bool | None,
    age: float,
    service: str,
) -> None:
    beat(state, status=told)
    monkeypatch.setattr(lock, "is_held", lambda _: held)
    status = look(state.parent, state, now=1000.0 + age)
    assert status["service"] == service
    assert is_well(status) == (service in ("starting", "running", "stopping"))
    assert lines(status)[0].startswith(str(state.parent))
    json.dumps(status, allow_nan=False)


def test_a_directory_that_was_never_watched(tmp_path: Path) -> None:
    status = look(tmp_path, tmp_path / ".specinfer")
    assert status["service"] == "never"
    assert status["files"] == {}
    assert status["outbox"] is None
    assert "never was" in lines(status)[0]
    assert list(tmp_path.iterdir()) == []


def test_problems_and_disagreements_are_told(state: Path) -> None:
    journal = Journal(state / "journal.sqlite3")
    words = "robot: SN Ia P=0.93; contsep: Galaxy P=0.80"
    journal.save(
        Entry(file="a", signature="", status=DONE, state="OK", disagreement=words),
        Entry(file="b", signature="", status=DONE, state="OK", disagreement=words),
        Entry(file="c", signature="", status=DONE, state="STD"),
        Entry(file="d", signature="", status=ASIDE, reason="this is no spectrum", attempts=5),
        Entry(file="e", signature="", status=PENDING, reason="disk full", attempts=7),
    )
    journal.close()
    beat(state)
    status = look(state.parent, state)
    assert status["states"] == {"OK": 2, "STD": 1}
    assert status["files"] == {DONE: 3, ASIDE: 1, PENDING: 1}
    assert status["disagreements"] == [words]
    text = "\n".join(lines(status))
    assert "2 OK, 1 STD; 1 to be tried again, 1 set aside" in text
    assert "d: set aside: this is no spectrum" in text
    assert "e: tried 7 times: disk full" in text
    assert text.count(words) == 1


def test_posts_are_told(state: Path) -> None:
    import sqlite3

    from specinfer.config_tables import SkyPortalConfig
    from specinfer.outbox import Outbox

    Journal(state / "journal.sqlite3").close()
    Outbox(state / "journal.sqlite3", SkyPortalConfig(url="https://portal.example")).close()
    status = look(state.parent, state)
    assert status["outbox"] == {"posts": {}, "refused": []}
    database = sqlite3.connect(state / "journal.sqlite3")
    with database:
        for key, name in (("a", "sent"), ("b", "sent"), ("c", "failed")):
            database.execute(
                "INSERT INTO outbox (portal, sha256, model, kind, obj, stems, body, state, queued, "
                "next_try, message) VALUES ('p', ?, 'm', 'annotation', 'ZTF1', '[]', '{}', ?, 0, "
                "0, 'not allowed')",
                (key, name),
            )
    database.close()
    status = look(state.parent, state)
    assert status["outbox"]["posts"] == {"failed": 1, "sent": 2}
    text = "\n".join(lines(status))
    assert "posts: 1 failed, 2 sent" in text
    assert "ZTF1: annotation was refused: not allowed" in text


def test_a_damaged_journal_is_explained(state: Path) -> None:
    (state / "journal.sqlite3").write_bytes(b"rubbish" * 1000)
    with pytest.raises(SpecinferError, match="start the service"):
        look(state.parent, state)


def test_many_problems_are_counted(state: Path) -> None:
    journal = Journal(state / "journal.sqlite3")
    journal.save(*(Entry(file=f"{i:03d}", signature="", status=ASIDE) for i in range(30)))
    journal.close()
    text = lines(look(state.parent, state))
    assert any("and 10 more" in line for line in text)
