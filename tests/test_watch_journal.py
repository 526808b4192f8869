"""The journal: what survives, and what a restart makes of it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from specinfer.errors import SpecinferError
from specinfer.watch.journal import (
    ASIDE,
    DONE,
    PENDING,
    RUNNING,
    Entry,
    Journal,
    read_entries,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


def test_entries_come_back_as_they_were_saved(path: Path) -> None:
    entry = Entry(
        file="20261121/spec_a.fits", signature="1:2:3", status=DONE, state="OK", sha256="f" * 64,
        model="m@1", class_name="SN Ia", probability=0.9, redshift=0.03, redshift_err=0.004,
        exposure="e", extraction="robot", finished=12.5, latency=0.25,
    )  # fmt: skip
    journal = Journal(path)
    journal.save(entry, Entry(file="b", signature="x"))
    journal.close()
    journal = Journal(path)
    assert journal.get("20261121/spec_a.fits") == entry
    assert journal.get("nonesuch") is None
    assert [one.file for one in journal.entries()] == ["20261121/spec_a.fits", "b"]
    assert journal.counts() == {DONE: 1, RUNNING: 1}
    assert journal.of_exposure("e") == [entry]
    journal.close()


def test_saving_replaces_and_is_all_or_nothing(path: Path) -> None:
    journal = Journal(path)
    journal.save(Entry(file="a", signature="1"))
    with pytest.raises(SpecinferError) as caught:
        journal.save(
            Entry(file="a", signature="2"),
            Entry(file="b", signature=None),  # type: ignore[arg-type]
        )
    assert caught.value.code == "no_journal"
    assert [one.signature for one in journal.entries()] == ["1"]
    journal.close()


def test_what_was_in_hand_is_to_be_done_again(path: Path) -> None:
    journal = Journal(path)
    journal.save(Entry(file="a", signature="1"), Entry(file="b", signature="1", status=DONE))
    found = journal.recover(attempts=5, now=100.0)
    assert [(one.file, one.status, one.crashes) for one in found] == [("a", PENDING, 1)]
    assert journal.counts() == {DONE: 1, PENDING: 1}
    assert journal.recover(attempts=5, now=100.0) == []
    journal.close()


def test_a_file_that_takes_the_service_down_time_and_again_is_set_aside(path: Path) -> None:
    journal = Journal(path)
    entry = Entry(file="a", signature="1")
    deaths = 0
    while entry.status != ASIDE:
        journal.save(Entry(file="a", signature="1", crashes=entry.crashes))
        (entry,) = journal.recover(attempts=3, now=0.0)
        deaths += 1
    assert deaths == 6
    assert entry.reason is not None
    assert "died 6 times" in entry.reason
    journal.close()


def test_facts_are_remembered(path: Path) -> None:
    journal = Journal(path)
    assert journal.fact("night") is None
    journal.remember("night", "20261121")
    journal.remember("night", "20261122")
    assert journal.fact("night") == "20261122"
    journal.close()


@pytest.mark.parametrize("damage", [b"this is no database, " * 300, b""])
def test_a_damaged_journal_is_put_aside(path: Path, damage: bytes) -> None:
    journal = Journal(path)
    journal.save(Entry(file="a", signature="1"))
    journal.close()
    path.write_bytes(damage)
    journal = Journal(path)
    assert journal.entries() == []
    journal.save(Entry(file="b", signature="1"))
    journal.close()
    if damage:  # an empty file is an empty database
        assert journal.lost is not None
        assert next(path.parent.glob("*.damaged-*")).name in journal.lost


def test_pages_that_are_inconsistent_are_noticed(path: Path) -> None:
    journal = Journal(path)
    journal.save(*(Entry(file=f"file {i:04d}", signature="x" * 40) for i in range(500)))
    journal.close()
    content = bytearray(path.read_bytes())
    content[8192:16384] = os.urandom(8192)
    path.write_bytes(content)
    journal = Journal(path)
    assert journal.lost is not None
    assert journal.entries() == []
    journal.close()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecinferError, match="--state") as caught:
        Journal(tmp_path / "nonesuch" / "journal.sqlite3")
    assert caught.value.code == "no_journal"


def test_a_transaction_survives_the_kill_of_its_process(path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from specinfer.watch.journal import Entry, Journal\n"
        f"journal = Journal(Path({str(path)!r}))\n"
        "for i in range(200):\n"
        "    journal.save(Entry(file=str(i), signature='s'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    journal = Journal(path)
    assert len(journal.entries()) == 200
    journal.close()


def test_reading_changes_nothing_and_needs_no_service(path: Path) -> None:
    assert read_entries(path) == []
    assert not path.exists()
    journal = Journal(path)
    journal.save(Entry(file="a", signature="1"))
    assert [one.file for one in read_entries(path)] == ["a"]  # while it is open
    journal.close()
    assert [one.file for one in read_entries(path)] == ["a"]
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(SpecinferError, match="cannot be read"):
        read_entries(path)


def test_the_table_of_another_version_is_begun_anew_and_others_stay(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE spectra (file TEXT PRIMARY KEY, exposure TEXT)")
    database.execute("CREATE TABLE outbox (post TEXT)")
    database.execute("INSERT INTO outbox VALUES ('kept')")
    database.commit()
    database.close()
    journal = Journal(path)
    journal.save(Entry(file="a", signature="1"))
    journal.close()
    database = sqlite3.connect(path)
    assert database.execute("SELECT post FROM outbox").fetchall() == [("kept",)]
    database.close()
