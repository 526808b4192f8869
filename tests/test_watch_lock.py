"""One service a directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from specinfer.errors import SpecinferError
from specinfer.watch import lock
from specinfer.watch.lock import is_held, only_one

HOLDER = """
import sys, time
from pathlib import Path
from specinfer.watch.lock import only_one
with only_one(Path(sys.argv[1]), Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_PATIENCE", 0.2)


def hold(directory: Path, state: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory), str(state)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)


def test_the_second_is_refused_and_told_who_has_it(tmp_path: Path, state: Path) -> None:
    process = hold(tmp_path, state)
    try:
        assert is_held(state)
        with (
            pytest.raises(SpecinferError, match=f"process {process.pid} on") as caught,
            only_one(tmp_path, state),
        ):
            pass
        assert caught.value.code == "already_watched"
    finally:
        end(process)


def test_a_killed_holder_leaves_no_lock(tmp_path: Path, state: Path) -> None:
    end(hold(tmp_path, state))
    assert not is_held(state)
    with only_one(tmp_path, state):
        about = lock.holder(state)
        assert about is not None
        assert about["pid"] == os.getpid()


def test_another_state_folder_does_not_help(tmp_path: Path, state: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    process = hold(tmp_path, state)
    try:
        with (
            pytest.raises(SpecinferError, match="another state folder"),
            only_one(tmp_path, other),
        ):
            pass
    finally:
        end(process)
    with only_one(tmp_path, other):
        pass


def test_asking_takes_nothing_away(tmp_path: Path, state: Path) -> None:
    assert is_held(state) is False  # no lock file yet
    with only_one(tmp_path, state):
        assert is_held(state)
    assert is_held(state) is False
    assert lock.holder(tmp_path) is None


def test_a_state_folder_without_locks_is_explained(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(SpecinferError, match="--state") as caught, only_one(tmp_path, state):
        pass
    assert caught.value.code == "no_lock"
    assert is_held(state) is None


def test_a_state_folder_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with (
        pytest.raises(SpecinferError, match="cannot be locked"),
        only_one(tmp_path, tmp_path / "nonesuch"),
    ):
        pass
