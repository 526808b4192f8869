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

from specinfer import Classifier, Spectrum, read

ROOT = Path(__file__).resolve().parent.parent
# Targets in seconds, on two cores.
TARGETS = {
    "specinfer --help": 0.3,
    "classify, cold start": 1.0,
    "Classifier.classify, warm": 0.010,
    "the network alone, one core": 0.0015,
    "a spectrum of classify_many, batches of 64": 1.0 / 1500.0,
}
# Spectra that are classified together for the last of these.
TOGETHER, BATCH = 512, 64

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


def many_like(spectrum: Spectrum, count: int) -> list[Spectrum]:
    """Observations of the same target: other noise of the stated size, bad pixels kept."""
    rng = np.random.default_rng(0)
    sigma = np.where(spectrum.good, spectrum.sigma_array, 0.0)
    return [
        Spectrum(
            spectrum.wavelength,
            spectrum.flux + sigma * rng.normal(size=sigma.size),
            ivar=spectrum.ivar,
        )
        for _ in range(count)
    ]


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
    path = spectrum or next(ROOT.glob("examples/spec_auto_*SIM01.fits"))
    option = [] if threads is None else ["--threads", str(threads)]
    classifier, one = Classifier(threads=threads), read(path)[0]
    network = Classifier(threads=1).network("spectranet")
    prepared = network.prepare(one).input[None]
    many = many_like(one, TOGETHER)
    measured = {
        "specinfer --help": repeat(lambda: run_process("--help"), processes, "--help"),
        "classify, cold start": repeat(
            lambda: run_process("classify", str(path), *option), processes, "cold"
        ),
        "Classifier.classify, warm": repeat(lambda: classifier.classify(one), calls, "warm"),
        "the network alone, one core": repeat(lambda: network.run(prepared), calls, "network"),
        "a spectrum of classify_many, batches of 64": [
            seconds / TOGETHER
            for seconds in repeat(
                lambda: list(classifier.classify_many(many, batch_size=BATCH)), 8, "many"
            )
        ],
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
        spread = f"{1e3 * row['p5_s']:.2f}-{1e3 * row['p95_s']:.2f} ms"
        table.add_row(
            name, str(row["n"]), f"{1e3 * row['median_s']:.2f} ms", spread,
            f"{1e3 * row['target_s']:.3g} ms", "yes" if row["met"] else "NO",
        )  # fmt: skip
    Console().print(table)
    Console().print(f"{os.cpu_count()} CPUs, load average {load:.2f}")


if __name__ == "__main__":
    app()
