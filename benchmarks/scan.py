"""``python benchmarks/scan.py``: how long a redshift takes, against the published way.

The published way (Zhong et al. 2024, arXiv:2412.21130): one reconstruction a family, made once,
is slid over the whole grid by direct convolution. It is written anew here, from the paper.
Nothing is left out: our time is that from the arrays of a spectrum to the best redshifts with
their errors, all coefficients solved for at every shift.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from specinfer.models import load_card
from specinfer.networks import gasnet3
from specinfer.spectrum import Spectrum
from specinfer.zfit import fit
from specinfer.zgrid import LN_STEP, STEP, Gridded, to_grid
from specinfer.zscan import Scanner

FloatArray = NDArray[np.float64]
# Seconds a spectrum, on one core; and how many times faster than the published way.
TARGET, RATIO = 0.025, 40.0
FIRST, COUNT = 35563, 4600

app = typer.Typer(add_completion=False)


def slide(data: Gridded, model: FloatArray, first: int, scanner: Scanner) -> FloatArray:
    """chi2 of one rest-frame model at every pixel shift, its amplitude free.

    Direct convolutions, as in the released code of GaSNet-III.
    """
    width = data.binning * LN_STEP
    low = int(np.floor(np.log1p(scanner.family.redshift_min) / width))
    high = int(np.ceil(np.log1p(scanner.family.redshift_max) / width))
    pixel = np.arange(data.first - high, data.first + data.flux.size - low) - first
    inside = (pixel >= 0) & (pixel < model.size)
    laid = np.where(inside, model[np.clip(pixel, 0, model.size - 1)], 0.0)
    cross = np.correlate(laid, data.weight * data.flux, "valid")
    power = np.correlate(laid**2, data.weight, "valid")
    gain = np.where(power > 0, cross**2 / np.where(power > 0, power, 1.0), 0.0)
    return np.asarray((data.weight * data.flux**2).sum() - gain)[::-1]


def published(data: Gridded, scanners: Sequence[Scanner]) -> float:
    """Redshift of the least chi2 over all families."""
    best = (np.inf, 0.0)
    smooth = np.polynomial.Polynomial.fit(np.arange(data.flux.size), data.flux, 5)
    rough = data._replace(flux=data.flux - smooth(np.arange(data.flux.size)))
    for scanner in scanners:
        first, spectra = scanner.templates(data.binning, None)
        model = scanner.family.typical @ spectra
        axis = np.arange(model.size)
        model = model - np.polynomial.Polynomial.fit(axis, model, 5)(axis)
        chi2 = slide(rough, model, first, scanner)
        index = int(chi2.argmin())
        low = np.floor(np.log1p(scanner.family.redshift_min) / LN_STEP)
        best = min(best, (float(chi2[index]), float(np.expm1((low + index) * LN_STEP))))
    return best[1]


def simulate(scanners: Sequence[Scanner], count: int) -> list[Spectrum]:
    """Noisy spectra of all families at random redshifts."""
    rng = np.random.default_rng(0)
    made = []
    wavelength = 10.0 ** ((FIRST + np.arange(COUNT)) * STEP)
    for index in range(count):
        scanner = scanners[index % len(scanners)]
        family = scanner.family
        low, high = np.log1p([max(family.redshift_min, -0.002), family.redshift_max])
        z = float(np.expm1(rng.uniform(low, high)))
        # The typical spectrum of the family, moved.
        shift = round(float(np.log1p(z)) / LN_STEP)
        first, spectra = scanner.templates(1, None)
        pixel = np.clip(FIRST + np.arange(COUNT) - shift - first, 0, spectra.shape[1] - 1)
        flux = (family.typical @ spectra)[pixel]
        sigma = np.median(np.abs(flux)) / rng.uniform(3.0, 15.0)
        noisy = flux + rng.normal(0.0, sigma, COUNT)
        made.append(Spectrum(wavelength, noisy, ivar=np.full(COUNT, sigma**-2)))
    return made


def repeat(
    action: Callable[[Spectrum], object], spectra: Sequence[Spectrum], name: str
) -> list[float]:
    """Seconds of each spectrum, after all were done once."""
    for one in spectra:
        action(one)
    seconds = []
    for one in track(spectra, name, console=Console(stderr=True)):
        started = time.perf_counter()
        action(one)
        seconds.append(time.perf_counter() - started)
    return seconds


@app.command()
def main(
    model: Annotated[str, typer.Option(help="A GaSNet-III: its name or folder.")] = "gasnet3",
    count: Annotated[int, typer.Option(help="Spectra.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Print the time of the scan and of the published way, one spectrum at a time, one core.

    Example: OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/scan.py
    """
    network = gasnet3.load(load_card(model), device="cpu", threads=1)
    scanners = network.scanners
    spectra = simulate(scanners, count)

    def grid(one: Spectrum) -> Gridded:
        return to_grid(one.wavelength, one.flux, one.ivar)

    measured = {
        "full scan, all families": repeat(network.search, spectra, "scan"),
        "one fit": repeat(lambda one: fit(scanners[0], grid(one), 0.3), spectra, "fit"),
        "published way: direct slide": repeat(
            lambda one: published(grid(one), scanners), spectra, "slide"
        ),
    }
    rows = {}
    for name, seconds in measured.items():
        low, middle, high = np.percentile(seconds, [5, 50, 95])
        rows[name] = {"n": len(seconds), "median_s": middle, "p5_s": low, "p95_s": high}
    ours, theirs = (rows[name]["median_s"] for name in (*measured,)[::2])
    facts = {
        "target_s": TARGET, "met": bool(ours <= TARGET), "ratio": theirs / ours,
        "ratio_target": RATIO, "cpus": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0],
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
    console.print(
        f"full scan {'meets' if facts['met'] else 'misses'} {1e3 * TARGET:.0f} ms; "
        f"{facts['ratio']:.1f} times faster than the published way (asked: {RATIO:.0f}); "
        f"{facts['cpus']} CPUs, load {facts['load']:.2f}"
    )


if __name__ == "__main__":
    app()
