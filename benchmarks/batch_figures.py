"""Figures of repeated runs, and of the machine that they were measured on."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.batch_runs import PINNED

# A median of fewer runs than this is not printed.
LEAST_RUNS = 3


def summarised(values: Sequence[float]) -> dict[str, Any]:
    """Values of repeated runs with their range; the median only of enough of them."""
    kept = [float(value) for value in values]
    median = statistics.median(kept) if len(kept) >= LEAST_RUNS else None
    return {
        "n": len(kept), "median": median,
        "least": min(kept, default=None), "most": max(kept, default=None), "values": kept,
    }  # fmt: skip


def in_words(summary: Mapping[str, Any], digits: int = 1) -> str:
    """A `summarised` for people; fewer than three runs have no median."""
    if not summary["n"]:
        return "not measured"
    if summary["median"] is None:
        values = ", ".join(f"{value:.{digits}f}" for value in summary["values"])
        return f"{values} (n {summary['n']}: no median of fewer than {LEAST_RUNS} runs)"
    spread = f"{summary['least']:.{digits}f}-{summary['most']:.{digits}f}"
    return f"{summary['median']:.{digits}f} ({spread}, n {summary['n']})"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    siblings = Path("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list")
    packages = ("specinfer", "numpy", "astropy", "onnxruntime-gpu", "onnxruntime", "dask",
                "distributed", "pyarrow")  # fmt: skip
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": model,
        "cpus": sorted(os.sched_getaffinity(0)),
        "threads_of_cpu0": siblings.read_text().strip() if siblings.exists() else None,
        "load": os.getloadavg()[0],
        "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        "python": platform.python_version(),
        "versions": versions,
        "environment": PINNED,
    }


def about(stated: Mapping[str, Any]) -> str:
    """A `machine` in a line."""
    versions = ", ".join(f"{name} {version}" for name, version in stated["versions"].items())
    busy = " (BUSY: rates are too low)" if stated["load"] > 0.5 else ""
    return (
        f"{len(stated['cpus'])} of {stated['cpu']} (threads of core 0: "
        f"{stated['threads_of_cpu0']}), load {stated['load']:.2f}{busy}, one thread a worker, "
        f"Python {stated['python']}, {versions}"
    )
