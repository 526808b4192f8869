"""``specinfer watch`` as a process of its own: signals, exit codes, status, log lines."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from specinfer.config_tables import WatchConfig
from specinfer.errors import UsageError
from specinfer.sidecar import read_sidecar
from specinfer.watch import setup
from specinfer.watch.options import WatchOptions

ROOT = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, "-m", "specinfer", "watch"]
EXAMPLE = next((ROOT / "examples").glob("*SIM01.fits"))


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of the machine gets in."""
    monkeypatch.delenv("SPECINFER_CONFIG", raising=False)
    monkeypatch.delenv("SPECINFER_SKYPORTAL_TOKEN", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120)


@contextmanager
def service(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A service that looks at its directory; its log lines so far are read."""
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--log-format", "json"], stderr=subprocess.PIPE, text=True
    )
    try:
        until(process, "started")
        yield process
    finally:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    """The next log line of an event."""
    assert process.stderr is not None
    for line in process.stderr:
        found = json.loads(line)
        if found["event"] == event:
            assert isinstance(found, dict)
            return found
    raise AssertionError(f"the service ended without {event}")


def test_a_night_of_signals(tiny: Path, tmp_path: Path) -> None:
    """One service after the other on one directory: processes are slow to start."""
    night = tmp_path / "20261121"
    with service(str(tmp_path), "--annotate") as process:
        night.mkdir()
        shutil.copy(EXAMPLE.with_suffix(".txt"), night)
        shutil.copy(EXAMPLE, night)
        answered = until(process, "answered")
        assert answered["file"] == f"20261121/{EXAMPLE.name}"
        assert answered["class"]
        assert 0.0 < answered["latency_s"] < 20.0
        document = read_sidecar(night / EXAMPLE.name)
        assert document is not None
        assert document["state"] == answered["state"]
        assert b"SPISTAT" in (night / EXAMPLE.name).read_bytes()

        second = run(str(tmp_path), "--once")
        assert second.returncode == 1
        assert f"is already watched by process {process.pid} on" in second.stderr
        assert len(second.stderr.splitlines()) == 1

        status = run(str(tmp_path), "--status", "--json")
        assert status.returncode == 0
        found = json.loads(status.stdout)
        assert found["service"] == "running"
        assert found["heartbeat"]["pid"] == process.pid
        assert found["files"] == {"done": 1}

        process.send_signal(signal.SIGTERM)
        assert until(process, "stopped")["answers"] == 1
        assert process.wait(30) == 0

    status = run(str(tmp_path), "--status")
    assert status.returncode == 1
    assert "the service was stopped" in status.stdout
    with service(str(tmp_path)) as process:
        process.kill()
        process.wait(30)
    status = run(str(tmp_path), "--status")
    assert status.returncode == 1
    assert "the service died" in status.stdout


def test_once_and_its_exit_codes(tiny: Path, tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path)
    good = run(str(tmp_path), "--once")
    assert good.returncode == 0, good.stderr
    assert good.stdout == ""
    assert re.search(rf"INFO +{EXAMPLE.name}: (OK|LOWQ|ABSTAIN) ", good.stderr)
    (tmp_path / "spec_bad.fits").write_bytes(EXAMPLE.read_bytes()[:3000])
    bad = run(str(tmp_path), "--once", "--quiet")
    assert bad.returncode == 1
    (line,) = bad.stderr.splitlines()
    assert "spec_bad.fits" in line
    assert "Traceback" not in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonesuch"], "is not a directory"),
        ([".", "--json"], "--log-format"),
        ([".", "--interval", "0"], "interval"),
        ([".", "--jobs", "0"], "jobs"),
        ([".", "--log-format", "xml"], "text or json"),
        ([".", "--skyportal"], r"\[skyportal\]"),
        ([".", "--config", "nonesuch.toml"], "nonesuch.toml"),
    ],
)
def test_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    from typer.testing import CliRunner

    from specinfer.cli import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    result = CliRunner().invoke(app, ["watch", *arguments])
    assert result.exit_code == 2
    assert re.search(words, result.stderr), result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_there_is_exit_3(tmp_path: Path) -> None:
    done = run(str(tmp_path), "--model", "nonesuch", "--once")
    assert done.returncode == 3
    assert "nonesuch" in done.stderr


def test_the_command_line_wins_over_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "specinfer.toml"
    file.write_text(
        "threads = 3\n[watch]\ninterval = 7.0\nattempts = 9\nannotate = true\nstate = 'here'\n"
        "[skip]\nquality = false\nmoving = false\n"
    )
    wanted = setup.Wanted(
        str(tmp_path), config=str(file), interval=0.5, annotate=False, model="gasnet2"
    )
    config = setup.configured(wanted)
    options = setup.options_of(wanted, config)
    assert (options.interval, options.attempts) == (0.5, 9)
    assert options.state_folder == tmp_path / "here"
    assert config.watch.annotate is False
    assert (config.threads, config.model) == (3, "gasnet2")
    rules = config.skip.rules()
    assert (rules.quality, rules.moving, rules.standards) == (False, False, True)


def test_defaults_are_those_of_the_configuration(tmp_path: Path) -> None:
    """One default, wherever it is looked up."""
    config, options = WatchConfig(), WatchOptions(tmp_path)
    for name in ("pattern", "interval", "settle", "attempts", "retry_first", "retry_most", "jobs",
                 "heartbeat", "state"):  # fmt: skip
        assert getattr(config, name) == getattr(options, name), name


def test_posting_needs_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("httpx", reason="needs httpx: pip install 'specinfer[skyportal]'")
    file = tmp_path / "specinfer.toml"
    file.write_text("[skyportal]\nurl = 'https://portal.example'\n")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(UsageError, match="token"):
        setup.run(setup.Wanted(str(tmp_path), config=str(file), skyportal=True))


def test_the_systemd_unit_uses_options_that_exist() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((ROOT / "docs" / "specinfer-watch.service").read_text())
    command = unit["Service"]["ExecStart"].split()
    assert command[1] == "watch"
    from typer.testing import CliRunner

    from specinfer.cli import app

    text = CliRunner().invoke(app, ["watch", "--help"]).stdout
    for option in (word for word in command if word.startswith("--")):
        assert option in text
    assert unit["Service"]["Type"] == "notify"
    assert float(unit["Service"]["WatchdogSec"]) > 2 * WatchConfig().heartbeat


def test_the_document_names_every_option_and_event() -> None:
    from specinfer.cli_watch import watch

    page = (ROOT / "docs" / "watch.md").read_text()
    source = "".join(path.read_text() for path in (ROOT / "specinfer" / "watch").glob("*.py"))
    events = set(re.findall(r"log\.(?:info|warning|error)\(\s*\"(\w+)\"", source))
    assert {"started", "set_aside", "posted"} <= events
    for event in events | {"answered", "annotated", "restored"}:
        assert f"`{event}`" in page, event
    undocumented = {"directory", "debug"}
    for name in set(watch.__annotations__) - undocumented - {"return"}:
        assert f"`--{name.replace('_', '-')}" in page, name


def test_sigterm_while_it_loads_ends_it(tiny: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, str(tmp_path)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=60)
    # Python itself may not have been ready for signals.
    assert process.returncode in (0, 130, -signal.SIGTERM)
    assert "Traceback" not in complaint
