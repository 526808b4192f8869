"""``python benchmarks/scan.py``: how long a redshift takes, against the published way.

The published way (Zhong et al. 2024, arXiv:2412.21130): one reconstruction a family, made once,
is slid over the whole grid by direct convolution, chi2 being a constant and two convolutions
whose kernel is the spectrum. It is written anew here, in PyTorch as released if that is
installed, and in numpy. Nothing is left out on our side: our time is that from the arrays of a
spectrum to the answer, all coefficients solved for at every shift.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from specinfer import read
from specinfer.models import load_card
from specinfer.networks import survey
from specinfer.spectrum import Spectrum
from specinfer.zgrid import STEP, Gridded, to_grid

FloatArray = NDArray[np.float64]
# Seconds a spectrum on one core, and how many times faster than the published way.
FULL, WINDOWED, RATIO = 0.025, 0.005, 40.0
# The published grids: 3600-9200 Angstrom, and the redshifts of each family.
PIXELS = 4076
REDSHIFTS = {"STAR": (-0.01, 0.01), "GALAXY": (0.0, 1.5), "QSO": (0.0, 5.0)}
EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "survey"
# Different noise for every repetition: nothing is cached by spectrum.
_JITTER = 0.5

app = typer.Typer(add_completion=False)


def shifts_of(family: str) -> int:
    """Places of the published curve of a family: its eigen-spectra are that long."""
    low, high = np.log10(1.0 + np.array(REDSHIFTS[family]))
    return PIXELS + round((high - low) / STEP)


def published(data: Gridded, convolve: Callable[[FloatArray, FloatArray], FloatArray]) -> float:
    """Place of the least chi2 of all families; as many operations as the published code does."""
    axis = np.linspace(-1.0, 1.0, data.flux.size)
    good = data.weight > 0
    smooth = np.polynomial.polynomial.polyfit(axis[good], data.flux[good], 5)
    rough = data.flux - np.polynomial.polynomial.polyval(axis, smooth)
    flux, weight = rough[:PIXELS], data.weight[:PIXELS]
    best = (np.inf, 0.0)
    for index, family in enumerate(REDSHIFTS):
        # The numbers of a reconstruction make no difference to the time.
        model = np.sin(np.arange(shifts_of(family)) * 0.01 * (index + 1))
        curve = convolve(model**2, weight) - convolve(model, 2.0 * flux * weight)
        curve = curve + (flux**2 * weight).sum()
        place = int(curve.argmin())
        best = min(best, (float(curve[place]), place * STEP))
    return best[1]


def by_numpy(values: FloatArray, kernel: FloatArray) -> FloatArray:
    """Direct convolution, of the length of `values`."""
    return np.asarray(np.correlate(values, kernel, "same"))


def by_torch() -> Callable[[FloatArray, FloatArray], FloatArray] | None:
    """The same as the released code has it, on one thread; None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)

    def convolve(values: FloatArray, kernel: FloatArray) -> FloatArray:
        with torch.no_grad():
            pair = [torch.from_numpy(x.astype(np.float32))[None, None] for x in (values, kernel)]
            made = torch.nn.functional.conv1d(pair[0], pair[1], padding="same")
        return np.asarray(made[0, 0].numpy(), dtype=np.float64)

    return convolve


def jittered(spectra: Sequence[Spectrum], count: int) -> list[Spectrum]:
    """`count` spectra, each with a little more noise of its own."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(count):
        one = spectra[index % len(spectra)]
        sigma = np.where(one.ivar > 0, 1.0 / np.sqrt(np.where(one.ivar > 0, one.ivar, 1.0)), 0.0)
        noisy = one.flux + _JITTER * sigma * rng.standard_normal(sigma.size)
        made.append(Spectrum(one.wavelength, noisy, ivar=one.ivar, resolution=one.resolution))
    return made


def interleaved(
    actions: dict[str, Callable[[Spectrum], Any]], spectra: Sequence[Spectrum]
) -> dict[str, list[float]]:
    """Seconds of every action on every spectrum, turn by turn, after some that do not count."""
    for action in actions.values():
        for one in spectra[:12]:
            action(one)
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for one in track(spectra, "spectra", console=Console(stderr=True)):
        for name, action in actions.items():
            started = time.perf_counter()
            action(one)
            seconds[name].append(time.perf_counter() - started)
    return seconds


@app.command()
def main(
    model: Annotated[str, typer.Option(help="A combination: its name or folder.")] = "survey",
    files: Annotated[Path, typer.Option(help="Folder of SDSS spectra.")] = EXAMPLES,
    count: Annotated[int, typer.Option(help="Spectra; at least 20.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Print the time of the scan and of the published way, one spectrum at a time, one core.

    Example: OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/scan.py
    """
    if count < 20:
        raise SystemExit("--count: fewer than 20 repetitions say nothing")
    both = survey.load(load_card(model), device="cpu", threads=1)
    paths = sorted(files.glob("spec*.fits"))
    if not paths:
        raise SystemExit(f"--files: {files} holds no spec*.fits")
    spectra = jittered([one for path in paths for one in read(path)], count)
    searched: list[str] = []

    def together(one: Spectrum) -> None:
        answer = both.predict([one])[0]
        searched.append(getattr(answer, "searched", "failed"))

    def grid(one: Spectrum) -> Gridded:
        return to_grid(one.wavelength, one.flux, one.ivar)

    actions: dict[str, Callable[[Spectrum], Any]] = {
        "full scan, all families": both.scan.search,
        "network + scan": together,
        "published way, numpy": lambda one: published(grid(one), by_numpy),
    }
    torch_way = by_torch()
    if torch_way is not None:
        actions["published way, PyTorch"] = lambda one: published(grid(one), torch_way)
    seconds = interleaved(actions, spectra)
    in_windows = np.array([name == "windows" for name in searched[-count:]])
    every = np.array(seconds["network + scan"])
    seconds["of these, in windows alone"] = every[in_windows].tolist()
    rows = {}
    for name, values in seconds.items():
        if len(values) < 20:
            continue
        low, middle, high = np.percentile(values, [5, 50, 95])
        rows[name] = {"n": len(values), "median_s": middle, "p5_s": low, "p95_s": high}
    full = rows["full scan, all families"]["median_s"]
    windowed = rows.get("of these, in windows alone", {}).get("median_s", float("nan"))
    ratios = {
        f"{theirs} / {name}": rows[theirs]["median_s"] / ours
        for theirs in rows
        if theirs.startswith("published")
        for name, ours in (("full scan", full), ("windows", windowed))
    }
    facts = {
        "full_target_s": FULL, "full_met": bool(full <= FULL),
        "windowed_target_s": WINDOWED, "windowed_met": bool(windowed <= WINDOWED),
        "ratio_target": RATIO, "ratios": ratios,
        "cpus": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0],
    }  # fmt: skip
    if as_json:
        print(json.dumps({"results": rows, **facts}))
        return
    table = Table("what", "n", "median", "5-95 %")
    for name, row in rows.items():
        spread = f"{1e3 * row['p5_s']:.1f}-{1e3 * row['p95_s']:.1f} ms"
        table.add_row(name, str(row["n"]), f"{1e3 * row['median_s']:.1f} ms", spread)
    console = Console()
    console.print(table)
    for name, value in ratios.items():
        console.print(f"{name}: {value:.1f} (asked: {RATIO:.0f})")
    console.print(
        f"full scan {'meets' if facts['full_met'] else 'misses'} {1e3 * FULL:.0f} ms, windows "
        f"{'meet' if facts['windowed_met'] else 'miss'} {1e3 * WINDOWED:.0f} ms; "
        f"{facts['cpus']} CPUs, load {facts['load']:.2f}"
    )


if __name__ == "__main__":
    app()
