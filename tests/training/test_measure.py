"""Scores on cases whose answer is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training.evaluation.measure takes a PyTorch network's outputs")
pytest.importorskip(
    "pyarrow", reason="training.evaluation.measure imports the library (extra 'train')"
)

from training.archive.labels import CLASSES
from training.evaluation.measure import (
    balanced_accuracy,
    nmad,
    relative_error,
    rms,
    three_way,
)


def label(*names: str) -> np.ndarray:
    return np.array([CLASSES.index(name) for name in names])


def probabilities(**shares: float) -> np.ndarray:
    """A row of probabilities; keywords with _ for the characters of a class name."""
    row = np.zeros(len(CLASSES))
    for key, share in shares.items():
        row[CLASSES.index({"AGN": "AGN/QSO"}.get(key, key.replace("_", " ")))] = share
    return row


def test_three_way_sums_over_the_group() -> None:
    p = np.stack(
        [
            # Ia is the likeliest class, but the stripped ones together are likelier.
            probabilities(SN_Ia=0.4, SN_Ib=0.3, SN_Ic=0.3),
            probabilities(SN_Ia=0.4, SN_Ib=0.3, SN_Ic=0.3),
            probabilities(SN_II=0.3, SN_IIn=0.3, SN_Ia=0.35, SN_IIb=0.05),
            probabilities(SN_IIb=0.6, SN_II=0.4),
        ]
    )
    right = three_way(p, label("SN Ic", "SN Ia", "SN IIn", "SN II"))
    assert right.tolist() == [True, False, True, False]


def test_three_way_leaves_other_classes_out() -> None:
    p = np.stack(
        [
            probabilities(Galaxy=1.0),
            probabilities(Galaxy=0.9, SN_Ia=0.1),
            probabilities(TDE=0.9, SN_II=0.06, SN_Ia=0.04),
        ]
    )
    # A galaxy is no part of the question; for a supernova only the three groups compete.
    assert three_way(p, label("Galaxy", "SN Ia", "SN Ia")).tolist() == [True, False]


def test_three_way_without_supernovae_is_empty() -> None:
    assert three_way(probabilities(Star=1.0)[None], label("Star")).size == 0


def test_balanced_accuracy_is_the_mean_recall() -> None:
    truth = np.array([0] * 90 + [1] * 10)
    guess = np.zeros(100, dtype=int)
    guess[95:] = 1
    assert balanced_accuracy(guess, truth) == pytest.approx(0.5 * (1.0 + 0.5))
    assert balanced_accuracy(np.full(100, 7), truth) == 0.0


def test_nmad_is_sigma_of_a_gaussian_and_ignores_outliers_and_bias() -> None:
    dz = np.random.default_rng(0).normal(0.02, 0.003, 40001)
    assert nmad(dz) == pytest.approx(0.003, rel=0.02)
    dz[:2000] = 5.0
    assert nmad(dz) == pytest.approx(0.003, rel=0.1)
    assert nmad(np.array([1.0, 2.0, 3.0, 4.0, 100.0])) == pytest.approx(1.4826)


def test_rms_keeps_the_bias() -> None:
    assert rms(np.array([3.0, -4.0])) == pytest.approx(np.sqrt(12.5))
    assert rms(np.full(9, -0.1)) == pytest.approx(0.1)


def test_relative_error_is_dz_over_1_plus_z() -> None:
    z, truth = np.array([0.11, 0.05, 2.0]), np.array([0.1, 0.05, 1.0])
    answer = relative_error(np.log1p(z), np.log1p(truth))
    np.testing.assert_allclose(answer, (z - truth) / (1.0 + truth))
