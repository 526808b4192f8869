"""On what a benchmark ran: processor, versions, threads, load; and pinning to some CPUs.

Light on purpose: nothing here imports numpy, whose libraries count the CPUs when they are
loaded. Who wants one core pins the process first.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Of the first that is installed: the two distributions overwrite each other's files.
_RUNTIMES = ("onnxruntime-gpu", "onnxruntime")
_PACKAGES = ("specinfer", "numpy", "astropy", "torch")
# What the libraries below numpy, onnxruntime and PyTorch read when they start.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "OMP_WAIT_POLICY",
)
# A load average above this share of the CPUs, before the benchmark adds to it, is somebody else.
BUSY = 0.3


def facts() -> dict[str, Any]:
    """The machine as it is now, as plain JSON values.

    Returns
    -------
    dict
        ``cpu``, ``cpus`` of the machine, ``usable_cpus`` of this process, ``memory_gb``,
        ``system``, ``governor``, ``load`` (1 minute), ``busy``, ``versions`` and
        ``environment`` (variables that set numbers of threads). What cannot be known is None.
    """
    usable, load = usable_cpus(), load_average()
    versions: dict[str, str | None] = {"python": platform.python_version()}
    versions |= {name: _version(name) for name in _PACKAGES}
    found = ((name, _version(name)) for name in _RUNTIMES)
    versions["onnxruntime"] = next((f"{v} ({name})" for name, v in found if v), None)
    versions["commit"] = _commit()
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "usable_cpus": usable,
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "governor": _first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "load": load,
        "busy": None if load is None else load > BUSY * len(usable),
        "versions": versions,
        "environment": {name: os.environ.get(name) for name in _THREAD_VARIABLES},
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The same facts for people, with a warning where the machine is busy."""
    versions = ", ".join(f"{name} {value}" for name, value in found["versions"].items() if value)
    unset = "no thread variables set"
    given = ", ".join(f"{k}={v}" for k, v in found["environment"].items() if v is not None)
    load = "unknown" if found["load"] is None else f"{found['load']:.2f}"
    made = [
        f"{found['cpu']}: {found['cpus']} CPUs, usable {found['usable_cpus']}, governor "
        f"{found['governor'] or 'unknown'}, {found['memory_gb'] or '?'} GB, {found['system']}",
        f"{versions}; {given or unset}",
        f"load average at the start {load}",
    ]
    if found["busy"]:
        made.append(
            f"WARNING: the machine is busy (load {load} on {len(found['usable_cpus'])} CPUs "
            "before the benchmark began): times are too long and their spread too wide; "
            "ratios of one run suffer less"
        )
    return made


def usable_cpus() -> list[int]:
    """Numbers of the CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def load_average() -> float | None:
    """Of the last minute; None where the system has none."""
    with suppress(AttributeError, OSError):
        return round(os.getloadavg()[0], 2)
    return None


@contextmanager
def pinned(count: int) -> Iterator[list[int] | None]:
    """Keep this thread, and those that it starts, on so many CPUs.

    Yields the numbers of the CPUs; None where the system cannot pin. Afterwards all is as
    before, except for threads that were started meanwhile.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    before = usable_cpus()
    # The last ones: interrupts and other programs prefer the first.
    chosen = before[-count:]
    os.sched_setaffinity(0, chosen)
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, before)


def threads_note() -> str | None:
    """What to say if numpy is there before the process is pinned; None if all is well.

    Threads of BLAS that share one CPU wait for each other: a scan then takes several times as
    long.
    """
    if "numpy" not in sys.modules or os.environ.get("OMP_NUM_THREADS") == "1":
        return None
    return (
        "numpy was loaded before the process was pinned and may use more threads than it has "
        "CPUs: times are too long; set OMP_NUM_THREADS=1"
    )


def stolen_seconds() -> float | None:
    """CPU time that the host has given to other machines so far; None where nobody says.

    All CPUs together, and those with work alone: an idle one misses nothing.
    """
    with suppress(OSError, IndexError, ValueError):
        ticks = Path("/proc/stat").read_text().splitlines()[0].split()
        return int(ticks[8]) / os.sysconf("SC_CLK_TCK")
    return None


def resident_mb() -> float:
    """Memory that this process holds now, in MB (on systems without /proc: the most so far)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_mb()
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_mb() -> float:
    """The most memory that this process has held, in MB.

    Of /proc where there is one: what `resource` says there includes the parent's before exec.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:
        return float("nan")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The state of the checkout, ``-dirty`` if it has changes; None outside of one."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        made = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return made.stdout.strip() or None


def _cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    with suppress(ValueError, OSError, AttributeError):
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    return None


def _first_line(path: Path) -> str | None:
    with suppress(OSError):
        return path.read_text().strip() or None
    return None
