"""Scores: accuracy, redshift errors, calibration, with intervals over objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.pdf import point_estimate, softmax
from training.archive.labels import CLASSES, THREE_WAY
from training.config import Recipe
from training.predict import Outputs
from training.simulate.draw import Batch

FloatArray = NDArray[np.float64]

_GROUPS = ("Ia", "stripped", "hydrogen")
# Group index of each class, -1 for classes outside the three-way question.
GROUP_OF_CLASS = np.array(
    [_GROUPS.index(THREE_WAY[name]) if name in THREE_WAY else -1 for name in CLASSES]
)


def three_way(probabilities: FloatArray, label: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether Ia / stripped / hydrogen-rich is right, for supernovae of these groups.

    The group is the one with the largest summed probability; classes outside the
    three groups do not take part in the choice.

    Parameters
    ----------
    probabilities : ndarray, shape (n, n_classes)
    label : ndarray of int, shape (n,)

    Returns
    -------
    ndarray of bool, shape (n_in_groups,)
        For the rows whose label is in a group, in order.
    """
    rows = GROUP_OF_CLASS[label] >= 0
    sums = np.stack(
        [probabilities[:, group == GROUP_OF_CLASS].sum(axis=1) for group in range(3)], axis=1
    )
    return sums[rows].argmax(axis=1) == GROUP_OF_CLASS[label[rows]]


def balanced_accuracy(guess: NDArray[np.int64], label: NDArray[np.int64]) -> float:
    """Mean recall over the classes that occur in `label`."""
    return float(np.mean([np.mean(guess[label == k] == k) for k in np.unique(label)]))


def nmad(dz: FloatArray) -> float:
    """1.4826 times the median absolute deviation from the median."""
    return float(1.4826 * np.median(np.abs(dz - np.median(dz))))


def rms(dz: FloatArray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(dz**2)))


def relative_error(log1z: FloatArray, log1z_true: FloatArray) -> FloatArray:
    """(z - z_true) / (1 + z_true)."""
    return np.expm1(log1z - log1z_true)


def quick_scores(answer: Outputs, batches: Sequence[Batch], recipe: Recipe) -> dict[str, float]:
    """The figures that training logs; transients only for the redshift."""
    label = np.concatenate([b.label for b in batches])
    log1z = np.concatenate([b.log1z for b in batches])
    p = softmax(answer["class_logits"])
    estimate, _ = point_estimate(softmax(answer["redshift_logits"]), recipe.redshift_bins.centres)
    transient = GROUP_OF_CLASS[label] >= 0
    dz = relative_error(estimate, log1z)[transient]
    guess = p.argmax(axis=1)
    cross_entropy = -np.log(np.maximum(p[np.arange(label.size), label], 1e-12))
    return {
        "validation_loss": float(cross_entropy.mean()),
        "accuracy": float(np.mean(guess == label)),
        "three_way": float(np.mean(three_way(p, label))),
        "balanced": balanced_accuracy(guess, label),
        "redshift_rms": rms(dz),
        "redshift_nmad": nmad(dz),
    }


def bootstrap_interval(
    score: Callable[[NDArray[np.intp]], float],
    objects: NDArray[Any],
    repeats: int = 400,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % interval of a score by resampling objects, not spectra.

    Parameters
    ----------
    score : callable
        Takes row indices, gives the score on them.
    objects : ndarray, shape (n_rows,)
        Name of the object behind each row.
    repeats, seed : int

    Returns
    -------
    low, high : float
        2.5 and 97.5 percentiles.
    """
    _, inverse = np.unique(objects, return_inverse=True)
    count = int(inverse.max()) + 1 if inverse.size else 0
    order = np.argsort(inverse, kind="stable")
    bounds = np.searchsorted(inverse[order], np.arange(count + 1))
    members = [order[bounds[i] : bounds[i + 1]] for i in range(count)]
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(repeats):
        rows = np.concatenate([members[i] for i in rng.integers(0, count, count)])
        values.append(score(rows))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
