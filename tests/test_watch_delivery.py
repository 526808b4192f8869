"""Posting in a thread of its own."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from watching import NAME, Answers, Events, quick, running, until

from specinfer.config_tables import DecisionConfig, SkyPortalConfig
from specinfer.skyportal_outcome import Outcome, PortalRefused, PortalUnavailable
from specinfer.watch import heartbeat
from specinfer.watch.delivery import Delivery
from specinfer.watch.loop import Service

CONFIG = SkyPortalConfig(
    url="https://portal.example", timeout=0.1, retry_first=0.01, retry_most=0.02
)


class Portal:
    """Takes posts, or fails as it is told."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.error: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.closed = False

    def send(self, post: Any) -> Outcome:
        """Take a post."""
        self.open.wait(20)
        if self.error is not None:
            raise self.error
        self.got.append(f"{post.kind} {post.obj}")
        return Outcome("posted")

    def close(self) -> None:
        """No more posts."""
        self.closed = True


def delivery(folder: Path, portal: Portal, log: Events) -> Delivery:
    path = folder / ".specinfer" / "journal.sqlite3"
    return Delivery(path, portal, CONFIG, DecisionConfig(), log)


def spectrum(folder: Path, number: int = 0) -> Path:
    path = folder / NAME.format(how="robot", number=number).replace("ZTF26a", f"ZTF26a{number}")
    path.write_text(f"SNIa 0.0{number + 1}")
    return path


def test_answers_are_posted_once(tmp_path: Path) -> None:
    portal, log = Portal(), Events()
    with running(quick(tmp_path), Answers(), log, delivery=delivery(tmp_path, portal, log)):
        path = spectrum(tmp_path)
        until(lambda: portal.got)
        path.touch()
        spectrum(tmp_path, 1)
        until(lambda: len(portal.got) == 2)
    assert portal.got == ["annotation ZTF26a0", "annotation ZTF26a1"]
    assert portal.closed
    assert log.of("posted")
    # Nor after a restart.
    (tmp_path / ".specinfer" / "heartbeat.json").unlink()
    log = Events()
    with running(quick(tmp_path), Answers(), log, delivery=delivery(tmp_path, portal, log)):
        until(lambda: heartbeat.read(tmp_path / ".specinfer"))
    assert len(portal.got) == 2


def test_a_portal_that_hangs_holds_up_no_answer(tmp_path: Path) -> None:
    portal, log = Portal(), Events()
    portal.open.clear()
    with running(quick(tmp_path), Answers(), log, delivery=delivery(tmp_path, portal, log)):
        for number in range(3):
            spectrum(tmp_path, number)
        until(lambda: len(log.of("answered")) == 3)
        assert portal.got == []
        portal.open.set()
        until(lambda: len(portal.got) == 3)


def test_posts_wait_on_disk_while_the_portal_is_down(tmp_path: Path) -> None:
    portal, log = Portal(), Events()
    portal.error = PortalUnavailable("no route to host", stored=False)
    with running(quick(tmp_path), Answers(), log, delivery=delivery(tmp_path, portal, log)):
        for number in range(4):
            spectrum(tmp_path, number)
        until(lambda: log.of("portal"))
        until(lambda: (heartbeat.read(tmp_path / ".specinfer") or {}).get("files") == {"done": 4})
    assert "no route to host" in log.of("portal")[0]
    portal.error = None
    log = Events()
    with running(quick(tmp_path), Answers(), log, delivery=delivery(tmp_path, portal, log)):
        until(lambda: len(portal.got) == 4)
    assert log.of("answered") == []


def test_what_is_refused_is_reported_and_not_repeated(tmp_path: Path) -> None:
    portal, log = Portal(), Events()
    portal.error = PortalRefused("not allowed")
    with running(quick(tmp_path), Answers(), log, delivery=delivery(tmp_path, portal, log)):
        spectrum(tmp_path)
        until(lambda: log.of("refused"))
        state = tmp_path / ".specinfer"
        until(
            lambda: (
                ((heartbeat.read(state) or {}).get("outbox") or {}).get("posts") == {"failed": 1}
            )
        )


def test_a_bug_of_the_client_stops_nothing(tmp_path: Path) -> None:
    portal, log = Portal(), Events()
    portal.error = ZeroDivisionError("oops")
    with running(quick(tmp_path), Answers(), log, delivery=delivery(tmp_path, portal, log)):
        spectrum(tmp_path)
        until(lambda: log.of("portal"))
        until(lambda: log.of("answered"))
    assert "ZeroDivisionError" in log.of("portal")[0]


def test_once_waits_for_the_posts(tmp_path: Path) -> None:
    portal, log = Portal(), Events()
    spectrum(tmp_path)
    options = quick(tmp_path, once=True)
    code = Service(options, Answers(), log, delivery=delivery(tmp_path, portal, log)).run()
    assert code == 0
    assert portal.got == ["annotation ZTF26a0"]


def test_once_says_what_could_not_be_posted(tmp_path: Path, monkeypatch: Any) -> None:
    from specinfer.watch import delivery as module

    monkeypatch.setattr(module, "_DRAIN", 0.2)
    portal, log = Portal(), Events()
    portal.error = PortalUnavailable("no route to host", stored=False)
    spectrum(tmp_path)
    service = Service(
        quick(tmp_path, once=True), Answers(), log, delivery=delivery(tmp_path, portal, log)
    )
    assert service.run() == 1
    assert "posts that wait in the outbox: 1" in log.of("not_posted")[0]
