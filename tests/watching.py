"""Help for the tests of the watch service: a stand-in for the classifier, and a log."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from specinfer.gates import Gate
from specinfer.pipeline import Handled
from specinfer.result import Classification
from specinfer.sidecar import make_sidecar, read_sidecar, sidecar_path, write_sidecar
from specinfer.watch.log import Log
from specinfer.watch.loop import Service
from specinfer.watch.options import WatchOptions

NAME = "spec_auto_{how}_lstep1__crr_b_ifu20261121_05_{number:02d}_00_ZTF26a.fits"


class Events(Log):
    """A log that keeps what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[tuple[str, str, dict[str, Any]]] = []

    def _write(self, level: str, event: str, message: str, facts: dict[str, Any]) -> None:
        self.all.append((event, message, facts))

    def of(self, event: str) -> list[str]:
        """The messages of one event."""
        return [message for name, message, _ in list(self.all) if name == event]


class Answers:
    """Answers by the content of a file: ``bad`` is unreadable, ``class z`` is an answer.

    Like `specinfer.pipeline.handle` it writes sidecars and does nothing twice.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.calls: list[Path] = []
        self.error: Exception | None = None
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    def __call__(self, path: Path) -> Handled:
        with self._lock:
            self.calls.append(path)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            time.sleep(self.seconds)
            return self._answer(path)
        finally:
            with self._lock:
                self.at_once -= 1

    def _answer(self, path: Path) -> Handled:
        if self.error is not None:
            raise self.error
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        before = read_sidecar(path)
        done = before is not None and before["sha256"] == sha256
        gate, result = Gate("OK", ""), None
        if content.startswith(b"bad") or not content:
            gate = Gate("UNREADABLE", "this is no spectrum")
        else:
            name, z = content.decode().split()[:2]
            result = Classification(
                file=str(path), status="ok", model="fake@1", class_name=name, probability=0.9,
                redshift=float(z), redshift_err=0.001,
            )  # fmt: skip
        if not done:
            write_sidecar(path, make_sidecar(path, sha256=sha256, gate=gate, result=result))
        return Handled(
            path=path, state=gate.state, reason=gate.reason, result=result,
            sidecar=sidecar_path(path), picture=None, annotated=(), fresh=not done, sha256=sha256,
        )  # fmt: skip


def quick(directory: Path, **more: Any) -> WatchOptions:
    """Options with which nothing takes long."""
    usual: dict[str, Any] = {
        "interval": 0.02, "settle": 0.008, "retry_first": 0.02, "heartbeat": 0.1, "attempts": 3,
    }  # fmt: skip
    return WatchOptions(directory, **(usual | more))


@contextmanager
def running(
    options: WatchOptions, answer: Callable[[Path], Handled], log: Events, **more: Any
) -> Iterator[Service]:
    """A service in a thread, stopped at the end; its exit code is `service.code`."""
    service = Service(options, answer, log, **more)

    def run() -> None:
        try:
            service.code = service.run()  # type: ignore[attr-defined]
        except Exception as error:
            service.error = error  # type: ignore[attr-defined]

    thread = threading.Thread(target=run)
    thread.start()
    try:
        until(lambda: log.of("started") or not thread.is_alive())
        yield service
    finally:
        service.stop()
        thread.join(20)
        assert not thread.is_alive()


def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)
