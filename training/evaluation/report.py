"""Figures of trials, each with its 95 % interval over objects.

Redshift figures are over the supernovae of the three-way question, with
dz = (z - z_true) / (1 + z_true). Figures of what the network does not say are None.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.archive.labels import CLASSES, PHASE_CLASSES
from training.evaluation.detection import auc, calibration_error, recall_at, reliability_sums
from training.evaluation.intervals import Figure, Resampler, divide
from training.evaluation.measure import GROUP_OF_CLASS, nmad, rms, three_way
from training.evaluation.trials import Targets, Trials

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

IA = CLASSES.index("SN Ia")
SUPERNOVAE = np.array([name.startswith(("SN ", "SLSN")) for name in CLASSES])
# SNIascore's published operating point (Fremling et al. 2021, ApJL 917, L2).
FALSE_POSITIVES = 0.006
# Classes with fewer test objects than this tell little of a recall.
MANY_OBJECTS = 5
_OUTLIER = 0.02
# Phases that the head can answer lie within -20 to 100 days: middle and half width.
_PHASES = (40.0, 60.0)


@dataclass(frozen=True)
class Sample:
    """Trials with their resampler and what all figures share; masks are (n,)."""

    trials: Trials

    @cached_property
    def draws(self) -> Resampler:
        """The bootstrap over the trials' objects."""
        return Resampler(self.trials.object)

    @cached_property
    def every(self) -> BoolArray:
        """All rows."""
        return np.ones(len(self.trials), dtype=np.bool_)

    @cached_property
    def guess(self) -> NDArray[np.intp]:
        """The answered class."""
        return np.asarray(self.trials.probabilities.argmax(axis=1))

    @cached_property
    def grouped(self) -> BoolArray:
        """Supernovae of the three-way question."""
        return np.asarray(GROUP_OF_CLASS[self.trials.label] >= 0)

    @cached_property
    def ia(self) -> BoolArray:
        """SNe Ia."""
        return np.asarray(self.trials.label == IA)

    @cached_property
    def core_collapse(self) -> BoolArray:
        """Stripped and hydrogen-rich supernovae."""
        return self.grouped & ~self.ia

    @cached_property
    def other_supernovae(self) -> BoolArray:
        """All supernovae but Ia, superluminous ones among them."""
        return np.asarray(SUPERNOVAE[self.trials.label]) & ~self.ia

    @cached_property
    def group_right(self) -> BoolArray:
        """Where the three-way question is answered right."""
        right = np.zeros(len(self.trials), dtype=np.bool_)
        right[self.grouped] = three_way(self.trials.probabilities, self.trials.label)
        return right

    @cached_property
    def dz(self) -> FloatArray:
        """Relative error of the redshift."""
        return (self.trials.z - self.trials.redshift) / (1.0 + self.trials.redshift)

    @cached_property
    def phased(self) -> BoolArray:
        """Where a phase that the head can answer is known, and answered."""
        phase, days = self.trials.phase, self.trials.days
        return np.isfinite(days) & (np.abs(phase - _PHASES[0]) <= _PHASES[1])

    def coverage(self, interval: FloatArray, value: FloatArray, use: BoolArray) -> Figure:
        """Share of the rows in `use` whose interval holds the value; None without intervals."""
        with np.errstate(invalid="ignore"):
            inside = (interval[:, 0] <= value) & (value <= interval[:, 1])
        return self.draws.rate(inside, use & np.isfinite(interval[:, 0]))


def figures(trials: Trials, decision: dict[str, Any] | None = None) -> dict[str, Any]:
    """All figures of a set of trials.

    Parameters
    ----------
    trials : Trials
    decision : dict, optional
        The card's decision for SN Ia, with its threshold.

    Returns
    -------
    dict
        Counts ``n_spectra``, ``n_objects``, ``left_out``, and figures as
        ``[value, low, high]`` with a 95 % interval from resampling objects; None where
        there is nothing to count.
    """
    sample = Sample(trials)
    counts = {
        "n_spectra": len(trials),
        "n_objects": sample.draws.count,
        "left_out": trials.left_out,
        "n_supernova_spectra": int(sample.grouped.sum()),
        "n_supernova_objects": sample.draws.objects_in(sample.grouped),
    }
    return {
        **counts,
        **_classes(sample),
        **_ia(sample, decision),
        **_redshifts(sample),
        **_phases(sample),
        **_trust(sample),
    }


def confusion_cells(sample: Sample) -> NDArray[np.float32]:
    """A 1 for each spectrum, in the row of its class and the column of the answer.

    Returns
    -------
    ndarray, shape (n, n_classes, n_classes)
    """
    n = len(CLASSES)
    cells = np.zeros((len(sample.trials), n, n), dtype=np.float32)
    cells[np.arange(len(cells)), sample.trials.label, sample.guess] = 1.0
    return cells


def recalls(table: FloatArray) -> FloatArray:
    """Recall of each class from confusion tables, shape (..., n_classes); NaN where absent."""
    return divide(np.diagonal(table, axis1=-2, axis2=-1), table.sum(axis=-1))


def f1_scores(table: FloatArray) -> FloatArray:
    """F1 of each class: the harmonic mean of recall and precision."""
    both = table.sum(axis=-1) + table.sum(axis=-2)
    return divide(2.0 * np.diagonal(table, axis1=-2, axis2=-1), both)


def many_objects(trials: Trials) -> BoolArray:
    """Which classes have enough objects among the trials, shape (n_classes,)."""
    pairs = np.unique(np.stack([trials.label.astype(str), trials.object.astype(str)]), axis=1)
    return np.bincount(pairs[0].astype(int), minlength=len(CLASSES)) >= MANY_OBJECTS


def _mean_over(scores: FloatArray, classes: BoolArray) -> FloatArray:
    """Mean over some classes, those without a score left out."""
    known = np.isfinite(scores) & classes
    return divide(np.where(known, scores, 0.0).sum(axis=-1), known.sum(axis=-1))


def _classes(sample: Sample) -> dict[str, Figure]:
    trials, draws = sample.trials, sample.draws
    present = np.bincount(trials.label, minlength=len(CLASSES)) > 0
    many = many_objects(trials)
    groups = np.eye(3)[GROUP_OF_CLASS[trials.label]] * sample.grouped[:, None]
    by_group = np.stack([groups * sample.group_right[:, None], groups], axis=1)
    table = draws.sums(confusion_cells(sample))
    group = draws.sums(by_group)
    return {
        "three_way_accuracy": draws.rate(sample.group_right, sample.grouped),
        "three_way_balanced": draws.figure(
            _mean_over(divide(group[:, 0], group[:, 1]), np.ones(3, dtype=np.bool_))
        ),
        "accuracy": draws.rate(sample.guess == trials.label, sample.every),
        "balanced_accuracy": draws.figure(_mean_over(recalls(table), present)),
        "balanced_accuracy_many": draws.figure(_mean_over(recalls(table), many)),
        "macro_f1": draws.figure(_mean_over(f1_scores(table), present)),
        "macro_f1_many": draws.figure(_mean_over(f1_scores(table), many)),
    }


def _ia(sample: Sample, decision: dict[str, Any] | None) -> dict[str, Figure]:
    """SN Ia against the rest: at the most probable class, along the ROC, as decided."""
    draws, score = sample.draws, sample.trials.probabilities[:, IA]
    called = sample.guess == IA
    ia, rest, others = sample.ia, ~sample.ia, sample.other_supernovae
    auto = sample.trials.auto > 0
    auto_known = np.isfinite(sample.trials.auto)
    threshold = None if decision is None else float(decision["threshold"])
    above = np.zeros_like(ia) if threshold is None else score >= threshold
    decided = np.full_like(ia, threshold is not None)

    def curve(against: BoolArray, what: str) -> Figure:
        if not (ia.any() and against.any()):
            return None

        def of_rows(rows: NDArray[np.intp]) -> float:
            yes, no = score[rows[ia[rows]]], score[rows[against[rows]]]
            return auc(yes, no) if what == "auc" else recall_at(yes, no, FALSE_POSITIVES)

        return draws.of_rows(of_rows, ia | against)

    return {
        "ia_recall": draws.rate(called, ia),
        "ia_false_positive_rate": draws.rate(called, sample.core_collapse),
        "ia_false_positive_rate_rest": draws.rate(called, rest),
        "ia_auc": curve(rest, "auc"),
        "ia_auc_supernovae": curve(others, "auc"),
        "ia_roc_recall": curve(rest, "recall"),
        "ia_roc_recall_supernovae": curve(others, "recall"),
        "ia_decision_recall": draws.rate(above, ia & decided),
        "ia_decision_false_positive_rate": draws.rate(above, rest & decided),
        "ia_decision_false_positive_rate_supernovae": draws.rate(above, others & decided),
        "auto_share": draws.rate(auto, auto_known),
        "auto_ia_recall": draws.rate(auto, auto_known & ia),
        "auto_false_positive_rate": draws.rate(auto, auto_known & rest),
        "auto_purity": draws.rate(ia, auto_known & auto),
    }


def constant_errors(targets: Targets) -> tuple[FloatArray, FloatArray]:
    """dz of answers that look at no pixel: the median redshift, and that of the true class.

    Both medians are those of the targets' supernovae themselves, the best constants there
    are; nobody knows the class beforehand.

    Returns
    -------
    constant, by_class : ndarray, shape (n,)
    """
    label, log1z = targets.label, np.log1p(targets.redshift)
    grouped = GROUP_OF_CLASS[label] >= 0
    constant, by_class = np.zeros_like(log1z), np.zeros_like(log1z)
    if grouped.any():
        constant = np.expm1(np.median(log1z[grouped]) - log1z)
    for name in np.unique(label):
        mine = label == name
        by_class[mine] = np.expm1(np.median(log1z[mine]) - log1z[mine])
    return constant, by_class


def _redshifts(sample: Sample) -> dict[str, Figure]:
    draws, trials, dz = sample.draws, sample.trials, sample.dz
    grouped, ia = sample.grouped, sample.ia
    constant, by_class = constant_errors(trials)
    sigma = np.abs(trials.z - trials.redshift) / trials.z_err
    given = grouped & np.isfinite(trials.z_err)
    return {
        "redshift_rms": draws.root_mean_square(dz, grouped),
        "redshift_rms_constant": draws.root_mean_square(constant, grouped),
        "redshift_rms_class_median": draws.root_mean_square(by_class, grouped),
        "redshift_rms_ia": draws.root_mean_square(dz, ia),
        "redshift_rms_class_median_ia": draws.root_mean_square(by_class, ia),
        "redshift_nmad": draws.of_rows(lambda rows: nmad(dz[rows]), grouped),
        "redshift_nmad_ia": draws.of_rows(lambda rows: nmad(dz[rows]), ia),
        "redshift_outliers": draws.rate(np.abs(dz) > _OUTLIER, grouped),
        "redshift_outliers_ia": draws.rate(np.abs(dz) > _OUTLIER, ia),
        "redshift_within_68": sample.coverage(trials.z68, trials.redshift, grouped),
        "redshift_within_95": sample.coverage(trials.z95, trials.redshift, grouped),
        "redshift_within_1_sigma": draws.rate(sigma <= 1.0, given),
        "redshift_within_2_sigma": draws.rate(sigma <= 2.0, given),
    }


def _phases(sample: Sample) -> dict[str, Figure]:
    draws, trials = sample.draws, sample.trials
    error = trials.days - trials.phase
    answer: dict[str, Figure] = {}
    for suffix, kind in (("", sample.every), ("_ia", sample.ia), ("_cc", sample.core_collapse)):
        use = sample.phased & kind
        middle = np.median(trials.phase[use]) if use.any() else 0.0
        answer |= {
            f"phase_rms_days{suffix}": draws.root_mean_square(error, use),
            f"phase_rms_constant{suffix}": draws.root_mean_square(trials.phase - middle, use),
            f"phase_nmad_days{suffix}": draws.of_rows(lambda rows: nmad(error[rows]), use),
            f"phase_within_68{suffix}": sample.coverage(trials.days68, trials.phase, use),
            f"phase_within_95{suffix}": sample.coverage(trials.days95, trials.phase, use),
        }
    with np.errstate(invalid="ignore"):
        inside = np.abs(error) <= trials.days_err
    return answer | {"phase_within_1_sigma": draws.rate(inside, sample.phased)}


def _trust(sample: Sample) -> dict[str, Figure]:
    """Prediction sets, calibration, subtypes, host light, novelty."""
    draws, trials = sample.draws, sample.trials
    rows = np.arange(len(trials))
    by_class_given = np.isfinite(trials.in_class_set).all(axis=1)
    top = trials.probabilities.max(axis=1)
    p_ia = trials.probabilities[:, IA]
    typed = subtype_known(trials)
    subtype_guess = np.nan_to_num(trials.subtype_probabilities).argmax(axis=1)
    hosted = np.isfinite(trials.host) & np.isfinite(trials.host_share)
    host_error = trials.host_share - trials.host
    transient = trials.label < len(PHASE_CLASSES)
    n = trials.subtype_probabilities.shape[1]
    subtypes = np.eye(n)[trials.subtype] * typed[:, None]
    pairs = draws.sums(
        np.stack([subtypes * (subtype_guess == trials.subtype)[:, None], subtypes], axis=1)
    )
    every = np.ones(n, dtype=np.bool_)
    return {
        "set_coverage": draws.rate(trials.in_set[rows, trials.label], sample.every),
        "set_size": draws.mean(trials.in_set.sum(axis=1), sample.every),
        "class_set_coverage": draws.rate(
            trials.in_class_set[rows, trials.label] > 0, by_class_given
        ),
        "class_set_size": draws.mean(trials.in_class_set.sum(axis=1), by_class_given),
        "calibration_error": draws.figure(
            calibration_error(draws.sums(reliability_sums(top, sample.guess == trials.label)))
        ),
        "calibration_error_ia": draws.figure(
            calibration_error(draws.sums(reliability_sums(p_ia, sample.ia)))
        ),
        "subtype_accuracy": draws.rate(subtype_guess == trials.subtype, typed),
        "subtype_balanced_accuracy": draws.figure(
            _mean_over(divide(pairs[:, 0], pairs[:, 1]), every)
        ),
        "host_share_rms": draws.root_mean_square(host_error, hosted),
        "host_share_bias": draws.mean(host_error, hosted),
        "host_flagged": draws.rate(trials.hosted > 0, transient & np.isfinite(trials.hosted)),
        "novel_false_alarms": draws.rate(trials.novel > 0, np.isfinite(trials.novel)),
    }


def subtype_known(trials: Trials) -> BoolArray:
    """SNe Ia whose subtype is known, and answered."""
    answered = np.isfinite(trials.subtype_probabilities).all(axis=1)
    return (trials.label == IA) & (trials.subtype >= 0) & answered


def baselines(targets: Targets) -> dict[str, float]:
    """What answers that look at no pixel score on the same targets.

    Always the commonest class; always the median redshift; the median redshift of the
    true class (see `constant_errors`).
    """
    group = GROUP_OF_CLASS[targets.label]
    grouped = group >= 0
    if not grouped.any():
        raise ValueError("there is no supernova of the three-way question among the targets")
    group = group[grouped]
    constant, by_class = (dz[grouped] for dz in constant_errors(targets))
    return {
        "three_way_constant": float(np.bincount(group).max() / group.size),
        "redshift_rms_constant": rms(constant),
        "redshift_rms_class_median": rms(by_class),
    }
