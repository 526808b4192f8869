"""``python -m training.calibrate_eigen RUN``: what a redshift of the scan is worth.

Priors of the coefficients, redshift errors, the softness of the class probabilities, and the
limits of the warnings, from simulated spectra of validation objects and noise of the donors.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from specinfer import zwarn
from specinfer.zfind import Found, Search, find
from specinfer.zgrid import Gridded, to_grid
from specinfer.zscan import Family, Scanner
from training.architectures.eigen import EigenNet, shifted
from training.archive.rest import RESOLUTION, RestLibrary
from training.archive.sdss import SdssSpectrum, part_of, read_sdss
from training.archive.subclasses import FAMILIES
from training.fits import fit_temperature, weighted_quantile
from training.paths import shared_data
from training.redshift_errors import FEWEST, error_floors, expected_floor
from training.simulate.axis import COUNT, WAVELENGTH
from training.simulate.donors import Donors
from training.simulate.survey import REDSHIFTS, SurveyBatch, SurveyConditions, SurveySimulator
from training.stream import CALIBRATION, step_rng
from training.train_eigen import (
    ADDITIVE,
    CHECKPOINT,
    EigenRecipe,
    Problem,
    best_coefficients,
    read_eigen_recipe,
    read_libraries,
)

app = typer.Typer(add_completion=False)
FloatArray = NDArray[np.float64]
MULTIPLICATIVE = 1
# A redshift further off is wrong, and does not tell how large an error is.
WRONG = {"GALAXY": 0.003, "QSO": 0.01, "STAR": 0.001}
# Spectra without a source that may pass without a warning, and outliers among answers without one.
NOISE_RATE, OUTLIER_RATE = 0.004, 0.008
OUTLIER = 0.01
COVERAGE = 0.9
CALIBRATION_FILE = "calibration.json"
# The scan's pixels, in fine ones: the fit after it works on fine pixels. Smaller ones find no
# other redshift (validation), and cost twice as much.
BINNING = {"GALAXY": 2, "QSO": 4, "STAR": 2}


class Trial(NamedTuple):
    """One spectrum with what is true, and what was found."""

    family: str
    redshift: float
    data: Gridded
    found: Found


def load_net(run: Path) -> tuple[EigenRecipe, EigenNet]:
    """The recipe and the network of a run.

    Raises
    ------
    SystemExit
        If it was not trained.
    """
    path = run / CHECKPOINT
    if not path.is_file():
        raise SystemExit(f"{path} is not there: run `python -m training.train_eigen` first")
    recipe = read_eigen_recipe(run / "recipe.toml")
    state = torch.load(path, weights_only=True)["model"]
    spectra = {name: state[f"roots.{name}"] ** 2 for name in recipe.network.n_spectra}
    network = EigenNet(recipe.network, spectra)
    network.load_state_dict(state)
    return recipe, network.eval()


def coefficients(
    network: EigenNet, libraries: dict[str, RestLibrary], simulator: SurveySimulator, seed: int
) -> dict[str, FloatArray]:
    """Coefficients of simulated spectra of median flux 1, by family, (n, K)."""
    made = {}
    for index, name in enumerate(network.config.n_spectra):
        batch = simulator.draw(256, step_rng(seed, CALIBRATION, index), name)
        problem = Problem(batch, libraries[name].first)
        spectra = network.eigenspectra(name).detach()
        templates, inside = shifted(spectra.expand(256, *spectra.shape), problem.place, COUNT)
        problem.reach(inside)
        made[name] = best_coefficients(problem, templates).numpy().astype(np.float64)
    return made


def make_family(name: str, spectra: FloatArray, first: int, drawn: FloatArray) -> Family:
    """A family with the priors that coefficients (n, K) of real spectra give."""
    low, high = REDSHIFTS[name]
    return Family(
        name, spectra, first, min(low, -0.003) if name == "GALAXY" else low, high, RESOLUTION,
        np.median(drawn, axis=0) + 1e-3, drawn.T @ drawn / len(drawn), BINNING[name],
    )  # fmt: skip


def search_all(batch: SurveyBatch, scanners: Sequence[Scanner], words: str) -> list[Trial]:
    """Scan simulated spectra; those with hardly a usable pixel are left out."""
    names = [*FAMILIES, ""]
    searches = [Search(one) for one in scanners]
    trials = []
    for row in track(range(len(batch.flux)), description=words):
        ivar = batch.ivar[row].astype(np.float64)
        if (ivar > 0).sum() < 300:
            continue
        data = to_grid(WAVELENGTH, batch.flux[row].astype(np.float64), ivar)
        found = find(data, searches)
        trials.append(Trial(names[batch.family[row]], float(batch.redshift[row]), data, found))
    return trials


def search_real(
    spectra: Sequence[SdssSpectrum], scanners: Sequence[Scanner], words: str
) -> list[Trial]:
    """Scan real spectra."""
    searches = [Search(one) for one in scanners]
    trials = []
    for one in track(spectra, description=words):
        data = to_grid(one.wavelength, one.flux, one.ivar)
        trials.append(Trial(one.family, one.redshift, data, find(data, searches)))
    return trials


def error_scale(trials: Sequence[Trial], name: str) -> float:
    """By how much the curvature's errors are too small, on simulated spectra of a family."""
    _, dz, raw = right_ones(trials, name)
    return float(_robust(dz / raw)) if dz.size >= FEWEST else 1.0


def real_floors(real: Sequence[Trial], name: str, scale: float) -> list[list[float]]:
    """What is to be added to the errors in quadrature, so that those of real spectra hold.

    Real quasars have lines at velocities of their own, real galaxies have gas that moves: no
    curvature knows of that. See `training.redshift_errors`.
    """
    redshift, dz, raw = right_ones(real, name)
    return error_floors(name, redshift, dz, raw, scale)


def right_ones(trials: Sequence[Trial], name: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Redshift, dz and the raw error over 1+z of a family's redshifts that are right."""
    rows = [
        (
            one.redshift,
            offset(one),
            one.found.fits[0].redshift_err / (1.0 + one.found.fits[0].redshift),
        )
        for one in trials
        if one.family == name == one.found.fits[0].family and abs(offset(one)) < WRONG[name]
    ]
    table = np.array(rows).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def _robust(values: FloatArray) -> float:
    return float(1.4826 * np.median(np.abs(values)))


def offset(one: Trial) -> float:
    """dz = (z - z_true) / (1 + z_true) of the best fit."""
    return (one.found.fits[0].redshift - one.redshift) / (1.0 + one.redshift)


def class_loss(trials: Sequence[Trial], temperature: float) -> float:
    """Mean negative log-likelihood of the true families."""
    total = 0.0
    for one in trials:
        chi2 = one.found.lowest
        values = np.array(list(chi2.values()))
        exponent = -0.5 * (values - values.min()) / temperature
        log_p = exponent - np.log(np.exp(exponent).sum())
        total -= max(float(log_p[list(chi2).index(one.family)]), -30.0)
    return total / max(len(trials), 1)


def fit_limits(trials: Sequence[Trial], noise: Sequence[Trial]) -> dict[str, float]:
    """Limits of the warnings: noise must not pass, nor too many wrong redshifts."""
    gain = [one.found.null_chi2 - one.found.fits[0].chi2 for one in noise]
    delta = np.array([one.found.delta_chi2 for one in noise])
    limits = {"gain": float(np.quantile(gain, 0.98)) if gain else 30.0}
    # The rest of the noise has to fall to the difference between its best redshifts.
    passing = [d for g, d in zip(gain, delta, strict=True) if g >= limits["gain"]]
    allowed = int(NOISE_RATE * len(noise))
    least = sorted(passing, reverse=True)[allowed] if len(passing) > allowed else 4.0
    base = zwarn.Limits(delta_chi2=0.0, gain=limits["gain"])
    kept = [
        (one.found.delta_chi2, abs(offset(one)) > OUTLIER or one.found.fits[0].family != one.family)
        for one in trials
        if zwarn.zwarning(one.found, one.data, base) == 0
    ]
    value = max(least, 4.0)
    while np.mean([bad for d, bad in kept if d >= value] or [0.0]) > OUTLIER_RATE:
        value += 1.0
    return limits | {"delta_chi2": round(value, 2)}


@app.command()
def main(
    run: Annotated[Path, typer.Argument(help="Run folder, e.g. runs/gasnet3.")],
    count: Annotated[int, typer.Option(help="Simulated spectra.")] = 1800,
    noise_count: Annotated[int, typer.Option(help="Spectra without a source.")] = 1500,
    seed: Annotated[int, typer.Option(help="Seed of the simulated spectra.")] = 3,
    floors: Annotated[
        bool,
        typer.Option("--floors", help="Fit the floors of the redshift errors alone, again."),
    ] = False,
) -> None:
    """Calibrate a GaSNet-III on validation objects.

    Example: python -m training.calibrate_eigen runs/gasnet3
    """
    recipe, network = load_net(run)
    spectra = read_sdss(shared_data())
    if floors:
        refit_floors(run, network, real_light(spectra))
        return
    libraries = read_libraries()
    donors = Donors(part_of(spectra, "train"))
    train = SurveySimulator(libraries, donors, "train", recipe.conditions)
    drawn = coefficients(network, libraries, train, seed)
    families = [
        make_family(
            name,
            network.eigenspectra(name).detach().numpy().astype(np.float64),
            libraries[name].first,
            drawn[name],
        )
        for name in recipe.network.n_spectra
    ]
    scanners = [Scanner(one, ADDITIVE, MULTIPLICATIVE) for one in families]
    conditions = SurveyConditions(no_signal_share=0.0, borrowed_snr=True)
    validation = SurveySimulator(libraries, donors, "validation", conditions)
    each = count // len(families)
    trials: list[Trial] = []
    for index, one in enumerate(families):
        batch = validation.draw(each, step_rng(seed, CALIBRATION, 100 + index), one.name)
        trials += search_all(batch, scanners, f"{one.name.lower()} spectra")
    empty = validation.draw_noise(noise_count, step_rng(seed, CALIBRATION, 200))
    noise = search_all(empty, scanners, "noise")
    real = search_real(real_light(spectra), scanners, "real spectra")
    temperature = fit_temperature(lambda t: class_loss([*trials, *real], 10.0 * t)) * 10.0
    block = calibration_block(families, trials, noise, real, temperature)
    (run / CALIBRATION_FILE).write_text(json.dumps(block, indent=1) + "\n")
    Console(stderr=True).print(report(trials, real, block))


def real_light(spectra: Sequence[SdssSpectrum]) -> list[SdssSpectrum]:
    """Real spectra of validation and of the donors, of whose light nothing was learned here."""
    sure = [one for one in part_of(spectra, "train") if one.zwarning == 0]
    return [*part_of(spectra, "validation"), *sure]


def refit_floors(run: Path, network: EigenNet, spectra: Sequence[SdssSpectrum]) -> None:
    """Write the floors of the redshift errors of a calibrated run anew.

    Raises
    ------
    SystemExit
        If the run was not calibrated.
    """
    path = run / CALIBRATION_FILE
    if not path.is_file():
        raise SystemExit(f"{path} is not there: calibrate the run without --floors first")
    block = json.loads(path.read_text())
    scanners = [
        Scanner(
            Family(
                name, network.eigenspectra(name).detach().numpy().astype(np.float64),
                one["first"], one["redshift_min"], one["redshift_max"], one["resolution"],
                np.array(one["typical"]), np.array(one["moments"]), one["binning"],
            ),
            block["additive"], block["multiplicative"],
        )
        for name, one in block["families"].items()
    ]  # fmt: skip
    real = search_real(spectra, scanners, "real spectra")
    lines = []
    for name, one in block["families"].items():
        one["error_floor"] = real_floors(real, name, one["error_scale"])
        redshift, dz, raw = right_ones(real, name)
        at, floor = np.array(one["error_floor"]).T
        pull = _robust(dz / np.hypot(one["error_scale"] * raw, np.interp(redshift, at, floor)))
        limits = expected_floor(dz, raw, one["error_scale"])[1]
        lines.append(
            f"{name}: floors {one['error_floor']}, pull {pull:.2f} of {len(dz)}; one for all "
            f"would be {limits[0]:.2g} to {limits[1]:.2g}"
        )
    path.write_text(json.dumps(block, indent=1) + "\n")
    Console(stderr=True).print("\n".join(lines))


def calibration_block(
    families: Sequence[Family],
    trials: Sequence[Trial],
    noise: Sequence[Trial],
    real: Sequence[Trial],
    temperature: float,
) -> dict[str, Any]:
    """The ``scan`` block of the card."""
    everything = [*trials, *real]
    truth = []
    for one in everything:
        chi2 = one.found.lowest
        values = np.array(list(chi2.values()))
        p = np.exp(-0.5 * (values - values.min()) / temperature)
        truth.append(float(p[list(chi2).index(one.family)] / p.sum()))
    usual = [one.found.fits[0].chi2 / one.found.fits[0].n_pixels for one in everything]
    blocks = {}
    for one in families:
        scale = max(error_scale(trials, one.name), 1.0)
        blocks[one.name] = {
            "output": f"{one.name}_eigenspectra",
            "first": one.first,
            "redshift_min": one.redshift_min,
            "redshift_max": one.redshift_max,
            "resolution": one.resolution,
            "binning": one.binning,
            "typical": [round(float(x), 6) for x in one.typical],
            "moments": [[float(f"{x:.5g}") for x in row] for row in one.moments],
            "error_scale": round(scale, 3),
            "error_floor": real_floors(real, one.name, scale),
        }
    return {
        "families": blocks,
        "additive": ADDITIVE,
        "multiplicative": MULTIPLICATIVE,
        "temperature": round(temperature, 3),
        "limits": fit_limits(everything, noise),
        "prediction_set": {
            "coverage": COVERAGE,
            "threshold": weighted_quantile(np.array(truth), np.ones(len(truth)), 1.0 - COVERAGE),
        },
        "chi2_limit": round(float(np.quantile(usual, 0.99)), 3),
    }


def report(trials: Sequence[Trial], real: Sequence[Trial], block: dict[str, Any]) -> str:
    """What came out, in words."""
    lines = [json.dumps({k: v for k, v in block.items() if k != "families"})]
    for words, group in (("simulated", trials), ("real", real)):
        for name in block["families"]:
            mine = [one for one in group if one.family == name]
            if not mine:
                continue
            right = np.mean([one.found.fits[0].family == name for one in mine])
            dz = np.abs([offset(one) for one in mine])
            lines.append(
                f"{words} {name}: n {len(mine)}, class {right:.3f}, GF(0.003) "
                f"{(dz < 0.003).mean():.3f}, GF(0.01) {(dz < 0.01).mean():.3f}, "
                f"median |dz| {np.median(dz):.2e}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    app()
