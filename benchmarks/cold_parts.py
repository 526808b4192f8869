"""``python benchmarks/cold_parts.py``: what a cold ``specinfer classify`` spends its time on.

Whole commands are compared with a Python that imports numpy, astropy.io.fits and
onnxruntime and opens the same file: no program that uses the three starts faster than that.
All kinds of process take turns, so that they meet the same machine. The parts are those of
one process that does them one after the other; the command itself makes its session while
it imports, so they add up to more than it takes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = next((ROOT / "examples").glob("*SIM01.fits"))
BARE = (
    "import sys, numpy, astropy.io.fits, onnxruntime\n"
    "with astropy.io.fits.open(sys.argv[1]) as hdus:\n"
    "    hdus[0].data"
)
REFERENCE = "numpy, astropy.io.fits, onnxruntime"

app = typer.Typer(add_completion=False)


@dataclass
class Times:
    """Of one kind of process: `wall` and `cpu` (user and system) in seconds, one each a run."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """Medians, and the 5th and 95th percentile of the wall time, in seconds."""
        low, middle, high = np.percentile(self.wall, [5, 50, 95])
        return {
            "n": len(self.wall), "median_s": middle, "p5_s": low, "p95_s": high,
            "cpu_median_s": float(np.median(self.cpu)),
        }  # fmt: skip


def whole(path: Path, count: int, trees: Mapping[str, Path]) -> dict[str, Times]:
    """Time whole processes, in turns.

    Parameters
    ----------
    path : Path
        A FITS file of SEDM; its text twin is classified, too, if it is there.
    count : int
        Runs of each, after one that is not counted.
    trees : mapping of str to Path
        Checkouts of specinfer by the names that they have in the result.

    Returns
    -------
    dict of str to Times
    """
    commands: dict[str, tuple[list[str], Path | None]] = {
        "python -c pass": (["-c", "pass"], None),
        REFERENCE: (["-c", BARE, str(path)], None),
    }
    for name, tree in trees.items():
        for what in (path, path.with_suffix(".txt")):
            if what.exists():
                command = ["-m", "specinfer", "classify", str(what)]
                commands[f"{name}: classify {what.suffix}"] = (command, tree)
        commands[f"{name}: --help"] = (["-m", "specinfer", "--help"], tree)
    times = {name: Times() for name in commands}
    with _compiled() as environment:
        for run in track(range(count + 1), "processes", console=Console(stderr=True)):
            for name, (command, of) in commands.items():
                wall, cpu, _ = _timed(command, environment, of)
                if run:
                    times[name].wall.append(wall)
                    times[name].cpu.append(cpu)
    return times


def parts(path: Path, count: int) -> dict[str, list[float]]:
    """Seconds of each part of a cold start, in the order in which they are done.

    Parameters
    ----------
    path : Path
        The spectrum.
    count : int
        Processes, after one that is not counted.

    Returns
    -------
    dict of str to list of float
    """
    found: dict[str, list[float]] = {}
    child = str(Path(__file__).with_name("cold_child.py"))
    with _compiled() as environment:
        for run in track(range(count + 1), "parts", console=Console(stderr=True)):
            started = time.monotonic()
            wall, _, printed = _timed([child, str(path), repr(started)], environment, ROOT)
            one: dict[str, Any] = json.loads(printed)
            one["parts"]["the end of the process"] = started + wall - one["end"]
            for name, seconds in one["parts"].items() if run else ():
                found.setdefault(name, []).append(seconds)
    return found


@contextmanager
def _compiled() -> Iterator[dict[str, str]]:
    """An environment in which modules stay compiled, as they are when installed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with tempfile.TemporaryDirectory() as cache:
        yield environment | {"PYTHONPYCACHEPREFIX": cache}


def _timed(
    command: list[str], environment: Mapping[str, str], tree: Path | None
) -> tuple[float, float, bytes]:
    """Wall and CPU seconds of a Python process, and what it printed."""
    path = {} if tree is None else {"PYTHONPATH": str(tree)}
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        env={**environment, **path},
        # `-m` looks here first, and finds neither specinfer nor a configuration.
        cwd=environment["PYTHONPYCACHEPREFIX"],
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.stdout.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:3])} ended with {process.returncode}")
    return wall, usage.ru_utime + usage.ru_stime, printed


@app.command()
def main(
    path: Annotated[Path, typer.Argument(help="A FITS file of SEDM.")] = EXAMPLE,
    count: Annotated[int, typer.Option(help="Processes of each kind.")] = 20,
    before: Annotated[
        Path | None, typer.Option(help="Another checkout of specinfer, to compare with.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Time cold starts as a whole and in parts."""
    path = path.resolve()
    trees = {"specinfer": ROOT} | ({} if before is None else {"before": before.resolve()})
    commands = {name: one.summary() for name, one in whole(path, count, trees).items()}
    pieces = parts(path, count)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    if as_json:
        medians = {name: float(np.median(seconds)) for name, seconds in pieces.items()}
        print(
            json.dumps(
                {"cpus": os.cpu_count(), "load": load, "commands": commands, "parts": medians}
            )
        )
        return
    table = Table("process", "n", "median", "5-95 %", "CPU time", "of the reference")
    for name, row in commands.items():
        ratio = row["median_s"] / commands[REFERENCE]["median_s"]
        table.add_row(
            name, str(row["n"]), f"{1e3 * row['median_s']:.0f} ms",
            f"{1e3 * row['p5_s']:.0f}-{1e3 * row['p95_s']:.0f} ms",
            f"{1e3 * row['cpu_median_s']:.0f} ms", f"{ratio:.2f}",
        )  # fmt: skip
    Console().print(table)
    table = Table("part", "n", "median", "5-95 %")
    for name, seconds in pieces.items():
        low, middle, high = 1e3 * np.percentile(seconds, [5, 50, 95])
        table.add_row(name, str(len(seconds)), f"{middle:.1f} ms", f"{low:.1f}-{high:.1f} ms")
    Console().print(table)
    Console().print(f"{os.cpu_count()} CPUs, load average {load:.2f}")


if __name__ == "__main__":
    app()
