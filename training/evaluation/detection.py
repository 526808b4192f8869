"""One class against the rest: ROC curve, its area, and how honest probabilities are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.intervals import divide

FloatArray = NDArray[np.float64]

RELIABILITY_BINS = 15


def auc(positive: FloatArray, negative: FloatArray) -> float:
    """Area under the ROC curve: P(a positive scores above a negative), ties half.

    Parameters
    ----------
    positive, negative : ndarray
        Scores of both kinds.

    Returns
    -------
    float
        NaN if one of them is empty.
    """
    if not positive.size or not negative.size:
        return float("nan")
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left")
    not_above = np.searchsorted(ordered, positive, "right")
    return float((below + not_above).mean() / (2.0 * ordered.size))


def threshold_at(negative: FloatArray, rate: float) -> float:
    """The score that at most a share `rate` of the negatives is above."""
    allowed = int(np.floor(rate * negative.size))
    return float(np.partition(negative, -1 - allowed)[-1 - allowed])


def recall_at(positive: FloatArray, negative: FloatArray, rate: float) -> float:
    """Share of the positives above the score that at most a share `rate` of negatives is above.

    NaN if one of them is empty.
    """
    if not positive.size or not negative.size:
        return float("nan")
    return float((positive > threshold_at(negative, rate)).mean())


def roc(positive: FloatArray, negative: FloatArray, points: int = 60) -> dict[str, list[float]]:
    """The ROC curve at rates of false positives that are dense where it matters.

    Parameters
    ----------
    positive, negative : ndarray
        Scores of both kinds, not empty.
    points : int
        At most so many.

    Returns
    -------
    dict
        ``false_positive_rate``, ``recall`` and ``threshold``, of equal length.
    """
    rates = np.unique(
        np.concatenate([[0.0], np.geomspace(1.0 / max(negative.size, 1000), 1.0, points - 1)])
    )
    # At a rate of 1 everything is called positive.
    thresholds = [threshold_at(negative, rate) for rate in rates[:-1]]
    found = [(positive > t).mean() for t in thresholds]
    reached = [(negative > t).mean() for t in thresholds]
    kept = np.unique(np.array(reached), return_index=True)[1]
    return {
        "false_positive_rate": [round(float(reached[i]), 5) for i in kept] + [1.0],
        "recall": [round(float(found[i]), 5) for i in kept] + [1.0],
        "threshold": [round(float(thresholds[i]), 5) for i in kept] + [0.0],
    }


def reliability_sums(
    probability: FloatArray, right: NDArray[Any], bins: int = RELIABILITY_BINS
) -> FloatArray:
    """What a reliability diagram sums up, a row (Guo et al. 2017, arXiv:1706.04599).

    Parameters
    ----------
    probability : ndarray, shape (n,)
    right : ndarray of bool, shape (n,)
    bins : int
        Equal bins in 0-1.

    Returns
    -------
    ndarray, shape (n, bins, 3)
        Count, stated probability and right answers, each in the row's bin.
    """
    index = np.minimum((probability * bins).astype(np.intp), bins - 1)
    sums = np.zeros((probability.size, bins, 3))
    values = np.stack([np.ones_like(probability), probability, right.astype(float)], axis=1)
    sums[np.arange(probability.size), index] = values
    return sums


def calibration_error(sums: FloatArray) -> FloatArray:
    """Expected calibration error from sums over `reliability_sums`, shape (..., bins, 3)."""
    gap = np.abs(sums[..., 1] - sums[..., 2]).sum(axis=-1)
    return divide(gap, sums[..., 0].sum(axis=-1))


def reliability(probability: FloatArray, right: NDArray[Any]) -> list[list[float]]:
    """The diagram: [mean stated probability, share right, spectra] of each bin that has any."""
    total = reliability_sums(probability, right).sum(axis=0)
    return [
        [round(float(p / n), 4), round(float(hit / n), 4), int(n)] for n, p, hit in total if n > 0
    ]
