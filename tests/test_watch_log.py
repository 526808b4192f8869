"""Log lines of the watch service."""

from __future__ import annotations

import datetime
import json
import threading

import pytest

from specinfer.errors import UsageError
from specinfer.watch.log import Log


def test_text_is_one_line_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log()
    log.info("answered", "a\nfile with\tbreaks", file="a")
    log.debug("detail", "not of interest")
    (line,) = capsys.readouterr().err.splitlines()
    time, level, words = line.split(maxsplit=2)
    assert datetime.datetime.fromisoformat(time).tzinfo is not None
    assert (level, words) == ("INFO", "a file with breaks")


def test_json_has_the_facts_and_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log("json", "warning")
    log.info("answered", "below the level")
    log.error("failed", "it failed", probability=float("nan"), attempts=3, path=object, none=None)
    entry = json.loads(capsys.readouterr().err, parse_constant=pytest.fail)
    assert entry["event"] == "failed"
    assert entry["level"] == "error"
    assert entry["probability"] is None
    assert entry["attempts"] == 3
    assert isinstance(entry["path"], str)


def test_threads_do_not_mix_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log("json")
    threads = [
        threading.Thread(target=lambda: [log.info("event", "x" * 500) for _ in range(50)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 400
    assert all(json.loads(line)["message"] == "x" * 500 for line in lines)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="xml"):
        Log("xml")
