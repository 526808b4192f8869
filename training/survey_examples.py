"""``python -m training.survey_examples``: simulated SDSS files for examples/survey/."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from astropy.io import fits
from rich.console import Console

from specinfer.zgrid import STEP
from training.archive.sdss import part_of, read_sdss
from training.archive.subclasses import FAMILIES, SUBCLASSES
from training.paths import ROOT, shared_data
from training.simulate.axis import FIRST, LOGLAM
from training.simulate.donors import Donors
from training.simulate.survey import SurveyBatch, SurveyConditions, SurveySimulator
from training.train_eigen import read_libraries

app = typer.Typer(add_completion=False)
# Family, redshift and SNR; the objects are drawn from the test part.
EXAMPLES = (("GALAXY", 0.2137, 8.0), ("QSO", 2.184, 6.0), ("STAR", -0.00011, 15.0))
_PLATE, _MJD = 1, 61365


def write_spec(path: Path, batch: SurveyBatch, number: int) -> None:
    """A spectrum as SDSS writes ``spec-PLATE-MJD-FIBER.fits``, without a catalogue row."""
    good = np.flatnonzero(batch.ivar[0] > 0)
    cut = slice(good[0], good[-1] + 1)
    columns = [
        fits.Column("flux", "E", array=batch.flux[0, cut]),
        fits.Column("loglam", "E", array=(LOGLAM[cut]).astype(np.float32)),
        fits.Column("ivar", "E", array=batch.ivar[0, cut]),
        fits.Column("and_mask", "J", array=np.zeros(good[-1] + 1 - good[0], dtype=np.int32)),
    ]
    primary = fits.PrimaryHDU()
    for name, value in (
        ("PLATEID", _PLATE),
        ("MJD", _MJD),
        ("FIBERID", number),
        ("TELESCOP", "SDSS 2.5-M"),
        ("COEFF0", (FIRST + int(good[0])) * STEP),
        ("COEFF1", STEP),
        ("ORIGIN", "specinfer simulator"),
    ):
        primary.header[name] = value
    table = fits.BinTableHDU.from_columns(columns, name="COADD")
    fits.HDUList([primary, table]).writeto(path, overwrite=True)


@app.command()
def main(
    output: Annotated[Path, typer.Option(help="Where the files go.")] = ROOT
    / "examples"
    / "survey",
    seed: Annotated[int, typer.Option(help="Seed of objects and noise.")] = 7,
) -> None:
    """Simulate a galaxy, a quasar and a star of test objects, with their truth.

    Example: python -m training.survey_examples
    """
    donors = Donors(part_of(read_sdss(shared_data()), "train"))
    libraries = read_libraries()
    truth = ["file,class,subclass,redshift,snr,source_object"]
    (output / "truth").mkdir(parents=True, exist_ok=True)
    for number, (family, redshift, snr) in enumerate(EXAMPLES, start=1):
        conditions = SurveyConditions(
            natural_share=0.0, snr=(snr, snr), no_signal_share=0.0, cut_share=0.0, spikes=0.0
        )
        simulator = SurveySimulator(libraries, donors, "test", conditions)
        rng = np.random.default_rng((seed, number))
        batch = simulator.draw(1, rng, family, np.array([redshift]))
        name = f"spec-{_PLATE:04d}-{_MJD}-{number:04d}.fits"
        write_spec(output / name, batch, number)
        label = int(batch.subclass[0])
        subclass = SUBCLASSES[label].partition(" ")[2] if label >= 0 else ""
        truth.append(f"{name},{family},{subclass},{redshift},{snr:g},{batch.object[0]}")
    (output / "truth" / "truth.csv").write_text("\n".join(truth) + "\n")
    Console(stderr=True).print(f"{len(EXAMPLES)} spectra of {len(FAMILIES)} families in {output}")


if __name__ == "__main__":
    app()
