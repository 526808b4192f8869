"""``specinfer serve`` as a process: how it starts, what it says, how it ends."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from serving import portal, wait_until
from test_serve_analysis import request_of, row, table
from tiny_model import fake_spectrum

COMMAND = [sys.executable, "-m", "specinfer", "serve"]


@dataclass
class Process:
    """A service that runs, and the lines that it has written."""

    popen: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return re.search(r"http://\S+", self.lines[0])[0]  # type: ignore[index]


def is_running(pid: str) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[Process]:
    popen = subprocess.Popen(
        [*COMMAND, "--port", "0", "--device", "cpu", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    running = Process(popen)
    assert popen.stderr is not None
    reader = threading.Thread(target=lambda: running.lines.extend(popen.stderr or ()))
    reader.start()
    try:
        wait_until(lambda: running.lines or popen.poll() is not None, 60.0)
        yield running
    finally:
        popen.kill()
        popen.wait()
        reader.join()
        popen.stderr.close()


def failing(*arguments: str, **environment: str) -> tuple[int, str]:
    """Exit code and the one line of a service that cannot start."""
    answer = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
    )
    assert answer.stdout == ""
    assert answer.stderr.count("\n") == 1, answer.stderr
    return answer.returncode, answer.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_finishes_what_is_in_hand(tiny: Path, number: signal.Signals) -> None:
    several = [
        {"wavelength": s.wavelength.tolist(), "flux": s.flux.tolist()}
        for s in (fake_spectrum(seed) for seed in range(20))
    ]
    with process() as running, ThreadPoolExecutor(6) as pool:
        assert running.lines[0].startswith("specinfer: serving auto (spectranet@0.0.1) at http://")
        ask = lambda _: httpx.post(  # noqa: E731
            running.url + "/classify", json={"spectra": several}, trust_env=False, timeout=60
        )
        tasks = [pool.submit(ask, n) for n in range(6)]
        wait_until(lambda: any(task.done() for task in tasks), 60.0)
        running.popen.send_signal(number)
        statuses = []
        for task in tasks:
            try:
                statuses.append(task.result(60.0).status_code)
            except httpx.TransportError:
                # It came too late: to a closed port, or into the queue of one that closes.
                statuses.append(0)
        assert running.popen.wait(60.0) == 0
    assert statuses.count(200) >= 1
    assert set(statuses) <= {200, 503, 0}
    # Answered or never taken: what was taken stands in the log, whatever became of it.
    taken = sum("POST /classify" in line for line in running.lines)
    assert taken == len(statuses) - statuses.count(0)
    assert running.lines[-1] == "specinfer: stopped; everything in hand was answered\n"
    assert not any("Traceback" in line for line in running.lines)


def test_sigterm_sends_back_what_was_accepted(tiny: Path) -> None:
    with portal() as desk, process("--callback-host", desk.host) as running:
        document = request_of(desk.url, table(row(fake_spectrum(1), "2026-11-19")))
        url = running.url + "/analysis/specinfer"
        answer = httpx.post(url, json=document, trust_env=False, timeout=60)
        assert answer.json()["status"] == "pending"
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(90.0) == 0
        assert [found["status"] for found in desk.received] == ["success"]
    assert "secret" not in "".join(running.lines)


def test_sigkill_leaves_no_process_behind(tiny: Path) -> None:
    with process() as running:
        pid = running.popen.pid

        def children() -> list[str]:
            found = []
            for path in Path("/proc").glob("[0-9]*/stat"):
                try:
                    fields = path.read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[1]) == pid and fields[0] != "Z":
                    found.append(path.parent.name)
            return found

        if not Path("/proc/self/stat").exists():
            pytest.skip("needs /proc")
        wait_until(children, 30.0)
        drawing = children()
        running.popen.kill()
        running.popen.wait()
        wait_until(lambda: not any(is_running(name) for name in drawing), 60.0)


def test_port_that_is_taken(tiny: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, line = failing("--port", port)
    assert code == 1
    assert line.startswith(f"specinfer: cannot listen at 127.0.0.1:{port}: ")
    assert line.endswith("choose another with --port (cannot_listen)\n")


def test_wrong_usage(tiny: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-secret-of-many-letters\n")
    token.chmod(0o644)
    code, line = failing("--token-file", str(token))
    assert (code, "chmod 600" in line, "a-secret" in line) == (2, True, False)
    assert failing("--queue", "0")[0] == 2
    assert failing("--port", "99999")[0] == 2
    assert failing("--config", str(tmp_path / "none.toml"))[0] == 2
    assert failing(SPECINFER_SERVE_TOKEN="short")[0] == 2
    code, line = failing("--model", "nonesuch")
    assert (code, "unknown_model" in line) == (3, True)


def test_configuration_and_options_that_win(tiny: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-secret-of-many-letters\n")
    token.chmod(0o600)
    config = tmp_path / "specinfer.toml"
    config.write_text(
        f'device = "cpu"\n[serve]\nqueue = 7\nmax_body = 5000\ntoken_file = "{token.name}"\n'
    )
    with process("--config", str(config), "--queue", "9") as running:
        health = httpx.get(running.url + "/health", trust_env=False).json()
        assert (health["queue_limit"], health["max_body"]) == (9, 5000)
        assert health["token_needed"] is True
        answer = httpx.get(running.url + "/metrics", trust_env=False)
        assert answer.status_code == 401
        assert "uvicorn" not in answer.headers.get("server", "")
    bad = tmp_path / "bad.toml"
    bad.write_text("[serve]\nqueue = true\n")
    code, line = failing("--config", str(bad))
    assert (code, "line 2" in line) == (2, True)


def test_warning_where_others_can_reach_it(tiny: Path) -> None:
    with process("--host", "0.0.0.0") as running:
        wait_until(lambda: len(running.lines) == 2)
        assert "anybody who reaches 0.0.0.0" in running.lines[1]


def test_log_that_nobody_reads_holds_nothing_up(tiny: Path) -> None:
    """More lines than a pipe holds, and nobody to read them."""
    popen = subprocess.Popen(
        [*COMMAND, "--port", "0", "--device", "cpu"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert popen.stderr is not None
        lines = 2000
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            fcntl.fcntl(popen.stderr, fcntl.F_SETPIPE_SZ, 4096)
            lines = 200
        found = re.search(r"http://\S+", popen.stderr.readline())
        assert found is not None
        with httpx.Client(base_url=found[0], trust_env=False, timeout=20) as client:
            for _ in range(lines):
                assert client.get("/health").status_code == 200
    finally:
        popen.kill()
        popen.wait()
        if popen.stderr is not None:
            popen.stderr.close()
