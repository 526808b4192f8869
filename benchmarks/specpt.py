"""``python benchmarks/specpt.py``: what an answer of SpecPT takes, beside GaSNet-II's network.

Turn by turn in one process: the network alone, the whole answer from arrays on, and with lines.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from specinfer import Classifier, read
from specinfer.noise_channel import with_noise
from specinfer.preprocess import Preprocessing, prepare

ROOT = Path(__file__).resolve().parent.parent
LEAST = 20
# Milliseconds on one core.
TARGET = 5.0

app = typer.Typer(add_completion=False)


@app.command()
def main(
    folder: Annotated[Path, typer.Option(help="Folder of SDSS spectra.")] = ROOT
    / "examples"
    / "survey",
    count: Annotated[int, typer.Option(help="Repetitions of each; at least 20.")] = 200,
    threads: Annotated[int, typer.Option(help="Threads of onnxruntime.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Print median and spread.

    Example: OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/specpt.py
    """
    if count < LEAST:
        raise SystemExit(f"--count {count}: fewer than {LEAST} repetitions tell nothing")
    spectra = [read(path)[0] for path in sorted(folder.glob("*.fits"))]
    if not spectra:
        raise SystemExit(f"{folder} holds no FITS files; give --folder")
    classifiers = {name: Classifier(name, "cpu", threads) for name in ("specpt", "gasnet2")}
    networks = {name: one.network(name) for name, one in classifiers.items()}
    inputs: dict[str, dict[str, Any]] = {}
    for name, network in networks.items():
        config = Preprocessing.from_dict(network.card.preprocessing)
        made = prepare(spectra[0].wavelength, spectra[0].flux, spectra[0].ivar, config)
        array = with_noise(made) if name == "specpt" else made.input
        inputs[name] = {network.card.input_name: array[None]}
    turns: dict[str, Callable[[int], object]] = {
        "network alone": lambda i: networks["specpt"].checked_session.run(inputs["specpt"]),
        "from arrays to the answer": lambda i: classifiers["specpt"].classify(
            spectra[i % len(spectra)]
        ),
        "and its lines": lambda i: (
            classifiers["specpt"].classify(spectra[i % len(spectra)]).with_lines()
        ),
        "gasnet2, network alone": lambda i: networks["gasnet2"].checked_session.run(
            inputs["gasnet2"]
        ),
    }
    for _ in range(5):
        for work in turns.values():
            work(0)
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for i in track(range(count), "turns", console=Console(stderr=True)):
        for name, work in turns.items():
            start = time.perf_counter()
            work(i)
            seconds[name].append(time.perf_counter() - start)
    rows = {
        name: dict(zip(("p5", "p50", "p95"), 1e3 * np.percentile(x, [5, 50, 95]), strict=True))
        for name, x in seconds.items()
    }
    machine = {"threads": threads, "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    if as_json:
        print(json.dumps({"machine": machine, "n": count, "milliseconds": rows}))
        return
    table = Table("what", "n", "median", "5-95 %")
    for name, row in rows.items():
        table.add_row(
            name, str(count), f"{row['p50']:.2f} ms", f"{row['p5']:.2f}-{row['p95']:.2f} ms"
        )
    Console().print(table)
    met = "met" if rows["network alone"]["p50"] <= TARGET else "NOT met"
    Console().print(f"{machine}; the network within {TARGET:g} ms: {met}")


if __name__ == "__main__":
    app()
