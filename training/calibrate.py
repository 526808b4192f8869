"""``python -m training.calibrate RUN``: what makes answers trustworthy, on validation objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from specinfer.networks.spectranet import keep_possible, possible_redshifts
from specinfer.pdf import central_mass, logistic, softmax
from training.archive.labels import CLASSES, PHASE_CLASSES
from training.archive.library import Library
from training.config import Recipe, resolve
from training.evaluation.observe import draw_by_object, trial_redshifts
from training.fits import (
    binned_nll,
    class_nll,
    decision_threshold,
    fit_temperature,
    levels,
    set_threshold,
    weighted_quantile,
)
from training.novelty import fit_novelty
from training.predict import Outputs, predict
from training.run import SERVED, load_members, make_batches, read_run, run_name, usable_rows
from training.simulate.draw import Batch, RowSampler, host_rows, redshift_limits, to_batch
from training.simulate.instruments import sedm
from training.simulate.transients import Simulator
from training.stream import CALIBRATION, step_rng

app = typer.Typer(add_completion=False)
FloatArray = NDArray[np.float64]

# What calibration is for: the SEDM's targets, each object equally often.
SNR = (4.0, 40.0)
HOST_SHARE = 0.3
# Rows of a validation class behind a threshold of its own.
_LEAST_ROWS = 20
NOVELTY_RATE, DECISION_RATE = 0.01, 0.005
# Of transients without host light. The estimate is an expected share: it stays below the
# truth where that is large, and a fixed share would hardly ever be passed.
HOST_RATE = 0.02
CONFLICT_LEVEL = 0.997
# How far the class probabilities go from the classes as training draws them, the rare ones
# far too often, to their shares of the archive's objects: half way, in logarithms. All the
# way is best for the likelihood, and hardly ever names a rare class (training/README.md).
PRIOR_POWER = 0.5


@dataclass(frozen=True)
class Known:
    """Truths of simulated spectra, one row each."""

    label: NDArray[np.int64]
    log1z: FloatArray
    phase: FloatArray
    subtype: NDArray[np.int64]
    host: FloatArray
    weight: FloatArray
    n_objects: int

    @classmethod
    def of(cls, batches: Sequence[Batch], library: Library) -> Known:
        """Of batches; the rows of an object weigh the same for every object."""

        def joined(name: str) -> Any:
            return np.concatenate([getattr(batch, name) for batch in batches])

        objects = library.object[joined("row")]
        _, inverse, counts = np.unique(objects, return_inverse=True, return_counts=True)
        return cls(
            label=joined("label"),
            log1z=joined("log1z"),
            phase=joined("phase"),
            subtype=joined("subtype"),
            host=joined("host"),
            weight=1.0 / counts[inverse],
            n_objects=int(counts.size),
        )


def sedm_batches(
    recipe: Recipe, library: Library, part: str, count: int, purpose: int
) -> list[Batch]:
    """SEDM-like spectra of a part: every object equally often, at the redshifts of trials."""
    rows = usable_rows(recipe, library, part)
    simulator = Simulator(library, host_rows(library, rows))
    conditions = replace(recipe.conditions.as_seen(), snr=SNR, host_share=HOST_SHARE)
    made = []
    for step in range(count):
        rng = step_rng(recipe.training.seed, purpose, step)
        drawn = draw_by_object(library, rows, recipe.training.batch_size, rng)
        redshift = trial_redshifts(library, drawn, rng)
        observed = simulator.observe(drawn, redshift, sedm(), conditions, rng)
        made.append(to_batch(library, drawn, observed, recipe.preprocessing))
    return made


def class_bias(recipe: Recipe, library: Library) -> FloatArray:
    """What is added to the class logits: ln(share of objects / share of draws) in part.

    Classes that are not drawn get nothing.
    """
    rows = usable_rows(recipe, library, "train")
    drawn = RowSampler(library, rows, recipe.data.class_power, recipe.data.other_share).class_share
    pairs = {(str(library.object[row]), int(library.label[row])) for row in rows}
    objects = np.bincount([label for _, label in pairs], minlength=len(CLASSES))
    natural = objects / objects.sum()
    bias = np.zeros(len(CLASSES))
    seen = drawn > 0
    bias[seen] = PRIOR_POWER * np.log(natural[seen] / drawn[seen])
    return bias


def calibrate(recipe: Recipe, answer: Outputs, known: Known, coverage: float) -> dict[str, Any]:
    """The card's ``calibration`` block, with what it was measured on.

    Parameters
    ----------
    recipe : Recipe
    answer : Outputs
        Raw outputs over validation spectra.
    known : Known
        Their truths.
    coverage : float
        Of the prediction sets.
    """
    logits = {
        name: np.asarray(answer[f"{name}_logits"], dtype=np.float64)
        for name in ("class", "redshift", "phase", "subtype")
    }
    weight, bins = known.weight, recipe.redshift_bins
    possible = possible_redshifts(CLASSES, redshift_limits(bins.step), bins.centres)
    # Later than its last bin the phase head can only say so.
    last = recipe.phase_bins.centres[-1]
    phased, typed = known.phase <= last, known.subtype >= 0
    temperature: dict[str, float] = {}

    def p_redshift(t: float) -> FloatArray:
        p_class = softmax(logits["class"], temperature["class"])
        return keep_possible(softmax(logits["redshift"], t), p_class, possible)

    # In this order: p(z) as it is served depends on p(class).
    losses: dict[str, Callable[[float], float]] = {
        "class": lambda t: class_nll(logits["class"], known.label, t, weight),
        "redshift": lambda t: binned_nll(p_redshift(t), known.log1z, bins, weight),
        "phase": lambda t: binned_nll(
            softmax(logits["phase"][phased], t), known.phase[phased], recipe.phase_bins,
            weight[phased],
        ),
    }  # fmt: skip
    if typed.any():
        losses["subtype"] = lambda t: class_nll(
            logits["subtype"][typed], known.subtype[typed], t, weight[typed]
        )
    else:
        temperature["subtype"] = 1.0
    for name, loss in track(losses.items(), "fitting", console=Console(stderr=True)):
        temperature[name] = fit_temperature(loss)
    p_class = softmax(logits["class"], temperature["class"])
    supernova = known.label < len(PHASE_CLASSES)
    mass = {
        "redshift": central_mass(
            p_redshift(temperature["redshift"])[supernova], bins.centres, known.log1z[supernova]
        ),
        "phase": central_mass(
            softmax(logits["phase"][phased], temperature["phase"]),
            recipe.phase_bins.centres,
            known.phase[phased],
        ),
    }
    by_class = {}
    for index, name in enumerate(CLASSES):
        mine = known.label == index
        # A threshold needs spectra of the class behind it; without them the set's own holds.
        if mine.sum() >= _LEAST_ROWS:
            value = set_threshold(p_class[mine], known.label[mine], weight[mine], coverage)
            by_class[name] = round(value, 6)
    return {
        **{f"{name}_temperature": value for name, value in temperature.items()},
        "redshift_levels": levels(mass["redshift"], weight[supernova]),
        "phase_levels": levels(mass["phase"], weight[phased]),
        "prediction_set": {
            "coverage": coverage,
            "threshold": round(set_threshold(p_class, known.label, weight, coverage), 6),
            "by_class": by_class,
        },
        "fitted_on": {
            "part": "validation",
            "spectra": int(known.label.size),
            "objects": known.n_objects,
            "snr": list(SNR),
            "host_share": HOST_SHARE,
            "nll": {
                name: [round(loss(1.0), 4), round(loss(temperature[name]), 4)]
                for name, loss in losses.items()
            },
        },
    }


def host_threshold(answer: Outputs, known: Known) -> float:
    """The share that hardly any transient without host light is said to have."""
    bare = (known.label < len(PHASE_CLASSES)) & (known.host == 0)
    return weighted_quantile(
        logistic(answer["host_logit"][bare, 0]), known.weight[bare], 1.0 - HOST_RATE
    )


def decide(
    answer: Outputs, known: Known, calibration: dict[str, Any], novelty: float, host: float
) -> dict[str, Any]:
    """The card's entry in ``decisions``: SN Ia that may be posted without a human."""
    ia = CLASSES.index("SN Ia")
    p = softmax(np.asarray(answer["class_logits"], np.float64), calibration["class_temperature"])
    # The flags that send an answer to a human whatever the probability.
    flagged = (answer["novelty"][:, 0] > novelty) | (logistic(answer["host_logit"][:, 0]) > host)
    posted = np.where(flagged, 0.0, p[:, ia])
    right = known.label == ia
    threshold = decision_threshold(posted, right, known.weight, DECISION_RATE)
    passed = posted >= threshold
    return {
        "class": "SN Ia",
        "threshold": round(threshold, 6),
        "false_positive_rate": DECISION_RATE,
        "on_validation": {
            "recall": round(float(np.average(passed[right], weights=known.weight[right])), 4),
            "false_positive_rate": round(
                float(np.average(passed[~right], weights=known.weight[~right])), 5
            ),
            "spectra": int(right.size),
            "objects": known.n_objects,
        },
    }


def shown_batches(recipe: Recipe, library: Library, count: int) -> list[Batch]:
    """Spectra of training objects: half as training draws them, half SEDM-like."""
    maker = make_batches(recipe, library, "train")
    size, half = recipe.training.batch_size, max(count // 2, 1)
    # Far from the steps of validation objects.
    steps = range(10**6, 10**6 + half)
    drawn = [maker.make(size, step_rng(recipe.training.seed, CALIBRATION, i)) for i in steps]
    return drawn + sedm_batches(recipe, library, "train", half, CALIBRATION)


@app.command()
def main(
    runs: Annotated[list[Path], typer.Argument(help="Run folders: the members of the network")],
    batches: Annotated[int, typer.Option(help="Batches of simulated validation spectra.")] = 48,
    coverage: Annotated[float, typer.Option(help="Coverage of the prediction sets.")] = 0.9,
) -> None:
    """Fit what makes answers trustworthy, on validation objects only.

    Temperatures, prediction sets, intervals of redshift and phase, the novelty score and
    the threshold for posting without a human. Writes calibration.json and served.pt into
    the first run folder.

    Example: python -m training.calibrate runs/spectranet
    """
    console = Console(stderr=True)
    first = runs[0]
    recipe = read_run(first)
    served = load_members(runs)
    library = Library.load(resolve(recipe.data.library))
    device = torch.device("cpu")
    with console.status("novelty: spectra of training objects"):
        state = fit_novelty(served, shown_batches(recipe, library, batches), recipe.training.seed)
        served.novelty.load_state_dict(state)
        served.class_bias.data.copy_(torch.from_numpy(class_bias(recipe, library)))
    with console.status("validation objects"):
        seen = sedm_batches(recipe, library, "validation", batches, CALIBRATION)
        answer = predict(served, seen, device)
    known = Known.of(seen, library)
    calibration = calibrate(recipe, answer, known, coverage)
    values = answer["novelty"][:, 0].astype(np.float64)
    novelty = weighted_quantile(values, known.weight, 1.0 - NOVELTY_RATE)
    host = host_threshold(answer, known)
    block = {
        "members": [run_name(run) for run in runs],
        "calibration": calibration,
        "novelty": {"threshold": round(novelty, 5), "false_alarm_rate": NOVELTY_RATE},
        "host": {"dominated": round(host, 4), "false_alarm_rate": HOST_RATE},
        "redshift_conflict": {"level": CONFLICT_LEVEL},
        "decisions": [decide(answer, known, calibration, novelty, host)],
    }
    temporary = first / (SERVED + ".tmp")
    torch.save(state | {"class_bias": served.class_bias.data}, temporary)
    temporary.replace(first / SERVED)
    temporary = first / "calibration.tmp"
    temporary.write_text(json.dumps(block, indent=1) + "\n")
    temporary.replace(first / "calibration.json")
    typer.echo(json.dumps(block, indent=1))


if __name__ == "__main__":
    app()
