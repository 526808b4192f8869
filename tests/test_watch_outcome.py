"""What the journal keeps of an attempt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from specinfer.errors import ReadError, SpecinferError
from specinfer.pipeline import Handled
from specinfer.watch import outcome
from specinfer.watch.folders import Found
from specinfer.watch.journal import ASIDE, DONE, PENDING, RUNNING, Entry
from specinfer.watch.options import WatchOptions

NAME = "spec_auto_contsep_lstep1__crr_b_ifu20261121_05_01_00_ZTF26a.fits"


@pytest.fixture
def options(tmp_path: Path) -> WatchOptions:
    return WatchOptions(tmp_path, attempts=3, retry_first=2.0, retry_most=60.0)


def found(signature: str) -> Found:
    return Found("/x", NAME, NAME, signature, 2880, 0.0)


def handled(**changes: object) -> Handled:
    usual = Handled(
        path=Path(NAME), state="OK", reason="", result=None, sidecar=None, picture=None,
        annotated=(), fresh=True, sha256="abc",
    )  # fmt: skip
    return replace(usual, **changes)


def test_a_new_file_is_known_by_its_exposure() -> None:
    entry = outcome.begun(found("1"), None, 10.0)
    assert (entry.status, entry.first_seen, entry.started) == (RUNNING, 10.0, 10.0)
    assert (entry.extraction, entry.exposure) == ("contsep", "ifu20261121_05_01_00_ZTF26a")


def test_a_changed_file_has_all_its_tries_again() -> None:
    before = Entry(file=NAME, signature="1", status=ASIDE, attempts=3, crashes=2, first_seen=5.0)
    entry = outcome.begun(found("2"), before, 10.0)
    assert (entry.attempts, entry.crashes, entry.first_seen) == (0, 0, 5.0)
    same = outcome.begun(found("1"), before, 10.0)
    assert (same.attempts, same.crashes, same.status) == (3, 2, RUNNING)


def test_tries_end(options: WatchOptions) -> None:
    entry = Entry(file=NAME, signature="1")
    pauses = []
    for _ in range(3):
        entry = outcome.failed(entry, "no spectrum", options, 100.0)
        pauses.append(entry.next_try - 100.0)
    assert entry.status == ASIDE
    assert pauses[:2] == [2.0, 4.0]
    assert entry.next_try == 0.0


def test_a_fault_of_the_disk_is_tried_for_ever(options: WatchOptions) -> None:
    entry = Entry(file=NAME, signature="1")
    for _ in range(2000):
        entry = outcome.failed(entry, "disk full", options, 100.0, for_ever=True)
    assert entry.status == PENDING
    assert entry.next_try == 160.0
    assert entry.state is None


def test_whose_fault_it_is() -> None:
    assert outcome.is_not_of_the_file(SpecinferError("not_writable", "disk full"))
    assert not outcome.is_not_of_the_file(ReadError("bad_fits", "no FITS"))
    assert not outcome.is_not_of_the_file(ValueError("a bug"))
    assert outcome.sentence(ValueError("two\nlines")) == "ValueError: two lines"


def test_events() -> None:
    new = outcome.begun(found("1"), None, 1.0)
    assert outcome.event(new, handled()) == "answered"
    assert outcome.event(new, handled(fresh=False)) == "restored"
    done = outcome.answered(new, handled(), {"model": "m@1", "result": None}, 2.0)
    assert (done.status, done.finished, done.model) == (DONE, 2.0, "m@1")
    assert outcome.event(done, handled(fresh=False)) is None
    assert outcome.event(done, handled(annotated=(Path("a.txt"),))) == "annotated"
    other = handled(annotated=(Path("a.txt"),), sha256="def")
    assert outcome.event(done, other) == "answered"


def test_looking_again_keeps_the_time_of_the_answer() -> None:
    document = {"model": "m@1", "result": {"class": "SN Ia", "probability": 0.9}}
    done = outcome.answered(outcome.begun(found("1"), None, 1.0), handled(), document, 2.0)
    again = outcome.answered(done, handled(fresh=False), document, 9.0)
    assert (again.finished, again.class_name) == (2.0, "SN Ia")
    anew = outcome.answered(done, handled(sha256="def"), document, 9.0)
    assert anew.finished == 9.0
