"""``python -m training.simulate.pictures``: what the simulator makes, to look at.

A page of training objects under several conditions, and one spectrum step by step; and how
fast the simulator is (``--speed``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from training.archive.labels import CLASSES
from training.archive.library import Library, grid_edges
from training.config import Recipe, read_recipe, resolve
from training.paths import ROOT
from training.run import make_batches, usable_rows
from training.simulate.draw import host_rows
from training.simulate.instruments import Instrument, make_instrument, sedm
from training.simulate.transients import QUIET, Conditions, Observed, Simulator
from training.stream import TRAIN, step_rng

app = typer.Typer(add_completion=False)
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Class and redshift of each row of the page.
SHOWN = (
    ("SN Ia", 0.06), ("SN Ib", 0.03), ("SN Ic-BL", 0.05), ("SN II", 0.03), ("SN IIn", 0.06),
    ("SLSN-I", 0.25), ("AGN/QSO", 0.4), ("Star", 0.0),
)  # fmt: skip
# Rows with a source that sees this much are shown, so that every column has something.
_SEEN = (3600.0, 8200.0)
_EARLY = 25.0


@dataclass(frozen=True)
class Column:
    """A condition of the page: an instrument, what is drawn, and the Angstrom that are seen."""

    title: str
    instrument: Instrument
    conditions: Conditions
    seen: tuple[float, float] = (0.0, np.inf)


def columns() -> tuple[Column, ...]:
    """The conditions of the page, from left to right."""

    def at(snr: float, host: float = 0.0) -> Conditions:
        return Conditions(
            snr=(snr, snr), host_share=float(host > 0), host_range=(host, host), cut_share=0.0
        )

    slit = make_instrument("slit", np.arange(3500.0, 9800.0, 4.0), 1000.0)
    red = make_instrument("red", np.arange(5800.0, 10200.0, 4.0), 1500.0)
    return (
        Column("SEDM, SNR 20", sedm(), at(20.0)),
        Column("SEDM, SNR 5", sedm(), at(5.0)),
        Column("slit, R 1000, SNR 15", slit, at(15.0)),
        Column("SEDM, 4000-7500 A, SNR 15", sedm(), at(15.0), (4000.0, 7500.0)),
        Column("5800-10200 A, R 1500, SNR 15", red, at(15.0)),
        Column("SEDM, 50 % host, SNR 20", sedm(), at(20.0, 0.5)),
    )


def choose(
    library: Library, rows: NDArray[np.intp], name: str, rng: np.random.Generator
) -> np.intp:
    """A row of a class to show: with its continuum, a wide range, near maximum, little noise."""
    wavelength = _centres()
    mine = rows[(library.label[rows] == CLASSES.index(name)) & ~library.flattened[rows]]
    inside = (wavelength > _SEEN[0]) & (wavelength < _SEEN[1])
    wide = library.good[mine][:, inside].mean(axis=1) > 0.98
    early = ~(np.abs(library.phase[mine]) > _EARLY)
    for fits in (wide & early, wide):
        if fits.any():
            mine = mine[fits]
            break
    flux = library.flux[mine][:, inside]
    rough = np.median(np.abs(np.diff(flux, n=2, axis=1)), axis=1) / np.median(flux, axis=1)
    return rng.choice(mine[rough <= np.quantile(rough, 0.25)])


def _centres() -> FloatArray:
    edges = grid_edges()
    return np.asarray(np.sqrt(edges[1:] * edges[:-1]))


def _one(
    simulator: Simulator,
    row: np.intp,
    redshift: float,
    column: Column,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Wavelength, flux and usable pixels of one simulated spectrum."""
    for _ in range(20):
        observed: Observed = simulator.observe(
            np.array([row]), np.array([redshift]), column.instrument, column.conditions, rng
        )
        # A galaxy template that ends inside the spectrum adds nothing: another is drawn.
        wanted = column.conditions.host_share > 0 and is_transient(simulator.library, row)
        if not wanted or observed.host[0] > 0:
            break
    low, high = column.seen
    wavelength = observed.wavelength
    good = (observed.ivar[0] > 0) & (wavelength >= low) & (wavelength <= high)
    return wavelength, observed.flux[0], good


def is_transient(library: Library, row: np.intp) -> bool:
    """Whether host light is mixed into a row."""
    return bool(library.label[row] < CLASSES.index("AGN/QSO"))


def _scaled(flux: FloatArray, good: BoolArray) -> FloatArray:
    """In units of its mean, NaN where nothing is seen."""
    return np.where(good, flux / max(abs(float(flux[good].mean())), 1e-9), np.nan)


def _source(library: Library, row: np.intp, redshift: float) -> tuple[FloatArray, FloatArray]:
    """The library's spectrum, redshifted."""
    return _centres() * (1.0 + redshift), np.where(library.good[row], library.flux[row], np.nan)


def draw_page(
    library: Library, rows: NDArray[np.intp], simulator: Simulator, seed: int, path: Path
) -> None:
    """The page: classes from top to bottom, conditions from left to right."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rng = np.random.default_rng(seed)
    shown = columns()
    figure, axes = plt.subplots(
        len(SHOWN), len(shown), figsize=(15.0, 13.5), sharex=True, squeeze=False
    )
    for line, (name, redshift) in zip(axes, SHOWN, strict=True):
        row = choose(library, rows, name, rng)
        behind, source = _source(library, row, redshift)
        for axis, column in zip(line, shown, strict=True):
            wavelength, flux, good = _one(simulator, row, redshift, column, rng)
            values = _scaled(flux, good)
            common = np.interp(wavelength[good], behind, np.nan_to_num(source))
            level = float(common.mean())
            axis.plot(behind, source / max(abs(level), 1e-9), color="#bbbbbb", lw=1.0)
            axis.plot(wavelength, values, color="#1f4e8c", lw=0.7, drawstyle="steps-mid")
            low, high = np.nanpercentile(values, [0.5, 99.5])
            margin = 0.25 * (high - low)
            axis.set_ylim(min(low - margin, 0.0), high + margin)
            axis.set_xlim(3400.0, 10300.0)
            axis.set_yticks([])
            axis.tick_params(labelsize=8)
        line[0].set_ylabel(f"{name}\nz = {redshift:g}", fontsize=10)
    for axis, column in zip(axes[0], shown, strict=True):
        axis.set_title(column.title, fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("observed wavelength (A)", fontsize=9)
        axis.set_xticks([4000, 6000, 8000, 10000])
    figure.tight_layout(h_pad=0.3, w_pad=0.3)
    _write(figure, path)
    plt.close(figure)


def steps(conditions: Conditions) -> tuple[tuple[str, Conditions], ...]:
    """What is added from step to step."""
    hosted = replace(QUIET, host_share=1.0, host_range=(0.3, 0.3))
    red = replace(hosted, reddening=conditions.reddening)
    rippled = replace(red, ripple=conditions.ripple, residue=conditions.residue)
    noisy = replace(rippled, snr=(10.0, 10.0), flexure=conditions.flexure)
    sky = replace(noisy, sky_residual=conditions.sky_residual)
    cut = replace(sky, bad_pixels=0.08, cut_share=1.0, cut_max=conditions.cut_max)
    return (
        ("rebinned to the SEDM at z = 0.06", QUIET),
        ("+ 30 % host light", hosted),
        ("+ reddening", red),
        ("+ calibration ripple and residues", rippled),
        ("+ noise, SNR 10, and flexure", noisy),
        ("+ sky-line residuals", sky),
        ("+ bad pixels and cuts", cut),
    )


def draw_steps(
    library: Library, rows: NDArray[np.intp], simulator: Simulator, seed: int, path: Path
) -> None:
    """One SN Ia, from the library to the network, with the same random numbers at each step."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    redshift = 0.06
    row = choose(library, rows, "SN Ia", np.random.default_rng(seed))
    every = steps(Conditions())
    figure, axes = plt.subplots(2, 4, figsize=(14.0, 6.0), sharex=True)
    flat = axes.ravel()
    flat[0].plot(*_source(library, row, redshift), color="#666666", lw=0.8)
    flat[0].set_title("library spectrum, redshifted", fontsize=10)
    first = None
    for axis, (title, conditions) in zip(flat[1:], every, strict=True):
        column = Column(title, sedm(), conditions)
        wavelength, flux, good = _one(
            simulator, row, redshift, column, np.random.default_rng(seed + 4)
        )
        values = _scaled(flux, good)
        if first is None:
            first = values
        behind = first / np.nanmean(np.where(good, first, np.nan))
        axis.plot(wavelength, behind, color="#bbbbbb", lw=1.0)
        axis.plot(wavelength, values, color="#1f4e8c", lw=0.8, drawstyle="steps-mid")
        axis.set_title(title, fontsize=10)
    for axis in flat:
        axis.set_xlim(3400.0, 9600.0)
        axis.set_ylim(bottom=0.0)
        axis.set_yticks([])
        axis.tick_params(labelsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("observed wavelength (A)", fontsize=9)
    figure.tight_layout(h_pad=0.8, w_pad=0.5)
    _write(figure, path)
    plt.close(figure)


def _write(figure: Any, path: Path) -> None:
    # Without a date or version, the same picture is the same file.
    figure.savefig(path, dpi=80, metadata={"Software": None})


def measure_speed(recipe: Recipe, library: Library, batches: int) -> tuple[float, float]:
    """Spectra a CPU second: simulated and preprocessed, and simulated alone (SEDM).

    Batches as training has them, after one that is not counted. The time of this process
    on the CPU is taken, so that other work on the machine hardly counts.
    """
    maker = make_batches(recipe, library, "train")
    size = recipe.training.batch_size
    rng = step_rng(recipe.training.seed, TRAIN, 0)
    maker.make(size, rng)
    started = time.process_time()
    for _ in range(batches):
        maker.make(size, rng)
    whole = batches * size / (time.process_time() - started)
    rows = maker.sampler.draw(size, rng)
    instrument = sedm()
    started = time.process_time()
    for _ in range(batches):
        z = rng.uniform(0.0, 0.2, size)
        maker.simulator.observe(rows, z, instrument, recipe.conditions, rng)
    return whole, batches * size / (time.process_time() - started)


@app.command()
def main(
    config: Annotated[Path, typer.Option(help="The recipe whose data are used.")] = ROOT
    / "training"
    / "configs"
    / "spectranet.toml",
    output: Annotated[Path, typer.Option(help="Where the pictures go.")] = ROOT
    / "docs"
    / "pictures",
    seed: Annotated[int, typer.Option(help="Seed of objects and noise.")] = 4,
    speed: Annotated[bool, typer.Option(help="Measure the speed instead.")] = False,
    batches: Annotated[int, typer.Option(help="Batches of the measurement.")] = 20,
) -> None:
    """Draw simulation.png and simulation-steps.png from training objects.

    Example: python -m training.simulate.pictures
    """
    console = Console(stderr=True)
    recipe = read_recipe(config)
    path = resolve(recipe.data.library)
    if not path.is_file():
        raise SystemExit(f"{path} is not there: run `python -m training.archive` first")
    library = Library.load(path)
    if speed:
        whole, alone = measure_speed(recipe, library, batches)
        console.print(f"{whole:,.0f} spectra a CPU second with preprocessing, {alone:,.0f} without")
        return
    rows = usable_rows(recipe, library, "train")
    simulator = Simulator(library, host_rows(library, rows))
    output.mkdir(parents=True, exist_ok=True)
    draw_page(library, rows, simulator, seed, output / "simulation.png")
    draw_steps(library, rows, simulator, seed, output / "simulation-steps.png")
    console.print(f"simulation.png and simulation-steps.png in {output}")


if __name__ == "__main__":
    app()
