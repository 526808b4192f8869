"""Figures of trials, each with its interval over objects and its number of spectra."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.archive.labels import CLASSES
from training.measure import (
    GROUP_OF_CLASS,
    balanced_accuracy,
    bootstrap_interval,
    nmad,
    rms,
    three_way,
)
from training.trials import Trials

FloatArray = NDArray[np.float64]

SNR_BINS = ((4.0, 8.0), (8.0, 15.0), (15.0, 40.0))
_IA = CLASSES.index("SN Ia")
_OUTLIER = 0.02
# Phases that the head can answer lie within -20 to 100 days: middle and half width.
_PHASES = (40.0, 60.0)


def figures(trials: Trials) -> dict[str, Any]:
    """All figures of a set of trials.

    Redshift figures are over the supernovae of the three-way question, with
    dz = (z - z_true) / (1 + z_true).

    Returns
    -------
    dict
        ``n_spectra``, ``n_objects``, ``left_out``, and figures as
        ``[value, low, high]`` with a 95 % interval from resampling objects.
    """
    supernova = trials.take(np.flatnonzero(GROUP_OF_CLASS[trials.label] >= 0))
    ia = supernova.take(np.flatnonzero(supernova.label == _IA))
    others = supernova.take(np.flatnonzero(supernova.label != _IA))
    known = supernova.take(
        np.flatnonzero(
            np.isfinite(supernova.days) & (np.abs(supernova.phase - _PHASES[0]) <= _PHASES[1])
        )
    )
    return {
        "n_spectra": len(trials),
        "n_objects": _objects(trials),
        "left_out": trials.left_out,
        "n_supernova_spectra": len(supernova),
        "n_supernova_objects": _objects(supernova),
        "three_way_accuracy": _rate(supernova, lambda t: three_way(t.probabilities, t.label)),
        "three_way_balanced": _figure(supernova, _three_way_balanced),
        "accuracy": _rate(trials, lambda t: _guess(t) == t.label),
        "balanced_accuracy": _figure(trials, lambda t: balanced_accuracy(_guess(t), t.label)),
        "ia_recall": _rate(ia, lambda t: _guess(t) == _IA),
        "ia_false_positive_rate": _rate(others, lambda t: _guess(t) == _IA),
        "redshift_rms": _figure(supernova, lambda t: rms(_dz(t))),
        "redshift_rms_ia": _figure(ia, lambda t: rms(_dz(t))),
        "redshift_nmad": _figure(supernova, lambda t: nmad(_dz(t))),
        "redshift_outliers": _rate(supernova, lambda t: np.abs(_dz(t)) > _OUTLIER),
        "redshift_within_1_sigma": _rate(supernova, lambda t: _within(t, 1.0)),
        "redshift_within_2_sigma": _rate(supernova, lambda t: _within(t, 2.0)),
        "phase_rms_days": _figure(known, lambda t: rms(t.days - t.phase)),
        "phase_within_1_sigma": _rate(known, lambda t: np.abs(t.days - t.phase) <= t.days_err),
        "set_coverage": _rate(trials, _in_set),
        "set_size": _figure(trials, lambda t: float(t.in_set.sum(axis=1).mean())),
        "calibration_error": _figure(trials, _calibration_error),
    }


def baselines(trials: Trials) -> dict[str, float]:
    """What answers that look at no pixel score on the same trials.

    Always the commonest class; always the median redshift; the median redshift of the
    true class (which nobody knows beforehand).
    """
    supernova = trials.take(np.flatnonzero(GROUP_OF_CLASS[trials.label] >= 0))
    group = GROUP_OF_CLASS[supernova.label]
    truth = np.log1p(supernova.redshift)
    by_class = np.empty_like(truth)
    for label in np.unique(supernova.label):
        mine = supernova.label == label
        by_class[mine] = np.median(truth[mine])
    return {
        "three_way_constant": float(np.bincount(group).max() / group.size),
        "redshift_rms_constant": rms(np.expm1(np.median(truth) - truth)),
        "redshift_rms_class_median": rms(np.expm1(by_class - truth)),
    }


def by_snr(trials: Trials) -> dict[str, Any]:
    """A few figures in ranges of the signal-to-noise ratio."""
    answer = {}
    for low, high in SNR_BINS:
        part = trials.take(np.flatnonzero((trials.snr >= low) & (trials.snr < high)))
        part = part.take(np.flatnonzero(GROUP_OF_CLASS[part.label] >= 0))
        answer[f"{low:g}-{high:g}"] = {
            "n_spectra": len(part),
            "three_way_accuracy": _rate(part, lambda t: three_way(t.probabilities, t.label)),
            "redshift_rms": _figure(part, lambda t: rms(_dz(t))),
            "redshift_nmad": _figure(part, lambda t: nmad(_dz(t))),
        }
    return answer


def by_class(trials: Trials) -> dict[str, Any]:
    """Recall and precision of each class, with how many objects stand behind them."""
    answer = {}
    guess = _guess(trials)
    for index, name in enumerate(CLASSES):
        mine = trials.take(np.flatnonzero(trials.label == index))
        if not len(mine):
            continue
        called = trials.take(np.flatnonzero(guess == index))
        answer[name] = {
            "n_spectra": len(mine),
            "n_objects": _objects(mine),
            "recall": _rate(mine, lambda t, i=index: _guess(t) == i),  # type: ignore[misc]
            "precision": _rate(called, lambda t, i=index: t.label == i)  # type: ignore[misc]
            if len(called)
            else None,
        }
    return answer


def confusion(trials: Trials) -> list[list[int]]:
    """Spectra by true class (rows) and answered class (columns)."""
    table = np.zeros((len(CLASSES), len(CLASSES)), dtype=int)
    np.add.at(table, (trials.label, _guess(trials)), 1)
    return [[int(x) for x in row] for row in table]


def _objects(trials: Trials) -> int:
    return len(np.unique(trials.object))


def _guess(trials: Trials) -> NDArray[np.intp]:
    return trials.probabilities.argmax(axis=1)


def _dz(trials: Trials) -> FloatArray:
    return (trials.z - trials.redshift) / (1.0 + trials.redshift)


def _within(trials: Trials, sigmas: float) -> NDArray[np.bool_]:
    return np.asarray(np.abs(trials.z - trials.redshift) <= sigmas * trials.z_err)


def _three_way_balanced(trials: Trials) -> float:
    right = three_way(trials.probabilities, trials.label)
    group = GROUP_OF_CLASS[trials.label]
    return float(np.mean([right[group == g].mean() for g in np.unique(group)]))


def _in_set(trials: Trials) -> NDArray[np.bool_]:
    return trials.in_set[np.arange(len(trials)), trials.label]


def _calibration_error(trials: Trials) -> float:
    """Expected calibration error of the top class, 15 bins (Guo et al. 2017)."""
    top = trials.probabilities.max(axis=1)
    right = _guess(trials) == trials.label
    bins = np.minimum((top * 15).astype(int), 14)
    error = 0.0
    for index in np.unique(bins):
        mine = bins == index
        error += mine.mean() * abs(right[mine].mean() - top[mine].mean())
    return float(error)


def _figure(trials: Trials, score: Callable[[Trials], float]) -> list[float] | None:
    """A value with its 95 % interval over objects; None where there is nothing to count."""
    value = score(trials) if len(trials) else float("nan")
    if np.isnan(value):
        # None, not NaN: the card is JSON.
        return None
    low, high = bootstrap_interval(lambda rows: score(trials.take(rows)), trials.object)
    return [round(float(x), 5) for x in (value, low, high)]


def _rate(trials: Trials, hit: Callable[[Trials], NDArray[np.bool_]]) -> list[float] | None:
    """A share of spectra with its interval; of none or all, that of so few objects."""
    figure = _figure(trials, lambda t: float(np.mean(hit(t))))
    if figure is None or figure[1] != figure[2] or figure[0] not in (0.0, 1.0):
        return figure
    # Resampling knows no spread here; so many objects without an exception do.
    reach = round(1.0 - 0.025 ** (1.0 / _objects(trials)), 5)
    return [0.0, 0.0, reach] if figure[0] == 0.0 else [1.0, round(1.0 - reach, 5), 1.0]
