"""``python -m benchmarks.batch_spectra FOLDER``: simulated spectra of a survey in DESI's files.

Coadd files of 500 fibres, three overlapping arms, fibre map, masked and dead pixels, fibres on
the sky; what was drawn stands in the extension TRUTH. The same seed gives the same bytes, and
files that are there already are not made again.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from specinfer.replacing import write_new

STAMP = "specinfer-batch-spectra.json"
# Goes up when the same recipe gives other files.
VERSION = 1
# Diagonals of a resolution matrix, and the line profile that they hold.
_BANDS = 11
_PROFILE = np.exp(-0.5 * (np.arange(_BANDS) - _BANDS // 2) ** 2 / 1.1**2) / 2.757
_UNIT = "10**-17 erg/(s cm2 Angstrom)"

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Recipe:
    """What is made.

    Parameters
    ----------
    spectra : int
        Targets, dead fibres included; fibres on the sky are not counted.
    seed : int
    fibres : int
        Rows a file.
    sky_share : float
        Share of them on the sky.
    dead_share : float
        Share of targets without one usable pixel.
    resolution : bool
        Whether the arms have resolution matrices as well, which nothing reads: they are four
        fifths of what the survey's own files hold.
    """

    spectra: int = 20_000
    seed: int = 1
    fibres: int = 500
    sky_share: float = 0.04
    dead_share: float = 0.002
    resolution: bool = False

    @property
    def targets_a_file(self) -> int:
        """Rows of a full file that are on a target."""
        return self.fibres - round(self.sky_share * self.fibres)

    @property
    def files(self) -> int:
        """How many files it takes."""
        return -(-self.spectra // self.targets_a_file)

    def targets(self, number: int) -> int:
        """Targets of file `number`: the last one may have fewer."""
        return min(self.targets_a_file, self.spectra - number * self.targets_a_file)


def make(recipe: Recipe, folder: Path) -> list[Path]:
    """Make the files of a recipe, or find them.

    Parameters
    ----------
    recipe : Recipe
    folder : Path
        Holds nothing but these files.

    Returns
    -------
    list of Path
        In order.

    Raises
    ------
    FileExistsError
        If the folder holds other FITS files, which are left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    identity = _identity(recipe)
    paths = [folder / f"coadd-main-sim-{number:05d}.fits" for number in range(recipe.files)]
    if _made_already(folder, identity):
        return paths
    # A run that was stopped has files and a stamp without their sizes: it goes on.
    begun = _stamp(folder).get("identity") == identity
    if not begun and any(folder.glob("*.fits")):
        raise FileExistsError(
            f"{folder} holds other files; give an empty folder, or remove them first"
        )
    write_new(folder / STAMP, _json({"identity": identity}))
    for number in track(range(recipe.files), "spectra", console=Console(stderr=True)):
        if not paths[number].exists():
            write_new(paths[number], file_bytes(recipe, number))
    sizes = {path.name: path.stat().st_size for path in paths}
    write_new(folder / STAMP, _json({"identity": identity, "sizes": sizes}))
    return paths


def file_bytes(recipe: Recipe, number: int) -> bytes:
    """One file of a recipe; it depends on the seed and its number, not on the other files."""
    from astropy.io import fits

    from benchmarks.batch_light import ARMS, PIXEL, draw

    rng = np.random.default_rng([recipe.seed, number])
    targets = recipe.targets(number)
    count = targets + round(targets * recipe.sky_share / (1.0 - recipe.sky_share))
    sky = np.zeros(count, bool)
    sky[rng.choice(count, count - targets, replace=False)] = True
    arms, truth = draw(count, rng, sky=sky, dead_share=recipe.dead_share)
    ids = 39_627_000_000_000_000 + number * 10_000 + np.arange(count)
    header = fits.Header({"SURVEY": "main", "PROGRAM": "sim", "SPGRP": "healpix"})
    fibermap = [
        fits.Column("TARGETID", "K", array=ids),
        fits.Column("COADD_FIBERSTATUS", "J", array=np.where(truth.dead, 1 << 9, 0)),
        fits.Column("TARGET_RA", "D", array=rng.uniform(0.0, 360.0, count)),
        fits.Column("TARGET_DEC", "D", array=rng.uniform(-20.0, 80.0, count)),
        fits.Column("OBJTYPE", "3A", array=np.where(sky, "SKY", "TGT")),
        fits.Column("COADD_NUMEXP", "I", array=rng.integers(1, 5, count)),
        fits.Column("COADD_EXPTIME", "E", array=rng.uniform(300.0, 4000.0, count)),
        fits.Column("FIBER", "J", array=np.arange(count) + 500 * (number % 10)),
    ]
    drawn = [
        fits.Column("TARGETID", "K", array=ids),
        fits.Column("CLASS", "6A", array=truth.family),
        fits.Column("Z", "D", array=truth.redshift),
        fits.Column("SNR", "D", array=truth.snr),
        fits.Column("DEAD", "L", array=truth.dead),
    ]
    hdus = [
        fits.PrimaryHDU(header=header),
        fits.BinTableHDU.from_columns(fibermap, name="FIBERMAP"),
    ]
    for name, light in arms.items():
        low, n = ARMS[name]
        wavelength = fits.ImageHDU(low + PIXEL * np.arange(n), name=f"{name}_WAVELENGTH")
        wavelength.header["BUNIT"] = "Angstrom"
        flux = fits.ImageHDU(light.flux, name=f"{name}_FLUX")
        flux.header["BUNIT"] = _UNIT
        ivar = fits.ImageHDU(light.ivar, name=f"{name}_IVAR")
        hdus += [wavelength, flux, ivar, fits.ImageHDU(light.mask, name=f"{name}_MASK")]
        if recipe.resolution:
            spread = rng.normal(0.0, 0.02, (count, _BANDS, n)) + _PROFILE[:, None]
            hdus.append(fits.ImageHDU(spread.astype(np.float32), name=f"{name}_RESOLUTION"))
    hdus.append(fits.BinTableHDU.from_columns(drawn, name="TRUTH"))
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer)
    return buffer.getvalue()


def truth_of(path: Path) -> dict[int, dict[str, Any]]:
    """What was drawn for each row of a file: CLASS, Z, SNR, DEAD by row."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        table = hdus["TRUTH"].data
        return {
            row: {
                "class": str(line["CLASS"]), "redshift": float(line["Z"]),
                "snr": float(line["SNR"]), "dead": bool(line["DEAD"]),
            }
            for row, line in enumerate(table)
        }  # fmt: skip


def judge(paths: list[Path], count: int, bright: float) -> dict[str, Any]:
    """Ask `auto` for `count` spectra of the files, and compare with what was drawn.

    Parameters
    ----------
    paths : list of Path
    count : int
    bright : float
        Signal-to-noise ratio from which a spectrum counts as bright.

    Returns
    -------
    dict
        Counts and shares, of all and of the bright ones; redshifts are right within 0.0033
        (1+z), quasars within 0.01 (1+z).
    """
    from specinfer import Classifier

    rows = list(islice(_rows_of(paths), count))
    answers = Classifier(threads=1).classify_many([one for one, _ in rows])
    drawn, right, redshifts, sure = [], [], [], []
    for answer, (_, truth) in zip(answers, rows, strict=True):
        dz = np.nan if answer.redshift is None else answer.redshift - truth["redshift"]
        limit = 0.01 if truth["class"] == "QSO" else 0.0033
        drawn.append(truth["snr"])
        right.append(answer.class_name == truth["class"])
        redshifts.append(abs(dz) < limit * (1.0 + truth["redshift"]))
        sure.append(not answer.zwarning)
    snr = np.array(drawn)
    return {
        name: {
            "n": int(use.sum()),
            "class_right": float(np.mean(np.array(right)[use])),
            "redshift_right": float(np.mean(np.array(redshifts)[use])),
            "without_warning": float(np.mean(np.array(sure)[use])),
        }
        for name, use in (("all", snr > 0), (f"snr_{bright:g}_and_more", snr >= bright))
        if use.any()
    } | {"snr_percentiles_5_50_95": np.percentile(snr, [5, 50, 95]).round(2).tolist()}


def _rows_of(paths: list[Path]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Spectra and what was drawn for them, of all files."""
    from specinfer.readers import iter_spectra
    from specinfer.spectrum import Spectrum

    for path in paths:
        truth = truth_of(path)
        for one in iter_spectra(path):
            if isinstance(one, Spectrum) and one.row is not None:
                yield one, truth[one.row]


def _identity(recipe: Recipe) -> dict[str, Any]:
    from benchmarks.batch_light import CARD

    model = hashlib.sha256(CARD.read_bytes()).hexdigest()
    return {"version": VERSION, "recipe": asdict(recipe), "gasnet3_card_sha256": model}


def _stamp(folder: Path) -> dict[str, Any]:
    try:
        stamp = json.loads((folder / STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _made_already(folder: Path, identity: dict[str, Any]) -> bool:
    stamp = _stamp(folder)
    sizes = stamp.get("sizes")
    if stamp.get("identity") != identity or not sizes:
        return False
    found = {path.name: path.stat().st_size for path in folder.glob("*.fits")}
    return bool(found == sizes)


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="Where the files go.")],
    spectra: Annotated[int, typer.Option(min=1, help="Targets.")] = 20_000,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    fibres: Annotated[int, typer.Option(min=2, help="Rows a file.")] = 500,
    resolution: Annotated[
        bool, typer.Option("--resolution", help="Resolution matrices, too: five times the bytes.")
    ] = False,
    check: Annotated[int, typer.Option(help="Classify so many, and compare with truth.")] = 0,
    bright: Annotated[float, typer.Option(help="S/N from which one is bright.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Make simulated survey spectra in files as DESI's, or find them as they are.

    Example: python -m benchmarks.batch_spectra survey/ --spectra 20000 --check 500
    """
    began = time.perf_counter()
    try:
        recipe = Recipe(spectra=spectra, seed=seed, fibres=fibres, resolution=resolution)
        paths = make(recipe, folder)
    except OSError as error:
        typer.echo(f"batch_spectra: {error}", err=True)
        raise typer.Exit(2) from None
    report: dict[str, Any] = {
        "folder": str(folder),
        "spectra": spectra,
        "files": len(paths),
        "bytes": sum(path.stat().st_size for path in paths),
        "seconds": round(time.perf_counter() - began, 2),
    }
    if check:
        report["check"] = judge(paths, check, bright)
    if as_json:
        print(json.dumps(report))
        return
    print(
        f"{spectra} spectra in {len(paths)} files, {report['bytes'] / 1e9:.2f} GB, "
        f"{report['seconds']} s"
    )
    for name, value in report.get("check", {}).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    app()
