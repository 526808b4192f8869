"""``python -m training.calibrate_specpt RUN``: what the outputs of a SpecPT are worth.

As `training.calibrate_survey`, and how far usual spectra are from their reconstruction.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from specinfer.networks.specpt import misfit
from specinfer.noise_channel import with_noise
from specinfer.preprocess import Preprocessing, prepare
from specinfer.reconstruction import restored
from training.archive.sdss import SdssSpectrum, part_of, read_sdss
from training.archive.subclasses import FAMILIES
from training.calibrate_survey import calibration_block
from training.paths import shared_data
from training.simulate.donors import Donors
from training.simulate.survey import SurveySimulator
from training.specpt_data import prepared_of, specpt_input
from training.specpt_run import load_specpt
from training.stream import CALIBRATION, step_rng
from training.survey_run import outputs_of
from training.train_eigen import read_libraries
from training.train_survey import SurveyInput

app = typer.Typer(add_completion=False)
_BATCH = 256
_QUANTILES = (0.5, 0.99)


def misfit_block(misfits: NDArray[np.float64]) -> dict[str, Any]:
    """The usual misfit, and that of one in a hundred."""
    usual, high = np.quantile(misfits, _QUANTILES)
    return {
        "output": "reconstruction",
        "usual_misfit": round(float(usual), 4),
        "high_misfit": round(float(max(high, 1.01 * usual)), 4),
    }


def real_inputs(spectra: list[SdssSpectrum], grid: Preprocessing) -> NDArray[np.float32]:
    """Real spectra as SpecPT sees them, (n, 4, n_pixels)."""
    return np.stack(
        [with_noise(prepare(one.wavelength, one.flux, one.ivar, grid)) for one in spectra]
    )


@app.command()
def main(
    run: Annotated[Path, typer.Argument(help="Run folder, e.g. runs/specpt.")],
    count: Annotated[int, typer.Option(help="Simulated spectra.")] = 6144,
    seed: Annotated[int, typer.Option(help="Seed of the simulated spectra.")] = 5,
) -> None:
    """Calibrate a SpecPT on validation objects.

    Example: python -m training.calibrate_specpt runs/specpt
    """
    recipe, network = load_specpt(run)
    grid = recipe.preprocessing
    spectra = read_sdss(shared_data())
    donors = Donors(part_of(spectra, "train"))
    simulator = SurveySimulator(read_libraries(), donors, "validation", recipe.conditions)
    truths, answers, misfits = [], [], []
    for number in range(max(count // _BATCH, 1)):
        rng = step_rng(seed, CALIBRATION, 400 + number)
        drawn = simulator.draw(_BATCH, rng)
        truth = specpt_input(drawn, grid, rng)
        made = outputs_of(network, truth.input)
        seen = prepared_of(drawn, grid)
        model = restored(made.pop("reconstruction"), seen, grid.clip)
        misfits.append(misfit(seen.flux, seen.ivar, model)[seen.valid.any(axis=1)])
        names = ("input", "subclass", "family", "redshift", "snr")
        truths.append(SurveyInput(*(getattr(truth, name) for name in names)))
        answers.append(made)
    truth_of_all = SurveyInput.joined(truths)
    outputs = {name: np.concatenate([one[name] for one in answers]) for name in answers[0]}
    real = part_of(spectra, "validation")
    seen_real = outputs_of(network, real_inputs(real, grid))
    family = np.array([list(FAMILIES).index(one.family) for one in real])
    block, p, p_real = calibration_block(
        outputs, truth_of_all, seen_real, family, recipe.redshift_bins
    )
    block["reconstruction"] = misfit_block(np.concatenate(misfits))
    (run / "calibration.json").write_text(json.dumps(block, indent=1) + "\n")
    console = Console(stderr=True)
    console.print(json.dumps(block), highlight=False)
    right = (p.argmax(axis=1) == truth_of_all.family).mean()
    console.print(
        f"families right: {right:.4f} of {len(p)} simulated, "
        f"{(p_real.argmax(axis=1) == family).mean():.4f} of {len(real)} real"
    )


if __name__ == "__main__":
    app()
