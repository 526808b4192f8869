"""Scores of answers: accuracy, redshift errors, what training logs."""

from __future__ import annotations

from collections.abc import Sequence

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
    """The figures that training logs, of the heads that there are.

    Supernovae only for the redshift.
    """
    label = np.concatenate([b.label for b in batches])
    log1z = np.concatenate([b.log1z for b in batches])
    scores: dict[str, float] = {}
    if "class_logits" in answer:
        p = softmax(answer["class_logits"])
        guess = p.argmax(axis=1)
        cross_entropy = -np.log(np.maximum(p[np.arange(label.size), label], 1e-12))
        scores |= {
            "validation_loss": float(cross_entropy.mean()),
            "accuracy": float(np.mean(guess == label)),
            "three_way": float(np.mean(three_way(p, label))),
            "balanced": balanced_accuracy(guess, label),
        }
    estimate = None
    if "redshift_logits" in answer:
        p_z = softmax(answer["redshift_logits"])
        estimate, _ = point_estimate(p_z, recipe.redshift_bins.centres)
    elif "redshift" in answer:
        estimate = np.log1p(answer["redshift"][:, 0].astype(np.float64))
    if estimate is not None:
        dz = relative_error(estimate, log1z)[GROUP_OF_CLASS[label] >= 0]
        scores |= {"redshift_rms": rms(dz), "redshift_nmad": nmad(dz)}
    return scores
