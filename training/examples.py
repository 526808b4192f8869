"""``python -m training.examples``: simulated SEDM files for examples/, with their truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from astropy.io import fits
from numpy.typing import NDArray
from rich.console import Console

from training.archive.labels import CLASSES
from training.archive.library import Library
from training.config import read_recipe, resolve
from training.paths import ROOT
from training.run import usable_rows
from training.simulate.draw import host_rows
from training.simulate.instruments import sedm
from training.simulate.transients import Simulator

app = typer.Typer(add_completion=False)
FloatArray = NDArray[np.float64]

# Class, redshift and SNR of the examples; the objects are drawn from the test part.
EXAMPLES = (
    ("SN Ia", 0.052, 20.0),
    ("SN Ia", 0.095, 8.0),
    ("SN II", 0.021, 15.0),
    ("SN Ic", 0.034, 15.0),
    ("Star", 0.0, 25.0),
)
_FLUX = 1e-15


def header_of(number: int) -> list[tuple[str, str | float | bool]]:
    """The header cards of an example that matter; the layout is that of pysedm."""
    return [
        ("OBJECT", f"SIM{number:02d} [A]"),
        ("NAME", f"SIM{number:02d}"),
        ("INSTRUME", "SEDM-P60"),
        ("TELESCOP", "60"),
        ("OBSDATE", "2026-11-21"),
        ("UTC", "2026:325:05:00:00.0"),
        ("MJD_OBS", 61365.2083),
        ("EXPTIME", 2250.0),
        ("AIRMASS", 1.1),
        ("QUALITY", 0),
        ("FLUXCAL", True),
        ("CALSRC", "simulated"),
        ("BUNIT", "erg/s/A/cm^2"),
        ("EXTRTYPE", "auto"),
        ("ORIGIN", "specinfer simulator"),
    ]


def write_fits(
    path: Path,
    wavelength: FloatArray,
    flux: FloatArray,
    variance: FloatArray,
    cards: list[tuple[str, str | float | bool]],
) -> None:
    """A spectrum as pysedm writes it: flux in HDU 0, VARIANCE in an image extension."""
    primary = fits.PrimaryHDU(flux)
    for name, value in cards:
        primary.header[name] = value
    axis = (
        ("CTYPE1", "RA---TAN"),
        ("CRPIX1", 1.0),
        ("CRVAL1", float(wavelength[0])),
        ("CDELT1", float(wavelength[1] - wavelength[0])),
    )
    image = fits.ImageHDU(variance, name="VARIANCE")
    for name, value in axis:
        primary.header[name] = value
        if name != "CTYPE1":
            image.header[name] = value
    fits.HDUList([primary, image]).writeto(path, overwrite=True)


def write_text(
    path: Path,
    wavelength: FloatArray,
    flux: FloatArray,
    variance: FloatArray,
    cards: list[tuple[str, str | float | bool]],
) -> None:
    """The text twin: header lines, then wavelength, flux and variance."""
    lines = [f"# {name}: {value}" for name, value in cards]
    lines += [
        f"{w:.1f} {f:.3e} {v:.3e}" for w, f, v in zip(wavelength, flux, variance, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")


@app.command()
def main(
    config: Annotated[Path, typer.Option(help="The recipe whose simulator is used.")] = ROOT
    / "training"
    / "configs"
    / "spectranet.toml",
    output: Annotated[Path, typer.Option(help="Where the files go.")] = ROOT / "examples",
    seed: Annotated[int, typer.Option(help="Seed of objects and noise.")] = 7,
) -> None:
    """Simulate SEDM spectra of test objects: FITS, text twin and truth/truth.csv.

    Example: python -m training.examples --output examples
    """
    recipe = read_recipe(config)
    library = Library.load(resolve(recipe.data.library))
    rows = usable_rows(recipe, library, "test")
    simulator = Simulator(library, host_rows(library, rows))
    rng = np.random.default_rng(seed)
    truth = ["file,class,redshift,phase,snr,source_object,source"]
    output.mkdir(parents=True, exist_ok=True)
    for number, (name, redshift, snr) in enumerate(EXAMPLES, start=1):
        early = (np.abs(library.phase[rows]) < 15.0) | (name == "Star")
        mine = rows[(library.label[rows] == CLASSES.index(name)) & early]
        row = rng.choice(mine)
        conditions = replace(
            recipe.conditions, snr=(snr, snr), host_share=0.0, cut_share=0.0, bad_pixels=0.0
        )
        observed = simulator.observe(np.array([row]), np.array([redshift]), sedm(), conditions, rng)
        good = observed.ivar[0] > 0
        variance = np.where(good, 1.0 / np.where(good, observed.ivar[0], 1.0), np.nan) * _FLUX**2
        flux = np.where(good, observed.flux[0] * _FLUX, np.nan)
        stem = f"spec_auto_robot_lstep1__crr_b_ifu20261121_05_{number:02d}_00_SIM{number:02d}"
        cards = header_of(number)
        write_fits(output / f"{stem}.fits", observed.wavelength, flux, variance, cards)
        write_text(output / f"{stem}.txt", observed.wavelength, flux, variance, cards)
        phase = "" if np.isnan(library.phase[row]) else f"{library.phase[row]:.1f}"
        truth.append(
            f"{stem},{name},{redshift},{phase},{snr:g},{library.object[row]},{library.source[row]}"
        )
    # Not beside the spectra: whoever classifies the folder means those alone.
    (output / "truth").mkdir(exist_ok=True)
    (output / "truth" / "truth.csv").write_text("\n".join(truth) + "\n")
    Console(stderr=True).print(f"{len(EXAMPLES)} spectra in {output}")


if __name__ == "__main__":
    app()
