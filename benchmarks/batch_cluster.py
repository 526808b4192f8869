"""A Dask cluster of separate processes on this machine: a scheduler, and workers that can die."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.batch_runs import ROOT, Memory, environment, sample

_PATIENCE = 60.0


class Cluster:
    """``dask scheduler`` and ``dask worker`` on 127.0.0.1, each in a process group of its own.

    Workers have no nanny: who is killed stays dead, as on a node that is lost.

    Parameters
    ----------
    folder : Path
        For what they write.
    workers : int
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder = folder
        self._file = folder / "scheduler.json"
        self._wanted = workers
        self._scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self.memory: dict[int, Memory] = {}

    def __enter__(self) -> Cluster:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file.unlink(missing_ok=True)
        try:
            self._scheduler = self._start(
                "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
                "--scheduler-file", str(self._file),
            )  # fmt: skip
            self._wait_for_address()
            for _ in range(self._wanted):
                self.add_worker()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return str(json.loads(self._file.read_text())["address"])

    def add_worker(self) -> None:
        """Start one more worker, of one thread."""
        self.workers.append(
            self._start(
                "worker", "--scheduler-file", str(self._file), "--nworkers", "1",
                "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1",
                "--death-timeout", "30", "--local-directory", str(self._folder),
            )
        )  # fmt: skip

    def kill_worker(self) -> None:
        """SIGKILL to the first worker."""
        victim = self.workers.pop(0)
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()

    def sample(self) -> None:
        """Note the memory of the workers."""
        for worker in self.workers:
            sample(worker.pid, self.memory)

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / "cluster.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT,
                env=environment(), start_new_session=True,
            )  # fmt: skip

    def _wait_for_address(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not self._file.exists() or not self._file.read_text().strip():
            assert self._scheduler is not None
            if self._scheduler.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"no Dask scheduler came up (see {self._folder / 'cluster.log'}); install "
                    "the extra: pip install 'specinfer[batch]'"
                )
            time.sleep(0.05)

    def _end(self) -> None:
        for one in [*self.workers, *([self._scheduler] if self._scheduler else [])]:
            if one.poll() is None:
                os.killpg(one.pid, signal.SIGTERM)
            try:
                one.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(one.pid, signal.SIGKILL)
                one.wait()
        for left in self._folder.glob("dask-scratch-space"):
            shutil.rmtree(left, ignore_errors=True)


def peak(memory: dict[int, Memory]) -> dict[str, Any]:
    """Largest peaks of the workers of a cluster; MB."""
    return {
        "worker_resident_mb": max((one.resident for one in memory.values()), default=0.0),
        "worker_own_mb": max((one.own for one in memory.values()), default=0.0),
    }
