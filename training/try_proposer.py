"""``python -m training.try_proposer FOLDER``: would the combination be better with this network?

Network and scan answer simulated spectra, noise and real spectra of validation objects, once with
the network that ships and once with another; the weights of the combination are fitted for each
by cross-validation, and what they say of the spectra that were left out is compared.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from specinfer.models import load_card
from specinfer.networks import gasnet2, gasnet3, specpt
from specinfer.networks.survey import SurveyCombination
from specinfer.specpt_card import SpecPTCard
from training.archive.sdss import part_of, read_sdss
from training.calibrate_auto import WINDOWS, fit_weights, outcome, provisional
from training.card import follow, read_card, write_card
from training.evaluate_survey import NARROW, real_spectra
from training.evaluation.intervals import Resampler
from training.evaluation.survey_readme import write_survey_readme
from training.paths import ROOT, shared_data
from training.simulate.donors import Donors
from training.simulate.survey import SurveyConditions, SurveySimulator
from training.survey_cases import REAL_WEIGHT, Case, cases_of, simulated_cases
from training.train_eigen import read_libraries

app = typer.Typer(add_completion=False)
FloatArray = NDArray[np.float64]
MODELS = ROOT / "exported_models"
FOLDS = 5
# A likelihood of nothing is a likelihood of very little.
_LEAST = 1e-6


class Answers(NamedTuple):
    """What the combination comes to for each spectrum, with weights that were fitted without it.

    Attributes
    ----------
    nll : ndarray, shape (n,)
        -ln of the probability that it gave to what came out: right, or not.
    right, quick : ndarray of bool, shape (n,)
        Whether class and redshift are right (for noise: whether it is not believed), and whether
        the windows were enough.
    weight : ndarray, shape (n,)
        Real spectra count more.
    """

    nll: FloatArray
    right: NDArray[np.bool_]
    quick: NDArray[np.bool_]
    weight: FloatArray


def by_spectrum(cases: Sequence[Case]) -> list[list[Case]]:
    """The searches of each spectrum: in windows, if there were any, and everywhere."""
    made: list[list[Case]] = []
    for one in cases:
        if not made or made[-1][-1].everywhere:
            made.append([])
        made[-1].append(one)
    return made


def cross_validated(cases: Sequence[Case]) -> Answers:
    """Answers of the combination to spectra that its weights were not fitted on."""
    spectra = by_spectrum(cases)
    fold = np.arange(len(spectra)) % FOLDS
    rows: list[tuple[float, bool, bool, float]] = [(0.0, False, False, 0.0)] * len(spectra)
    for number in range(FOLDS):
        fitted = [x for i, one in enumerate(spectra) if fold[i] != number for x in one]
        weights = fit_weights(fitted)
        for i in np.flatnonzero(fold == number):
            made = [outcome(weights, one) for one in spectra[i]]
            quick = len(made) > 1 and made[0].reliability >= WINDOWS.enough
            final = made[0] if quick else made[-1]
            p = final.reliability if final.right else 1.0 - final.reliability
            good = final.right if final.source else final.reliability < 0.5
            rows[i] = (-float(np.log(max(p, _LEAST))), good, quick, spectra[i][0].weight)
    nll, right, quick_ones, weight = (np.array(x) for x in zip(*rows, strict=True))
    return Answers(nll, right, quick_ones, weight)


def answers_of(network: Path, scan: Path, count: int, noise_count: int, seed: int) -> Answers:
    """Answers with a network, on validation objects."""
    draft = provisional(network, scan, "trial", "0.0.0")
    card = load_card(f"{network}/")
    load = specpt.load if isinstance(card, SpecPTCard) else gasnet2.load
    scanner = gasnet3.load(draft.scan, device="cpu")
    combination = SurveyCombination(load(card, device="cpu"), scanner, draft)
    data = shared_data()
    donors = Donors(part_of(read_sdss(data), "train"))
    conditions = SurveyConditions(no_signal_share=0.0, borrowed_snr=True)
    simulator = SurveySimulator(read_libraries(), donors, "validation", conditions)
    cases = simulated_cases(combination, simulator, count, noise_count, seed)
    for window in (None, NARROW):
        some = real_spectra("validation", data, window)
        cases += cases_of(combination, *some, REAL_WEIGHT, "real spectra")
    return cross_validated(cases)


def compared(now: Answers, other: Answers) -> dict[str, Any]:
    """Both, and their difference with a 95 % interval over spectra."""
    if len(now.nll) != len(other.nll):
        raise SystemExit("the two networks did not answer the same spectra")
    draws = Resampler(np.arange(len(now.nll)).astype(str))
    real = now.weight > 1.0
    every = np.ones(len(real), dtype=np.bool_)

    def block(one: Answers) -> dict[str, Any]:
        return {
            "nll": draws.mean(one.nll, every),
            "nll_real": draws.mean(one.nll, real),
            "right": draws.rate(one.right, every),
            "right_real": draws.rate(one.right, real),
            "in_windows": draws.rate(one.quick, every),
        }

    return {
        "n_spectra": len(real),
        "n_real": int(real.sum()),
        "now": block(now),
        "with_it": block(other),
        "nll_difference": draws.mean(other.nll - now.nll, every),
        "nll_difference_real": draws.mean(other.nll - now.nll, real),
    }


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="The other network, e.g. exported_models/specpt.")],
    network: Annotated[Path, typer.Option(help="The network that ships.")] = MODELS / "gasnet2",
    scan: Annotated[Path, typer.Option(help="Folder of the GaSNet-III.")] = MODELS / "gasnet3",
    count: Annotated[int, typer.Option(help="Simulated spectra.")] = 1200,
    noise_count: Annotated[int, typer.Option(help="Spectra without a source.")] = 300,
    seed: Annotated[int, typer.Option(help="Seed of the simulated spectra.")] = 17,
    write: Annotated[bool, typer.Option("--write", help="Write it into the card.")] = False,
) -> None:
    """Compare the combination with two networks on validation objects.

    Example: python -m training.try_proposer exported_models/specpt
    """
    answers = [answers_of(one, scan, count, noise_count, seed) for one in (network, folder)]
    made = compared(*answers) | {"beside": load_card(f"{network}/").label, "count": count}
    made |= {"noise_count": noise_count, "seed": seed}
    Console().print_json(json.dumps(made))
    if write:
        card = read_card(folder)
        before = card["sha256"]
        card["in_combination"] = made
        write_card(folder, card)
        follow(folder, before)
        write_survey_readme(folder)


if __name__ == "__main__":
    app()
