"""Being woken by the file system."""

from __future__ import annotations

import builtins
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from watching import NAME, Answers, Events, quick, running, until

from specinfer.watch.notify import Notices


def test_changes_wake_and_our_own_do_not(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles", reason="needs watchfiles: pip install 'specinfer[watch]'")
    woken: list[float] = []
    notices = Notices(lambda: woken.append(time.monotonic()))
    assert notices.state == "off"
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    notices.follow([first])
    assert notices.state == "on"
    until(lambda: (first / "spec_a.fits").write_text("x") and woken)
    time.sleep(0.3)
    woken.clear()
    (first / "specinfer_spec_a.json").write_text("x")
    (first / ".specinfer_1.tmp").write_text("x")
    time.sleep(0.5)
    assert woken == []
    notices.follow([first, second])
    until(lambda: (second / "spec_b.fits").write_text("x") and woken)
    notices.stop()


def test_without_watchfiles_the_looks_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def refusing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "watchfiles":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refusing)
    log = Events()
    with running(quick(tmp_path), Answers(), log):
        (tmp_path / NAME.format(how="robot", number=0)).write_text("SNIa 0.03")
        until(lambda: log.of("answered"))
    notices = Notices(lambda: None)
    notices.follow([tmp_path])
    assert "specinfer[watch]" in notices.state


def test_with_notices_a_long_interval_does_no_harm(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles", reason="needs watchfiles: pip install 'specinfer[watch]'")
    log = Events()
    with running(quick(tmp_path, interval=60.0), Answers(), log):
        time.sleep(0.3)  # until the kernel watches
        path = tmp_path / NAME.format(how="robot", number=0)
        until(lambda: path.write_text("SNIa 0.03") and _waited(log), 20.0)


def _waited(log: Events) -> bool:
    threading.Event().wait(0.3)
    return bool(log.of("answered"))


def test_a_folder_that_vanishes_ends_the_notices_only(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles", reason="needs watchfiles: pip install 'specinfer[watch]'")
    notices = Notices(lambda: None)
    notices.follow([tmp_path / "nonesuch"])
    until(lambda: notices.why_not)
    assert notices.state != "on"
