"""Figures in parts: by SNR, phase, class and subtype; curves and tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.archive.labels import CLASSES, IA_SUBTYPES
from training.evaluation.detection import reliability, roc
from training.evaluation.intervals import Figure
from training.evaluation.measure import nmad
from training.evaluation.report import (
    IA,
    Sample,
    confusion_cells,
    f1_scores,
    subtype_known,
)
from training.evaluation.trials import Trials

SNR_BINS = ((4.0, 8.0), (8.0, 15.0), (15.0, 40.0))
PHASE_BINS = ((-20.0, -5.0), (-5.0, 5.0), (5.0, 15.0), (15.0, 30.0), (30.0, 100.0))


def by_snr(trials: Trials) -> dict[str, Any]:
    """A few figures of the supernovae in ranges of the signal-to-noise ratio."""
    return {
        f"{low:g}-{high:g}": _few(
            trials.take(np.flatnonzero((trials.snr >= low) & (trials.snr < high)))
        )
        for low, high in SNR_BINS
    }


def by_phase(trials: Trials) -> dict[str, Any]:
    """A few figures of the supernovae in ranges of the true phase, in days."""
    return {
        f"{low:g} to {high:g}": _few(
            trials.take(np.flatnonzero((trials.phase >= low) & (trials.phase < high)))
        )
        for low, high in PHASE_BINS
    }


def by_class(trials: Trials) -> dict[str, Any]:
    """Recall, precision and F1 of each class, its prediction sets, its numbers."""
    sample = Sample(trials)
    draws, rows = sample.draws, np.arange(len(trials))
    f1 = f1_scores(draws.sums(confusion_cells(sample)))
    given = np.isfinite(trials.in_class_set).all(axis=1)
    answer: dict[str, Any] = {}
    for index, name in enumerate(CLASSES):
        mine = trials.label == index
        if not mine.any():
            continue
        called = sample.guess == index
        answer[name] = {
            "n_spectra": int(mine.sum()),
            "n_objects": draws.objects_in(mine),
            "recall": draws.rate(called, mine),
            "precision": draws.rate(mine, called),
            "f1": draws.figure(f1[:, index]),
            "set_coverage": draws.rate(trials.in_set[rows, trials.label], mine),
            "set_size": draws.mean(trials.in_set.sum(axis=1), mine),
            "class_set_coverage": draws.rate(
                trials.in_class_set[rows, trials.label] > 0, mine & given
            ),
            "class_set_size": draws.mean(trials.in_class_set.sum(axis=1), mine & given),
        }
    return answer


def confusion(trials: Trials) -> list[list[int]]:
    """Spectra by true class (rows) and answered class (columns)."""
    table = confusion_cells(Sample(trials)).sum(axis=0)
    return [[int(x) for x in row] for row in table]


def subtypes(trials: Trials) -> dict[str, Any] | None:
    """The second level of SN Ia: confusion, recall and precision; None without answers."""
    part = trials.take(np.flatnonzero(subtype_known(trials)))
    if not len(part):
        return None
    n = len(IA_SUBTYPES)
    guess = part.subtype_probabilities.argmax(axis=1)
    table = np.zeros((n, n))
    np.add.at(table, (part.subtype, guess), 1.0)
    draws = Sample(part).draws
    return {
        "confusion": [[int(x) for x in row] for row in table],
        "by_subtype": {
            name: {
                "n_spectra": int(table[i].sum()),
                "n_objects": draws.objects_in(part.subtype == i),
                "recall": draws.rate(guess == i, part.subtype == i),
                "precision": draws.rate(part.subtype == i, guess == i),
            }
            for i, name in enumerate(IA_SUBTYPES)
        },
    }


def curves(trials: Trials) -> dict[str, Any]:
    """ROC of Ia against the rest and against other supernovae; reliability diagrams."""
    sample = Sample(trials)
    score = trials.probabilities[:, IA]
    answer: dict[str, Any] = {
        "reliability": reliability(trials.probabilities.max(axis=1), sample.guess == trials.label),
        "reliability_ia": reliability(score, sample.ia),
    }
    for name, against in (("roc", ~sample.ia), ("roc_supernovae", sample.other_supernovae)):
        both = sample.ia.any() and against.any()
        answer[name] = roc(score[sample.ia], score[against]) if both else None
    return answer


def _few(trials: Trials) -> dict[str, Any]:
    """The figures that are given in parts, over supernovae of the three-way question."""
    sample = Sample(trials.take(np.flatnonzero(Sample(trials).grouped)))
    part, draws, dz = sample.trials, sample.draws, sample.dz
    few: dict[str, Figure] = {
        "three_way_accuracy": draws.rate(sample.group_right, sample.every),
        "ia_recall": draws.rate(sample.guess == IA, sample.ia),
        "redshift_rms": draws.root_mean_square(dz, sample.every),
        "redshift_rms_ia": draws.root_mean_square(dz, sample.ia),
        "redshift_nmad": draws.of_rows(lambda rows: nmad(dz[rows]), sample.every),
        "redshift_within_68": sample.coverage(part.z68, part.redshift, sample.every),
        "phase_rms_days": draws.root_mean_square(part.days - part.phase, sample.phased),
    }
    return {"n_spectra": len(part), "n_objects": draws.count, **few}
