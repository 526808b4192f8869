"""``python -m training.calibrate RUN``: temperatures and prediction sets, on validation objects."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from specinfer.models import Bins
from specinfer.networks.spectranet import keep_possible, possible_redshifts
from specinfer.pdf import softmax
from training.archive.labels import CLASSES
from training.archive.library import Library
from training.config import Recipe, read_recipe, resolve
from training.predict import Outputs, predict
from training.run import load_average, make_batches
from training.simulate.draw import Batch, redshift_limits
from training.stream import CALIBRATION, step_rng

app = typer.Typer(add_completion=False)
FloatArray = NDArray[np.float64]

# Temperatures are searched between these, on a logarithmic scale.
_RANGE = (0.2, 5.0)


def fit_temperature(loss: Callable[[float], float]) -> float:
    """The temperature of least loss, by golden-section search in ln(T).

    Parameters
    ----------
    loss : callable
        Mean negative log-likelihood at a temperature; it has one minimum.

    Returns
    -------
    float
        Within 0.2-5, to four digits.
    """
    low, high = np.log(_RANGE)
    ratio = (math.sqrt(5.0) - 1.0) / 2.0
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    at_a, at_b = loss(math.exp(a)), loss(math.exp(b))
    while high - low > 1e-4:
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - ratio * (high - low)
            at_a = loss(math.exp(a))
        else:
            low, a, at_a = a, b, at_b
            b = low + ratio * (high - low)
            at_b = loss(math.exp(b))
    return round(math.exp(0.5 * (low + high)), 4)


def class_nll(logits: FloatArray, label: NDArray[np.int64], temperature: float) -> float:
    """Mean negative log-likelihood of the true classes."""
    p = softmax(logits, temperature)[np.arange(label.size), label]
    return float(-np.log(np.maximum(p, 1e-300)).mean())


def binned_nll(p: FloatArray, values: FloatArray, bins: Bins) -> float:
    """Mean negative log-likelihood of values under binned distributions, linear between bins."""
    position = np.clip((values - bins.start) / bins.step, 0.0, p.shape[1] - 1.0)
    index = np.minimum(position.astype(np.intp), p.shape[1] - 2)
    part = position - index
    rows = np.arange(values.size)
    at = (1.0 - part) * p[rows, index] + part * p[rows, index + 1]
    return float(-np.log(np.maximum(at, 1e-300)).mean())


def set_threshold(
    p: FloatArray, label: NDArray[np.int64], weight: FloatArray, coverage: float
) -> float:
    """Least probability of a class in the prediction set.

    Split-conformal sets of the least ambiguous kind (Sadinle, Lei & Wasserman 2019,
    JASA 114, 223): all classes at least as probable as the threshold that `coverage` of
    the true classes reach.

    Parameters
    ----------
    p : ndarray, shape (n, n_classes)
    label : ndarray of int, shape (n,)
    weight : ndarray, shape (n,)
        Weights of the rows; those of one object should sum to the same for every object.
    coverage : float

    Returns
    -------
    float
    """
    score = p[np.arange(label.size), label]
    order = np.argsort(-score, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    # Rounding may leave the last share a little below 1.
    return float(score[order][min(np.searchsorted(share, coverage), label.size - 1)])


def calibrate(
    recipe: Recipe, answer: Outputs, batches: list[Batch], objects: NDArray[Any], coverage: float
) -> dict[str, Any]:
    """The card's ``calibration`` block, with what it was measured on."""
    label = np.concatenate([b.label for b in batches])
    log1z = np.concatenate([b.log1z for b in batches])
    phase = np.concatenate([b.phase for b in batches])
    known = np.isfinite(phase)
    classes, redshifts, phases = (
        np.asarray(answer[f"{name}_logits"], dtype=np.float64)
        for name in ("class", "redshift", "phase")
    )
    bins = recipe.redshift_bins
    possible = possible_redshifts(CLASSES, redshift_limits(bins.step), bins.centres)
    temperature: dict[str, float] = {}

    def redshift_loss(t: float) -> float:
        p_class = softmax(classes, temperature["class"])
        return binned_nll(keep_possible(softmax(redshifts, t), p_class, possible), log1z, bins)

    # In this order: p(z) as it is served depends on p(class).
    losses: dict[str, Callable[[float], float]] = {
        "class": lambda t: class_nll(classes, label, t),
        "redshift": redshift_loss,
        "phase": lambda t: binned_nll(softmax(phases[known], t), phase[known], recipe.phase_bins),
    }
    for name, loss in track(losses.items(), "fitting", console=Console(stderr=True)):
        temperature[name] = fit_temperature(loss)
    _, inverse, counts = np.unique(objects, return_inverse=True, return_counts=True)
    threshold = set_threshold(
        softmax(classes, temperature["class"]), label, 1.0 / counts[inverse], coverage
    )
    return {
        "class_temperature": temperature["class"],
        "redshift_temperature": temperature["redshift"],
        "phase_temperature": temperature["phase"],
        "prediction_set": {"coverage": coverage, "threshold": round(threshold, 6)},
        "fitted_on": {
            "part": "validation",
            "spectra": int(label.size),
            "objects": int(counts.size),
            "nll": {
                name: [round(loss(1.0), 4), round(loss(temperature[name]), 4)]
                for name, loss in losses.items()
            },
        },
    }


@app.command()
def main(
    run: Annotated[Path, typer.Argument(help="The run folder, e.g. runs/spectranet")],
    batches: Annotated[int, typer.Option(help="Batches of simulated validation spectra.")] = 40,
    coverage: Annotated[float, typer.Option(help="Coverage of the prediction sets.")] = 0.9,
) -> None:
    """Fit temperatures and the prediction-set threshold on validation objects only.

    Writes calibration.json into the run folder.

    Example: python -m training.calibrate runs/spectranet
    """
    console = Console(stderr=True)
    recipe = read_recipe(run / "recipe.toml")
    model = load_average(run, recipe)
    library = Library.load(resolve(recipe.data.library))
    maker = make_batches(recipe, library, "validation")
    seed = recipe.training.seed
    drawn = [
        maker.make(recipe.training.batch_size, step_rng(seed, CALIBRATION, i))
        for i in track(range(batches), "simulating", console=console)
    ]
    answer = predict(model, list(track(drawn, "predicting", console=console)), torch.device("cpu"))
    objects = library.object[np.concatenate([b.row for b in drawn])]
    block = calibrate(recipe, answer, drawn, objects, coverage)
    temporary = run / "calibration.tmp"
    temporary.write_text(json.dumps(block, indent=1) + "\n")
    temporary.replace(run / "calibration.json")
    typer.echo(json.dumps(block, indent=1))


if __name__ == "__main__":
    app()
