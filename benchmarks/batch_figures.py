"""Figures of repeated runs, and of the machine that they were measured on."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from typing import Any

from benchmarks.batch_runs import PINNED
from benchmarks.machine import facts, lines

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
    """What the figures are measured on; of the packages of the extra as well."""
    versions: dict[str, str] = {}
    for name in ("dask", "distributed", "pyarrow"):
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return facts() | {"batch": versions, "measured_processes": PINNED}


def about(stated: Mapping[str, Any]) -> str:
    """A `machine` in a line."""
    said = [
        *lines(dict(stated)),
        ", ".join(f"{name} {version}" for name, version in stated["batch"].items()),
        "measured processes with "
        + ", ".join(f"{name}={value}" for name, value in stated["measured_processes"].items()),
    ]
    return "; ".join(one for one in said if one)
