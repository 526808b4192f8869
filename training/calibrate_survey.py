"""``python -m training.calibrate_survey RUN``: what the outputs of a GaSNet-II are worth.

The softness of the classes and of p(z | family), the coverage of its intervals, and the
prediction sets, from simulated spectra of validation objects and real validation spectra.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from specinfer import pdf
from specinfer.models import Bins
from training.architectures.survey import DISTANT
from training.archive.sdss import part_of, read_sdss
from training.archive.subclasses import FAMILIES, NO_SIGNAL, SUBCLASSES
from training.fits import (
    binned_nll,
    class_nll,
    fit_temperature,
    levels,
    set_threshold,
    weighted_quantile,
)
from training.paths import shared_data
from training.simulate.donors import Donors
from training.simulate.survey import VELOCITY_SPREAD, SurveySimulator
from training.stream import CALIBRATION, step_rng
from training.survey_run import Outputs, load_survey, outputs_of, real_inputs
from training.train_eigen import read_libraries
from training.train_survey import SurveyInput, SurveyMaker

app = typer.Typer(add_completion=False)
FloatArray = NDArray[np.float64]
COVERAGE = 0.9
_BATCH = 256
# 1 % of the spectra of validation objects have less evidence for any class.
_NOVEL = 0.01


def families_of(p_class: FloatArray) -> FloatArray:
    """Probabilities of the families and of no signal, (n, 4), from those of the subclasses."""
    names = np.array([name.split(" ")[0] for name in SUBCLASSES])
    return np.stack([p_class[:, names == f].sum(axis=1) for f in (*FAMILIES, NO_SIGNAL)], axis=1)


def redshift_block(name: str, made: Outputs, truth: SurveyInput, bins: Bins) -> dict[str, Any]:
    """How p(z | family) is to be read."""
    output = f"{name.lower()}_redshift_logits"
    # One p(z) for all, where the network has no p(z | family).
    output = output if output in made else "redshift_logits"
    mine = truth.family == list(FAMILIES).index(name)
    logits, value = made[output][mine], np.log1p(truth.redshift[mine])
    temperature = fit_temperature(lambda t: binned_nll(pdf.softmax(logits, t), value, bins))
    mass = pdf.central_mass(pdf.softmax(logits, temperature), bins.centres, value)
    return {
        "output": output,
        "temperature": temperature,
        "levels": levels(mass, np.ones(len(mass))),
    }


def calibration_block(
    made: Outputs,
    truth: SurveyInput,
    seen: Outputs,
    family: NDArray[np.intp],
    bins: Bins,
) -> tuple[dict[str, Any], FloatArray, FloatArray]:
    """What a card says of how outputs are read.

    Parameters
    ----------
    made : Outputs
        Of simulated spectra of validation objects.
    truth : SurveyInput
        What is true of them.
    seen : Outputs
        Of real validation spectra.
    family : ndarray of int
        Their families.
    bins : Bins
        Of ln(1+z).

    Returns
    -------
    block : dict
    p, p_real : ndarray, shape (n, 4)
        Calibrated probabilities of the families and of no signal.
    """
    known = truth.subclass >= 0
    temperature = fit_temperature(
        lambda t: class_nll(made["class_logits"][known], truth.subclass[known], t)
    )
    p = families_of(pdf.softmax(made["class_logits"], temperature))
    p_real = families_of(pdf.softmax(seen["class_logits"], temperature))
    both = np.concatenate([p, p_real])
    labels = np.concatenate([truth.family, family])
    evidence = -np.concatenate([log_evidence(x["class_logits"]) for x in (made, seen)])
    block = {
        "redshift": {name: redshift_block(name, made, truth, bins) for name in DISTANT}
        | {"STAR": {"spread": round(VELOCITY_SPREAD, 6)}},
        "calibration": {
            "class_temperature": temperature,
            "prediction_set": {
                "coverage": COVERAGE,
                "threshold": round(set_threshold(both, labels, np.ones(len(labels)), COVERAGE), 6),
            },
            "novelty_limit": round(
                weighted_quantile(evidence, np.ones(len(evidence)), 1.0 - _NOVEL), 4
            ),
        },
    }
    return block, p, p_real


@app.command()
def main(
    run: Annotated[Path, typer.Argument(help="Run folder, e.g. runs/gasnet2.")],
    count: Annotated[int, typer.Option(help="Simulated spectra.")] = 6144,
    seed: Annotated[int, typer.Option(help="Seed of the simulated spectra.")] = 5,
) -> None:
    """Calibrate a GaSNet-II on validation objects.

    Example: python -m training.calibrate_survey runs/gasnet2
    """
    recipe, network = load_survey(run)
    spectra = read_sdss(shared_data())
    donors = Donors(part_of(spectra, "train"))
    simulator = SurveySimulator(read_libraries(), donors, "validation", recipe.conditions)
    maker = SurveyMaker(simulator, recipe.preprocessing)
    batches = [
        maker.make(_BATCH, step_rng(seed, CALIBRATION, 300 + i)) for i in range(count // _BATCH)
    ]
    truth = SurveyInput(
        *(
            np.concatenate([getattr(one, name) for one in batches])
            for name in ("input", "subclass", "family", "redshift", "snr")
        )
    )
    made = outputs_of(network, truth.input)
    real = part_of(spectra, "validation")
    seen = outputs_of(network, real_inputs(real, recipe.preprocessing))
    family = np.array([list(FAMILIES).index(one.family) for one in real])
    block, p, p_real = calibration_block(made, truth, seen, family, recipe.redshift_bins)
    (run / "calibration.json").write_text(json.dumps(block, indent=1) + "\n")
    console = Console(stderr=True)
    console.print(json.dumps(block), highlight=False)
    console.print(
        f"families right: {(p.argmax(axis=1) == truth.family).mean():.4f} of {len(p)} simulated, "
        f"{(p_real.argmax(axis=1) == family).mean():.4f} of {len(real)} real"
    )


def log_evidence(logits: NDArray[np.float32]) -> FloatArray:
    """ln of the summed evidence for all classes, (n,): less than usual for what is none of them."""
    return np.asarray(np.logaddexp.reduce(logits.astype(np.float64), axis=1))


if __name__ == "__main__":
    app()
