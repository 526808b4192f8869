"""The outbox: nothing lost, nothing twice, whatever portal and process do."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sidecar_documents import STEM, document

from benchmarks.portal import Faults, Portal
from specinfer.config import DecisionConfig, SkyPortalConfig
from specinfer.errors import SpecinferError, UsageError
from specinfer.outbox import Delivered, Outbox
from specinfer.skyportal import DryRun, Outcome, PortalRefused, PortalUnavailable, SkyPortal
from specinfer.skyportal_posts import Post
from specinfer.skyportal_token import ENVIRONMENT, Token

pytest.importorskip("httpx", reason="needs specinfer[skyportal]")
# Fast enough for tests: a lost attempt is over after 0.8 s.
CONFIG = SkyPortalConfig(
    "http://127.0.0.1:1", timeout=0.4, rate=500.0, retry_first=0.02, retry_most=0.1
)


class Scripted:
    """A client that ends attempts as it is told, and keeps what it was asked to send."""

    def __init__(self, *ends: Outcome | Exception) -> None:
        self.ends = list(ends)
        self.sent: list[Post] = []

    def send(self, post: Post) -> Outcome:
        self.sent.append(post)
        end = self.ends.pop(0) if self.ends else Outcome("posted")
        if isinstance(end, Exception):
            raise end
        return end

    def close(self) -> None:
        """Nothing is open."""


class Clock:
    """A clock that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 1.8e9

    def time(self) -> float:
        return self.now

    monotonic = time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The outbox's clock stands still."""
    clock = Clock()
    monkeypatch.setattr("specinfer.outbox.time", clock)
    monkeypatch.setattr("specinfer.outbox_table.time", clock)
    return clock


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def outbox(database: Path) -> Iterator[Outbox]:
    with Outbox(database, CONFIG) as outbox:
        yield outbox


def put(outbox: Outbox, target: str = "ZTF26a", **changes: object) -> tuple[str, ...]:
    sidecar = document(target, **changes)  # type: ignore[arg-type]
    return outbox.enqueue(sidecar, Path("/night") / sidecar["file"])


def until_empty(outbox: Outbox, client: object, seconds: float = 30.0) -> list[Delivered]:
    rounds = []
    deadline = time.monotonic() + seconds
    while outbox.pending() and time.monotonic() < deadline:
        rounds.append(outbox.deliver(client))  # type: ignore[arg-type]
        time.sleep(min(outbox.next_due() or 0.0, 0.05))
    return rounds


def test_what_is_queued_is_sent_once(outbox: Outbox) -> None:
    assert put(outbox) == ("annotation", "classification")
    assert put(outbox) == ()
    assert outbox.pending() == 2
    assert outbox.next_due() == 0.0
    client = Scripted()
    assert outbox.deliver(client) == Delivered(posted=2)
    assert outbox.deliver(client) == Delivered()
    assert put(outbox) == ()
    assert outbox.pending() == 0
    assert outbox.next_due() is None
    assert [post.kind for post in client.sent] == ["annotation", "classification"]
    assert outbox.counts() == {"sent": 2}


def test_nothing_is_queued_for_what_was_skipped(outbox: Outbox) -> None:
    assert put(outbox, state="LOWQ") == ()
    assert outbox.pending() == 0


def test_a_broken_sidecar_is_said_and_queues_nothing(outbox: Outbox) -> None:
    with pytest.raises(UsageError):
        outbox.enqueue({"schema": "specinfer.sidecar/1"}, Path("x.fits"))
    assert outbox.pending() == 0


def test_the_queue_survives_a_restart(database: Path) -> None:
    with Outbox(database, CONFIG) as outbox:
        put(outbox)
    with Outbox(database, CONFIG) as outbox:
        assert put(outbox) == ()
        assert outbox.deliver(Scripted()).posted == 2
    with Outbox(database, CONFIG) as outbox:
        assert outbox.pending() == 0


def test_two_portals_have_a_queue_each(database: Path) -> None:
    with (
        Outbox(database, CONFIG) as test,
        Outbox(database, replace(CONFIG, url="https://real.org")) as real,
    ):
        put(test)
        assert test.deliver(Scripted()).posted == 2
        assert put(real) == ("annotation", "classification")
        assert (test.pending(), real.pending()) == (0, 2)


def test_other_tables_of_the_journal_are_left_alone(database: Path) -> None:
    with closing(sqlite3.connect(database)) as journal, journal:
        journal.execute("CREATE TABLE files (name TEXT)")
        journal.execute("INSERT INTO files VALUES ('a')")
    with Outbox(database, CONFIG) as outbox, closing(sqlite3.connect(database)) as journal:
        put(outbox)
        assert journal.execute("SELECT name FROM files").fetchall() == [("a",)]


def test_no_answer_is_tried_again_later_and_later(outbox: Outbox, clock: Clock) -> None:
    waits = []
    put(outbox, decision="review")
    for _ in range(4):
        client = Scripted(PortalUnavailable("503"))
        assert outbox.deliver(client) == Delivered(retried=1)
        wait = outbox.next_due()
        assert wait is not None
        waits.append(wait)
        (post,) = outbox.waiting()
        assert post.message == "503"
        clock.now += 0.99 * wait
        assert outbox.deliver(client) == Delivered()
        clock.now += 0.02 * wait
    assert outbox.deliver(client) == Delivered(posted=1)
    assert outbox.next_due() is None
    # Twice as long each time, up to the longest; a fifth of it is chance.
    assert waits == pytest.approx([0.02, 0.04, 0.08, 0.1], rel=0.21)


def test_a_post_that_may_have_been_stored_waits_for_the_portal_to_finish(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, decision="review")
    outbox.deliver(Scripted(PortalUnavailable("gone", stored=True)))
    due = outbox.next_due()
    assert due is not None
    assert CONFIG.timeout < due < CONFIG.timeout + 0.03


def test_after_a_crash_the_attempt_in_hand_is_let_end(database: Path, clock: Clock) -> None:
    class Crash(BaseException):
        pass

    class Crashing(Scripted):
        def send(self, post: Post) -> Outcome:
            raise Crash

    with Outbox(database, CONFIG) as outbox:
        put(outbox)
        with pytest.raises(Crash):
            outbox.deliver(Crashing())
    with Outbox(database, CONFIG) as outbox:
        client = Scripted()
        assert outbox.deliver(client) == Delivered(posted=1)
        assert client.sent[0].kind == "classification"
        assert outbox.next_due() == pytest.approx(2 * CONFIG.timeout)
        clock.now += 2 * CONFIG.timeout
        assert outbox.deliver(client) == Delivered(posted=1)


def test_the_portal_s_own_wish_to_wait_is_heard(outbox: Outbox, clock: Clock) -> None:
    put(outbox, decision="review")
    outbox.deliver(Scripted(PortalUnavailable("busy", wait=7.0)))
    due = outbox.next_due()
    assert due is not None
    assert 7.0 < due < 7.03


def test_a_portal_that_is_down_is_left_alone(database: Path) -> None:
    with Outbox(database, replace(CONFIG, retry_first=30.0, retry_most=60.0)) as outbox:
        for number in range(5):
            put(outbox, f"ZTF26{number}")
        client = Scripted(*[PortalUnavailable("no connection")] * 10)
        result = outbox.deliver(client)
        assert result == Delivered(retried=3, problem="the portal is down: no connection")
        assert outbox.deliver(client).problem == "the portal is left alone for a while"
        assert len(client.sent) == 3
        assert outbox.pending() == 10


def test_a_refusal_is_reported_and_not_repeated(outbox: Outbox) -> None:
    put(outbox)
    client = Scripted(PortalRefused("400 no such thing"))
    assert outbox.deliver(client) == Delivered(failed=1, posted=1)
    assert outbox.deliver(client) == Delivered()
    assert put(outbox) == ()
    (failure,) = outbox.failures()
    assert (failure.kind, failure.obj) == ("annotation", "ZTF26a")
    assert failure.files == (STEM.format("ZTF26a"),)
    assert failure.message == "400 no such thing"
    assert abs(failure.date - time.time()) < 600
    assert outbox.retry_failures() == 1
    assert outbox.deliver(client) == Delivered(posted=1)


def test_what_never_comes_is_given_up(outbox: Outbox, clock: Clock) -> None:
    put(outbox)
    client = Scripted(*[Outcome("waiting", "not uploaded"), PortalUnavailable("503")] * 2)
    assert outbox.deliver(client) == Delivered(waiting=1, retried=1)
    clock.now += 7.1 * 86400
    assert outbox.deliver(client) == Delivered(failed=2)
    assert [one.message for one in outbox.failures()] == [
        "given up: not uploaded",
        "given up: 503",
    ]


def test_a_refused_token_loses_nothing(database: Path) -> None:
    with Portal() as portal:
        config = replace(CONFIG, url=portal.url)
        portal.add_spectrum("ZTF26a", STEM.format("ZTF26a") + ".txt")
        with Outbox(database, config) as outbox:
            put(outbox)
            with SkyPortal(config, Token("wrong", "test")) as client:
                result = outbox.deliver(client)
            assert result.problem is not None
            assert "give a token" in result.problem
            assert outbox.pending() == 2
            with SkyPortal(config, Token(portal.token, "test")) as client:
                until_empty(outbox, client)
            assert outbox.counts() == {"sent": 2}


def test_another_answer_takes_the_place_of_one_that_was_not_sent(outbox: Outbox) -> None:
    put(outbox)
    assert put(outbox, model="spectranet@0.3.0", probability=0.9) == (
        "annotation",
        "classification",
    )
    client = Scripted()
    assert outbox.deliver(client).posted == 2
    assert {post.body.get("probability", 0.9) for post in client.sent} == {0.9}
    assert outbox.counts() == {"superseded": 2, "sent": 2}
    # Back to the model from before: its answer is sent after all.
    assert put(outbox) == ("annotation", "classification")


def test_the_same_file_answered_otherwise_is_sent_again(outbox: Outbox) -> None:
    put(outbox)
    outbox.deliver(Scripted())
    assert put(outbox, snr=13.0) == ("annotation",)
    client = Scripted(Outcome("updated"))
    assert outbox.deliver(client) == Delivered(updated=1)
    assert client.sent[0].body["data"]["snr"] == 13.0


def test_what_changes_while_it_is_sent_is_sent_again(outbox: Outbox) -> None:
    class Meanwhile(Scripted):
        def send(self, post: Post) -> Outcome:
            if not self.sent:
                put(outbox, snr=13.0)
            return super().send(post)

    put(outbox)
    client = Meanwhile()
    outbox.deliver(client, limit=1)
    assert outbox.pending() == 2
    until_empty(outbox, client)
    sent = [post.body["data"]["snr"] for post in client.sent if post.kind == "annotation"]
    assert sent == [12.5, 13.0]


def test_a_copy_of_a_file_is_the_same_post_under_either_name(database: Path) -> None:
    with Portal() as portal:
        config = replace(CONFIG, url=portal.url)
        portal.add_spectrum("ZTF26a", "spec_copy.txt")
        with Outbox(database, config) as outbox:
            put(outbox, sha256="a" * 64)
            assert put(outbox, sha256="a" * 64, stem="spec_copy") == ()
            assert outbox.pending() == 2
            with SkyPortal(config, Token(portal.token, "test")) as client:
                assert outbox.deliver(client) == Delivered(posted=2)


def test_what_is_held_back_is_listed(database: Path) -> None:
    strict = DecisionConfig(minimum={"SN Ia": 0.99})
    with Outbox(database, CONFIG, strict) as outbox:
        assert put(outbox) == ("annotation",)
        assert [one.message for one in outbox.withheld()] == [
            "P(SN Ia) = 0.970 is below the configured 0.99"
        ]
    with Outbox(database, CONFIG) as outbox:
        assert put(outbox) == ("classification",)
        assert outbox.withheld() == []
        client = Scripted(Outcome("posted"), Outcome("withheld", "not in the taxonomy"))
        assert outbox.deliver(client) == Delivered(posted=1, withheld=1)
        assert [one.message for one in outbox.withheld()] == ["not in the taxonomy"]


def test_a_dry_run_is_said_once_and_sent_when_it_ends(database: Path) -> None:
    lines: list[str] = []
    dry = replace(CONFIG, dry_run=True)
    with Outbox(database, dry) as outbox:
        put(outbox)
        assert outbox.deliver(DryRun(dry, lines.append)) == Delivered(shown=2)
        assert put(outbox) == ()
        assert outbox.deliver(DryRun(dry, lines.append)) == Delivered()
    assert len(lines) == 2
    with Outbox(database, CONFIG) as outbox:
        assert outbox.pending() == 0
        assert put(outbox) == ("annotation", "classification")


def test_one_process_delivers_at_a_time(database: Path) -> None:
    class Nosy(Scripted):
        def send(self, post: Post) -> Outcome:
            with Outbox(database, CONFIG) as second:
                assert second.deliver(Scripted()) == Delivered(problem="another process delivers")
            return super().send(post)

    with Outbox(database, CONFIG) as first:
        put(first)
        assert first.deliver(Nosy()) == Delivered(posted=2)


def test_a_round_can_be_ended(outbox: Outbox) -> None:
    put(outbox)
    client = Scripted()
    assert outbox.deliver(client, stop=lambda: len(client.sent) == 1) == Delivered(posted=1)
    assert outbox.deliver(client, limit=0) == Delivered()
    assert outbox.pending() == 1


def test_a_database_that_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"this is not SQLite " * 100)
    for path in (tmp_path / "garbage", tmp_path / "nosuch" / "file", tmp_path):
        with pytest.raises(SpecinferError) as caught:
            Outbox(path, CONFIG)
        assert caught.value.code == "bad_outbox"
        assert "\n" not in caught.value.message


def test_a_flaky_portal_gets_everything_once(database: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"png")
    with Portal(faults=replace(Faults.flaky(), delay=0.45), seed=3) as portal:
        config = replace(CONFIG, url=portal.url)
        with Outbox(database, config) as outbox:
            for number in range(8):
                sidecar = document(f"ZTF26{number}")
                portal.add_spectrum(f"ZTF26{number}", sidecar["file"].replace(".fits", ".txt"))
                outbox.enqueue(sidecar, Path(sidecar["file"]), picture)
            with SkyPortal(config, Token(portal.token, "test")) as client:
                until_empty(outbox, client)
            assert outbox.counts() == {"sent": 24}
        time.sleep(portal.faults.delay)
        assert len(portal.faults_met) >= 5
        assert portal.duplicates() == []
        assert len(portal.annotations) == len(portal.classifications) == len(portal.comments) == 8


_SERVICE = """
import sys, time
from pathlib import Path
from specinfer.config import SkyPortalConfig
from specinfer.outbox import Outbox
from specinfer.skyportal import SkyPortal
from sidecar_documents import document
url, database, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
config = SkyPortalConfig(url, timeout=0.4, rate=500.0, retry_first=0.02, retry_most=0.1)
with Outbox(database, config) as outbox, SkyPortal(config) as client:
    for number in range(count):
        sidecar = document(f"ZTF26{number}")
        outbox.enqueue(sidecar, Path(sidecar["file"]), database.with_name("picture.png"))
    print("queued", flush=True)
    while outbox.pending():
        outbox.deliver(client)
        time.sleep(0.01)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_killed_at_any_moment_it_posts_everything_once(database: Path, tmp_path: Path) -> None:
    count = 5
    (tmp_path / "picture.png").write_bytes(b"png")
    chance = random.Random(5)
    kills = 0
    with Portal(faults=Faults(late_store=0.15, drop_after=0.1, delay=0.45), seed=2) as portal:
        for number in range(count):
            target = f"ZTF26{number}"
            portal.add_spectrum(target, STEM.format(target) + ".txt")
        environment = os.environ | {
            ENVIRONMENT: portal.token,
            "PYTHONPATH": os.pathsep.join(["tests", *sys.path]),
        }
        command = [sys.executable, "-c", _SERVICE, portal.url, str(database), str(count)]
        for attempt in range(40):
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=Path(__file__).parents[1],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            process.stdout.readline()
            try:
                # Ever later, so that all kinds of moments come and the last one may finish.
                process.wait(chance.uniform(0.0, 0.4) + 0.2 * attempt)
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
            _, errors = process.communicate()
            assert not errors, errors
            if process.returncode == 0:
                break
        assert process.returncode == 0
        assert kills >= 3
        time.sleep(portal.faults.delay)
        assert portal.duplicates() == []
        assert len(portal.annotations) == len(portal.classifications) == len(portal.comments) == 5
    with Outbox(database, replace(CONFIG, url=portal.url)) as outbox:
        assert outbox.counts() == {"sent": 3 * count}
