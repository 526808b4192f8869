"""``python -m benchmarks.batch_formats``: what a spectrum costs in the formats of surveys.

Bytes on disk and bytes that are read, milliseconds of one core to read it and to classify it.
The light is the same in all formats; the files are written here, and none of a survey's own is
needed (``--file`` measures those, too).
"""

from __future__ import annotations

import glob
import gzip
import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from benchmarks.batch_figures import about, in_words, machine, summarised
from benchmarks.batch_runs import PINNED, forget, read_bytes, work_folder
from benchmarks.batch_spectra import Recipe, file_bytes
from specinfer.replacing import write_new

MODELS = ("spectranet", "auto")
# As published: SDSS's pixels; 4MOST's range (3700-9500 Angstrom). The step of 4MOST is ours.
SDSS = 10.0 ** (3.5523 + 1e-4 * np.arange(4600))
_ROWS = 500
# The same spectra as of another format: they are not classified again.
SAME = {
    "DESI coadd, with resolution matrices": "DESI coadd",
    "DESI coadd, with resolution matrices, gzip": "DESI coadd",
    "4MOST L1, gzip": "4MOST L1",
}
FOURMOST = np.arange(3700.0, 9500.0, 0.25)

app = typer.Typer(add_completion=False)


def write_formats(folder: Path, spectra: int, seed: int) -> dict[str, list[Path]]:
    """Files of every format, by the format's name.

    `spectra` of those that hold one each. DESI's have as many rows as the survey's own: what is
    read of a file in vain depends on how far apart lies what is wanted.
    """
    recipe = Recipe(spectra=_ROWS, seed=seed, fibres=_ROWS, sky_share=0.0, dead_share=0.0)
    full = Recipe(**{**vars(recipe), "resolution": True})
    made = {"DESI coadd": [folder / "coadd-bare.fits"]}
    write_new(made["DESI coadd"][0], file_bytes(recipe, 0))
    made["DESI coadd, with resolution matrices"] = [folder / "coadd-full.fits"]
    data = file_bytes(full, 0)
    write_new(folder / "coadd-full.fits", data)
    made["DESI coadd, with resolution matrices, gzip"] = [folder / "coadd-full.fits.gz"]
    write_new(folder / "coadd-full.fits.gz", gzip.compress(data, 6))
    made["SDSS spec"] = _sdss(folder, spectra, seed)
    made["4MOST L1"] = _fourmost(folder, spectra, seed)
    made["4MOST L1, gzip"] = []
    for path in made["4MOST L1"]:
        packed = path.with_name(path.name + ".gz")
        write_new(packed, gzip.compress(path.read_bytes(), 6))
        made["4MOST L1, gzip"].append(packed)
    return made


def _sdss(folder: Path, spectra: int, seed: int) -> list[Path]:
    """spec-PLATE-MJD-FIBER files: COADD with the eight columns of BOSS, and a row of facts."""
    from astropy.io import fits

    from benchmarks.batch_light import draw_single

    flux, ivar, _ = draw_single(spectra, np.random.default_rng([seed, 1]), SDSS)
    zero = np.zeros(SDSS.size, np.float32)
    paths = []
    for number in range(spectra):
        columns = {
            "flux": flux[number], "loglam": np.log10(SDSS).astype(np.float32),
            "ivar": ivar[number], "and_mask": zero.astype(np.int32),
            "or_mask": zero.astype(np.int32), "wdisp": zero + 1.0, "sky": zero, "model": zero,
        }  # fmt: skip
        coadd = [
            fits.Column(name, "J" if values.dtype == np.int32 else "E", array=values)
            for name, values in columns.items()
        ]
        facts = [
            fits.Column("PLATE", "J", array=[1]), fits.Column("MJD", "J", array=[61365]),
            fits.Column("FIBERID", "J", array=[number + 1]),
        ]  # fmt: skip
        hdus = fits.HDUList(
            [
                fits.PrimaryHDU(header=fits.Header({"TELESCOP": "SDSS 2.5-M", "MJD": 61365})),
                fits.BinTableHDU.from_columns(coadd, name="COADD"),
                fits.BinTableHDU.from_columns(facts, name="SPALL"),
            ]
        )
        paths.append(folder / f"spec-0001-61365-{number + 1:04d}.fits")
        hdus.writeto(paths[-1], overwrite=True)
    return paths


def _fourmost(folder: Path, spectra: int, seed: int) -> list[Path]:
    """Level-1 files of the ESO standard: one row, with and without the sky."""
    from astropy.io import fits

    from benchmarks.batch_light import draw_single

    flux, ivar, _ = draw_single(spectra, np.random.default_rng([seed, 2]), FOURMOST)
    n = FOURMOST.size
    paths = []
    for number in range(spectra):
        good = ivar[number] > 0
        sigma = np.where(good, 1.0 / np.sqrt(np.where(good, ivar[number], 1.0)), 0.0)
        vectors = {
            "WAVE": ("D", FOURMOST), "FLUX": ("E", flux[number]), "ERR_FLUX": ("E", sigma),
            "QUAL": ("J", (~good).astype(np.int32)), "FLUX_NOSS": ("E", flux[number] + 50.0),
            "ERR_FLUX_NOSS": ("E", sigma),
        }  # fmt: skip
        table = fits.BinTableHDU.from_columns(
            [
                fits.Column(
                    name, f"{n}{code}", array=values[np.newaxis],
                    unit="angstrom" if name == "WAVE" else None,
                )
                for name, (code, values) in vectors.items()
            ],
            name="PHASE3SPECTRUM",
        )  # fmt: skip
        table.header["TUCD1"] = "em.wl"
        cards = {"INSTRUME": "4MOST", "OBJECT": f"target {number}", "MJD-OBS": 61365.5,
                 "PRODCATG": "SCIENCE.SPECTRUM"}  # fmt: skip
        paths.append(folder / f"qmost-{number:05d}.fits")
        fits.HDUList([fits.PrimaryHDU(header=fits.Header(cards)), table]).writeto(
            paths[-1], overwrite=True
        )
    return paths


def measure(
    paths: Sequence[Path], models: Sequence[str], rounds: int, spectra: int
) -> dict[str, Any]:
    """Bytes and CPU milliseconds a spectrum of some files of one format, in this process.

    Parameters
    ----------
    paths : sequence of Path
    models : sequence of str
    rounds : int
        How often all files are read, from disk each time, and classified.
    spectra : int
        How many are classified, the first ones.

    Returns
    -------
    dict
    """
    from specinfer.classifier import shared_classifier
    from specinfer.readers import SLICED, ReadOptions, iter_spectra, read

    found = [one for path in paths for one in read(path)]
    # As `specinfer batch` reads them: of a file of many rows only what those need.
    rows = (0, found[0].rows or 1) if found[0].reader in SLICED else None
    options = ReadOptions(rows=rows)
    reading: list[float] = []
    fetched: list[float] = []
    for _ in range(rounds):
        forget(paths)
        before, began = read_bytes(os.getpid()), time.process_time()
        count = sum(1 for path in paths for _ in iter_spectra(path, options))
        reading.append(1e3 * (time.process_time() - began) / count)
        fetched.append((read_bytes(os.getpid()) - before) / count)
    taken: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(rounds + 1):
        for name in models:
            classifier = shared_classifier(name, "cpu", 1)
            began = time.process_time()
            for _ in classifier.classify_many(found[:spectra]):
                pass
            # The first one makes tables and is not counted.
            if turn:
                taken[name].append(1e3 * (time.process_time() - began) / len(found[:spectra]))
    return {
        "spectra": len(found),
        "files": len(paths),
        "pixels": int(np.median([one.wavelength.size for one in found])),
        "bytes": sum(path.stat().st_size for path in paths) / len(found),
        # Nothing was read where the system keeps files in memory whatever it is asked.
        "bytes_read": summarised(fetched) if max(fetched) > 0 else None,
        "read_ms": summarised(reading),
        "classify_ms": {name: summarised(values) for name, values in taken.items()},
    }


def _take_one_core() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


@app.command()
def main(
    spectra: Annotated[int, typer.Option(min=1, help="To classify of each format.")] = 96,
    rounds: Annotated[int, typer.Option(min=1, help="Times that all are read.")] = 5,
    seed: Annotated[int, typer.Option(min=0)] = 3,
    file: Annotated[
        list[str] | None, typer.Option(help="NAME=PATTERN of other files to measure.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Keeps the files here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Measure bytes and time of a spectrum, by format; one core, one thread.

    Example: python -m benchmarks.batch_formats --file 'SDSS, real=spectra/spec-*.fits'
    """
    from specinfer.errors import SpecinferError

    report: dict[str, Any] = {"machine": machine(), "formats": {}}
    # numpy's libraries count the cores when they are loaded: what is measured is another process.
    os.environ.update(PINNED)
    context = multiprocessing.get_context("spawn")
    with (
        work_folder(folder) as work,
        ProcessPoolExecutor(1, context, initializer=_take_one_core) as pool,
    ):
        try:
            formats = write_formats(work, spectra, seed)
            for given in file or ():
                name, _, pattern = given.partition("=")
                formats[name] = sorted(Path(path) for path in glob.glob(pattern))
                if not formats[name]:
                    typer.echo(f"batch_formats: no file matches {pattern!r}", err=True)
                    raise typer.Exit(2)
            for name in track(formats, "formats", console=Console(stderr=True)):
                same = report["formats"].get(SAME.get(name, ""))
                asked = () if same else MODELS
                future = pool.submit(measure, formats[name], asked, rounds, spectra)
                report["formats"][name] = one = future.result()
                if same:
                    one["classify_ms"] = same["classify_ms"]
        except (OSError, SpecinferError) as error:
            typer.echo(f"batch_formats: {error}", err=True)
            raise typer.Exit(2) from None
    print(json.dumps(report) if as_json else _words(report))


def _words(report: dict[str, Any]) -> str:
    lines = [about(report["machine"])]
    for name, one in report["formats"].items():
        fetched = one["bytes_read"]
        read = "not known" if fetched is None else f"{in_words(fetched, 0)}"
        lines.append(
            f"{name}: {one['pixels']} pixels, {one['bytes']:.0f} bytes a spectrum on disk, read "
            f"{read}; reading {in_words(one['read_ms'], 2)} ms; "
            + "; ".join(f"{m} {in_words(v, 2)} ms" for m, v in one["classify_ms"].items())
        )
    return "\n".join(lines)


if __name__ == "__main__":
    app()
