"""Kills a watch service at every step of its work, one after the other (see test_watch_kill.py).

Each service is a fork of this process, which has imported everything: a second a start
would be too slow for as many kills as there are steps.

    python tests/kill_steps.py FOLDER
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from specinfer.classifier import Classifier
from specinfer.config_tables import DecisionConfig, SkyPortalConfig
from specinfer.outbox import Outbox
from specinfer.pipeline import Handling, handle
from specinfer.skyportal_outcome import Outcome
from specinfer.watch.delivery import Delivery
from specinfer.watch.journal import FILE_NAME, Journal
from specinfer.watch.log import Log
from specinfer.watch.loop import Service
from specinfer.watch.options import WatchOptions

PORTAL = SkyPortalConfig(url="https://portal.example", retry_first=0.05, timeout=0.1)


class Recorder:
    """A portal that writes down what it gets, and knows what it has."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, post: Any) -> Outcome:
        """Keep a post, if it is not there."""
        line = f"{post.kind} {post.stems[0]}"
        if self._path.exists() and line in self._path.read_text().splitlines():
            return Outcome("already")
        with self._path.open("a") as file:
            file.write(line + "\n")
        return Outcome("posted")


def watch(directory: Path) -> int:
    """One run of the service."""
    options = WatchOptions(directory, once=True, settle=0.0, interval=0.01, retry_first=0.01)
    classifier = Classifier(device="cpu", threads=1)
    delivery = Delivery(
        options.state_folder / FILE_NAME,
        Recorder(directory.parent / "posts"),
        PORTAL,
        DecisionConfig(),
        Log(level="error"),
    )
    handling = Handling(annotate=True)
    service = Service(
        options,
        lambda path: handle(path, classifier, handling),
        Log(level="error"),
        delivery=delivery,
    )
    return service.run()


def die_at(step: int) -> None:
    """From now on, count the steps that change something on the disk; die at one of them."""
    count = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            for after in (False, True):
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                if not after:
                    value = function(*args, **kwargs)
            return value

        return wrapper

    os.replace = counted(os.replace)  # type: ignore[assignment]
    os.fsync = counted(os.fsync)
    Journal.save = counted(Journal.save)  # type: ignore[method-assign]
    Outbox.enqueue = counted(Outbox.enqueue)  # type: ignore[method-assign]
    Recorder.send = counted(Recorder.send)  # type: ignore[method-assign]


def in_fork(directory: Path, step: int | None) -> int:
    """Exit code of a service in a process of its own; -9 if it was killed."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            if step is not None:
                die_at(step)
            code = watch(directory)
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def main(folder: Path) -> None:
    """Kill at each step; print a line of JSON for each: step, exit codes, folder."""
    spectra = sorted((folder / "spectra").iterdir())
    step, code = 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        step += 1
        directory = folder / f"step{step}" / "night"
        directory.mkdir(parents=True)
        for path in spectra:
            shutil.copy(path, directory)
        code = in_fork(directory, step)
        again = in_fork(directory, None)
        print(json.dumps({"step": step, "code": code, "again": again}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
