"""Runs of ``specinfer batch`` as whole processes, watched from outside, and what they leave."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.machine import ROOT, stolen_seconds

_SAMPLING = 0.25
# The environment that every run gets: one thread a core, however the machine is set up.
PINNED = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass
class Memory:
    """Peak memory of one process, and what it read, in MB (1e6 bytes).

    Parameters
    ----------
    name : str
        What its command line says it is.
    resident : float
        High-water mark of resident memory, pages of memory-mapped files included.
    own : float
        Largest sample of what it has to itself, without those.
    read : float
        What it has read from disk, and nothing that was in memory already.
    """

    name: str
    resident: float = 0.0
    own: float = 0.0
    read: float = 0.0


@dataclass
class Run:
    """One run of the command line.

    Parameters
    ----------
    code : int
        Exit code, negative for a signal.
    seconds : float
        From the start of the process to its end.
    stolen : float or None
        CPU time that the host gave to other machines meanwhile, in seconds.
    summary : dict
        The last line of its output.
    memory : dict of int to Memory
        By process.
    complaints : str
        End of its standard error.
    """

    code: int = 0
    seconds: float = 0.0
    stolen: float | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    memory: dict[int, Memory] = field(default_factory=dict)
    complaints: str = ""

    @property
    def rate(self) -> float:
        """Spectra a second of the whole process, its start and end included."""
        return float(self.summary.get("rows", 0)) / self.seconds

    @property
    def read_mb(self) -> float:
        """What its workers read from disk.

        The process that leads them plans from headers; Linux counts what its children read as its
        own, too, when they have ended.
        """
        return sum(one.read for one in self.workers)

    @property
    def workers(self) -> list[Memory]:
        """Processes that classified: all but the one that was started, and helpers."""
        return [one for one in self.memory.values() if one.name == "worker"]


class Batch:
    """``specinfer batch`` in a process group of its own, killed where a ``with`` is left.

    Parameters
    ----------
    inputs : sequence of str
    output : Path
    options : sequence of str
        Further options.
    """

    def __init__(self, inputs: Sequence[str], output: Path, options: Sequence[str]) -> None:
        # Files, not pipes: nobody reads while it runs. Closed in `_close`.
        self._out = tempfile.TemporaryFile()  # noqa: SIM115
        self._err = tempfile.TemporaryFile()  # noqa: SIM115
        self.run = Run()
        self._began = time.perf_counter()
        self._stolen = stolen_seconds()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "specinfer", "batch", *inputs, "--output", str(output),
             "--json", *options],
            stdout=self._out, stderr=self._err, stdin=subprocess.DEVNULL, cwd=ROOT,
            env=environment(), start_new_session=True,
        )  # fmt: skip
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._done.is_set():
            self.kill()

    def finish(self, timeout: float | None = None) -> Run:
        """Wait until it ends; see what it said.

        Raises
        ------
        subprocess.TimeoutExpired
            If it has not ended by then; it goes on.
        """
        self.run.code = self.process.wait(timeout)
        self.run.seconds = time.perf_counter() - self._began
        stolen = stolen_seconds()
        if stolen is not None and self._stolen is not None:
            self.run.stolen = stolen - self._stolen
        self._close()
        return self.run

    def kill(self) -> list[int]:
        """SIGKILL to the whole process group.

        Returns
        -------
        list of int
            Descendants that were still there five seconds later; they are killed one by one.
        """
        children = descendants(self.process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.run.code = self.process.wait()
        self.run.seconds = time.perf_counter() - self._began
        deadline = time.monotonic() + 5.0
        while (left := [one for one in children if _alive(one)]) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._close()
        return left

    def _watch(self) -> None:
        while not self._done.wait(_SAMPLING):
            sample(self.process.pid, self.run.memory)

    def _close(self) -> None:
        self._done.set()
        self._watcher.join()
        with self._out, self._err:
            self._out.seek(0)
            self._err.seek(0)
            lines = self._out.read().decode(errors="replace").strip().splitlines()
            self.run.complaints = self._err.read().decode(errors="replace")[-2000:]
        if lines and lines[-1].startswith("{"):
            self.run.summary = json.loads(lines[-1])


def environment() -> dict[str, str]:
    """That of every process that is measured."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return os.environ | PINNED | {"PYTHONPATH": path}


def sample(pid: int, memory: dict[int, Memory]) -> None:
    """Note the memory of a process and of all that descend from it."""
    for one in (pid, *descendants(pid)):
        try:
            status = Path(f"/proc/{one}/status").read_text()
            command = Path(f"/proc/{one}/cmdline").read_bytes()
        except OSError:
            continue
        values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if "VmHWM" not in values:
            continue
        forked = int(values["PPid"]) != pid
        known = memory.setdefault(one, Memory(_name(one == pid, forked, command)))
        known.resident = max(known.resident, _megabytes(values["VmHWM"]))
        known.own = max(known.own, _megabytes(values.get("RssAnon", "0 kB")))
        known.read = max(known.read, read_bytes(one) / 1e6)


def read_bytes(pid: int) -> int:
    """Bytes that a process has read from disk so far; 0 where that cannot be known."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("read_bytes")), 0)


def forget(paths: Sequence[Path]) -> None:
    """Ask the system to drop files from its cache: the next run reads them from disk."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def descendants(pid: int) -> list[int]:
    """All processes that descend from one, as /proc shows them."""
    found: list[int] = []
    waiting = _children(pid)
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += _children(one)
    return found


def _children(pid: int) -> list[int]:
    listed = glob(f"/proc/{pid}/task/*/children")
    made: list[int] = []
    for name in listed:
        with contextlib.suppress(OSError), open(name) as handle:
            made += map(int, handle.read().split())
    # Looking at all processes costs a share of what is measured; few kernels have nothing else.
    return made if listed else [one for one, parent in _parents().items() if parent == pid]


def _parents() -> dict[int, int]:
    made: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                # The name, in brackets, may hold spaces.
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                made[int(entry.name)] = int(fields[1])
    return made


@contextmanager
def work_folder(folder: Path | None) -> Iterator[Path]:
    """The folder asked for, or one that is removed in the end."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="specinfer-batch-") as temporary:
        yield Path(temporary)


def _name(first: bool, forked: bool, command: bytes) -> str:
    """What a process is for; a worker has the command line of what it was forked from."""
    if first:
        return "client"
    helps = b"resource_tracker" in command or (b"forkserver" in command and not forked)
    return "helper" if helps else "worker"


def _megabytes(text: str) -> float:
    return int(text.split()[0]) * 1024 / 1e6


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in ("Z", "X")
