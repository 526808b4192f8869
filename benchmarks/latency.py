"""``python benchmarks/latency.py``: how long an answer takes, from a cold start and warm.

Nothing is left out: a cold start is a new process from its start to its exit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
# Targets in seconds, on two cores.
TARGETS = {"specinfer --help": 0.3, "classify, cold start": 1.0, "Classifier.classify, warm": 0.010}

app = typer.Typer(add_completion=False)


def repeat(action: Callable[[], object], count: int, name: str) -> list[float]:
    """Seconds of each of `count` runs, after one that is not counted."""
    action()
    seconds = []
    for _ in track(range(count), name, console=Console(stderr=True)):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return seconds


def run_process(*arguments: str) -> None:
    """Run the command line in a new process."""
    subprocess.run(
        [sys.executable, "-m", "specinfer", *arguments], check=True, stdout=subprocess.DEVNULL
    )


@app.command()
def main(
    spectrum: Annotated[
        Path | None, typer.Argument(help="A spectrum (default: an example).")
    ] = None,
    processes: Annotated[int, typer.Option(help="Cold starts.")] = 15,
    calls: Annotated[int, typer.Option(help="Warm calls.")] = 300,
    threads: Annotated[int | None, typer.Option(help="Threads of onnxruntime.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Print median and spread of cold and warm answers, and whether they meet the targets.

    Example: python benchmarks/latency.py --processes 15 --calls 300
    """
    from specinfer import Classifier, read

    path = spectrum or next(ROOT.glob("examples/spec_auto_*SIM01.fits"))
    option = [] if threads is None else ["--threads", str(threads)]
    classifier, one = Classifier(threads=threads), read(path)[0]
    measured = {
        "specinfer --help": repeat(lambda: run_process("--help"), processes, "--help"),
        "classify, cold start": repeat(
            lambda: run_process("classify", str(path), *option), processes, "cold"
        ),
        "Classifier.classify, warm": repeat(lambda: classifier.classify(one), calls, "warm"),
    }
    rows = {}
    for name, seconds in measured.items():
        low, middle, high = np.percentile(seconds, [5, 50, 95])
        rows[name] = {
            "n": len(seconds), "median_s": middle, "p5_s": low, "p95_s": high,
            "target_s": TARGETS[name], "met": bool(middle < TARGETS[name]),
        }  # fmt: skip
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    if as_json:
        print(json.dumps({"cpus": os.cpu_count(), "load": load, "results": rows}))
        return
    table = Table("what", "n", "median", "5-95 %", "target", "met")
    for name, row in rows.items():
        spread = f"{1e3 * row['p5_s']:.1f}-{1e3 * row['p95_s']:.1f} ms"
        table.add_row(
            name, str(row["n"]), f"{1e3 * row['median_s']:.1f} ms", spread,
            f"{1e3 * row['target_s']:.0f} ms", "yes" if row["met"] else "NO",
        )  # fmt: skip
    Console().print(table)
    Console().print(f"{os.cpu_count()} CPUs, load average {load:.2f}")


if __name__ == "__main__":
    app()
