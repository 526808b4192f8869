"""Temperatures and prediction sets: what is known beforehand is found again."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="the command loads a PyTorch run (extra 'train')")
pytest.importorskip("pyarrow", reason="the command loads the library (extra 'train')")

from specinfer.models import Bins
from specinfer.pdf import softmax
from training.calibrate import binned_nll, class_nll, fit_temperature, set_threshold


def draw_labels(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.minimum((p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1), p.shape[1] - 1)


@pytest.mark.parametrize("truth", [0.5, 1.0, 2.3])
def test_known_class_temperature_is_recovered(truth: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0.0, 3.0, (20000, 6))
    label = draw_labels(softmax(logits, truth), rng)
    found = fit_temperature(lambda t: class_nll(logits, label, t))
    assert found == pytest.approx(truth, rel=0.03)
    assert class_nll(logits, label, found) <= class_nll(logits, label, 1.0)


@pytest.mark.parametrize("truth", [0.6, 1.0, 3.0])
def test_known_redshift_temperature_is_recovered(truth: float) -> None:
    """Gaussian p(z) whose stated variance is wrong by the temperature."""
    rng = np.random.default_rng(1)
    start, step, size, count = 0.0, 0.0025, 400, 6000
    grid = start + step * np.arange(size)
    centre, sigma = rng.uniform(0.3, 0.7, count), rng.uniform(0.01, 0.03, count)
    logits = -0.5 * ((grid - centre[:, None]) / sigma[:, None]) ** 2
    # softmax(logits / T) is a Gaussian of variance T sigma^2.
    values = rng.normal(centre, sigma * math.sqrt(truth))
    found = fit_temperature(
        lambda t: binned_nll(softmax(logits, t), values, Bins(start, step, size))
    )
    assert found == pytest.approx(truth, rel=0.05)


def test_temperatures_stay_within_their_range() -> None:
    assert fit_temperature(lambda t: t) == pytest.approx(0.2, rel=1e-3)
    assert fit_temperature(lambda t: -t) == pytest.approx(5.0, rel=1e-3)
    assert fit_temperature(lambda t: (math.log(t) - 0.4) ** 2) == pytest.approx(
        math.exp(0.4), rel=1e-3
    )


def test_class_nll_is_the_definition() -> None:
    logits = np.log([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    label = np.array([0, 2])
    assert class_nll(logits, label, 1.0) == pytest.approx(-(math.log(0.5) + math.log(0.1)) / 2)


def test_binned_nll_is_linear_between_bins_and_holds_at_the_ends() -> None:
    shares = np.array([[0.2, 0.6, 0.2]])
    at = {-0.3: 0.2, 0.0: 0.2, 0.5: 0.4, 1.0: 0.6, 1.75: 0.3, 2.0: 0.2, 7.0: 0.2}
    for value, p in at.items():
        assert binned_nll(shares, np.array([value]), Bins(0.0, 1.0, 3)) == pytest.approx(
            -math.log(p)
        )


@pytest.mark.parametrize("coverage", [0.68, 0.9, 0.99])
def test_prediction_sets_reach_their_coverage(coverage: float) -> None:
    rng = np.random.default_rng(2)
    p = softmax(rng.normal(0.0, 2.0, (40000, 8)))
    label = draw_labels(p, rng)
    half = len(p) // 2
    threshold = set_threshold(p[:half], label[:half], np.ones(half), coverage)
    score = p[np.arange(len(p)), label]
    assert np.mean(score[:half] >= threshold) == pytest.approx(coverage, abs=2 / half)
    assert np.mean(score[half:] >= threshold) == pytest.approx(coverage, abs=0.01)


def test_coverage_counts_objects_not_spectra() -> None:
    """One easy object with 900 spectra weighs as much as each of 100 hard ones."""
    p = np.concatenate([np.tile([0.99, 0.01], (900, 1)), np.tile([0.3, 0.7], (100, 1))])
    label = np.zeros(1000, dtype=int)
    weight = np.concatenate([np.full(900, 1 / 900), np.ones(100)])
    # The hard ones first: weights must follow their rows through the sorting.
    p, weight = p[::-1], weight[::-1]
    assert set_threshold(p, label, np.ones(1000), 0.85) == pytest.approx(0.99)
    assert set_threshold(p, label, weight, 0.85) == pytest.approx(0.3)
    assert set_threshold(p, label, weight, 0.009) == pytest.approx(0.99)


@pytest.mark.parametrize("n", [7, 10, 999])
def test_full_coverage_takes_the_least_score(n: int) -> None:
    p = softmax(np.random.default_rng(3).normal(size=(n, 3)))
    label = np.arange(n) % 3
    weight = np.full(n, 0.1)
    assert set_threshold(p, label, weight, 1.0) == p[np.arange(n), label].min()
