"""What calibration fits: temperatures, thresholds and levels, each from known truths.

Rows are weighted: those of one object should sum to the same for every object.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from specinfer.models import Bins
from specinfer.pdf import softmax

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


def class_nll(
    logits: FloatArray,
    label: NDArray[np.int64],
    temperature: float,
    weight: FloatArray | None = None,
) -> float:
    """Mean negative log-likelihood of the true classes."""
    p = softmax(logits, temperature)[np.arange(label.size), label]
    return float(np.average(-np.log(np.maximum(p, 1e-300)), weights=weight))


def binned_nll(
    p: FloatArray, values: FloatArray, bins: Bins, weight: FloatArray | None = None
) -> float:
    """Mean negative log-likelihood of values under binned distributions, linear between bins."""
    position = np.clip((values - bins.start) / bins.step, 0.0, p.shape[1] - 1.0)
    index = np.minimum(position.astype(np.intp), p.shape[1] - 2)
    part = position - index
    rows = np.arange(values.size)
    at = (1.0 - part) * p[rows, index] + part * p[rows, index + 1]
    return float(np.average(-np.log(np.maximum(at, 1e-300)), weights=weight))


def weighted_quantile(values: FloatArray, weight: FloatArray, share: float) -> float:
    """The least value that `share` of the weight does not exceed."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order]) / weight.sum()
    # Rounding may leave the last share a little below 1.
    return float(values[order][min(np.searchsorted(reached, share), values.size - 1)])


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
    coverage : float

    Returns
    -------
    float
    """
    score = p[np.arange(label.size), label]
    return -weighted_quantile(-score, weight, coverage)


def levels(mass: FloatArray, weight: FloatArray) -> dict[str, float]:
    """Which central masses cover 68 % and 95 % of the values (conformal, as the sets are).

    Parameters
    ----------
    mass : ndarray, shape (n,)
        Of `specinfer.pdf.central_mass` at the true values.
    weight : ndarray, shape (n,)
    """
    return {
        name: round(min(weighted_quantile(mass, weight, share), 0.99999), 5)
        for name, share in (("68", 0.6827), ("95", 0.9545))
    }


def decision_threshold(
    p: FloatArray, right: NDArray[np.bool_], weight: FloatArray, rate: float
) -> float:
    """Least probability at which at most `rate` of what is not the class passes.

    Parameters
    ----------
    p : ndarray, shape (n,)
        Probability of the class; 0 for rows that other rules send to a human.
    right : ndarray of bool, shape (n,)
        Rows that are of the class.
    weight : ndarray, shape (n,)
    rate : float
        Largest weighted share of the other rows with a probability of the threshold or more.

    Returns
    -------
    float
        Never below one half: a minority is not posted.
    """
    others, mass = p[~right], weight[~right]
    order = np.argsort(-others, kind="stable")
    passed = np.cumsum(mass[order]) / mass.sum()
    first_too_many = int(np.searchsorted(passed, rate, side="right"))
    if first_too_many >= others.size:
        return 0.5
    # Just above the first row that would be one too many.
    return max(0.5, float(np.nextafter(others[order][first_too_many], 2.0)))
