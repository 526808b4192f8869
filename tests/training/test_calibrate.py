"""Temperatures and prediction sets: what is known beforehand is found again."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="the command loads a PyTorch run (extra 'train')")
pytest.importorskip("pyarrow", reason="the command loads the library (extra 'train')")

from specinfer.models import Bins
from specinfer.pdf import central_mass, softmax
from training.fits import (
    binned_nll,
    class_nll,
    decision_threshold,
    fit_temperature,
    levels,
    set_threshold,
    weighted_quantile,
)


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


def test_weights_of_the_losses_count_rows_again() -> None:
    rng = np.random.default_rng(4)
    logits, label = rng.normal(size=(30, 4)), rng.integers(0, 4, 30)
    weight = rng.integers(1, 4, 30).astype(float)
    again = np.repeat(np.arange(30), weight.astype(int))
    assert class_nll(logits, label, 1.3, weight) == pytest.approx(
        class_nll(logits[again], label[again], 1.3)
    )
    p, values, bins = softmax(logits), rng.uniform(0.0, 3.0, 30), Bins(0.0, 1.0, 4)
    assert binned_nll(p, values, bins, weight) == pytest.approx(
        binned_nll(p[again], values[again], bins)
    )


def test_weighted_quantile() -> None:
    values = np.array([3.0, 1.0, 2.0])
    assert weighted_quantile(values, np.ones(3), 0.33) == 1.0
    assert weighted_quantile(values, np.ones(3), 0.66) == 2.0
    assert weighted_quantile(values, np.array([8.0, 1.0, 1.0]), 0.3) == 3.0
    assert weighted_quantile(values, np.ones(3), 1.0) == 3.0


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_levels_cover_what_they_should_however_wrong_the_width(width: float) -> None:
    rng = np.random.default_rng(5)
    bins = Bins(-8.0, 0.05, 320)
    p = np.exp(-0.5 * (bins.centres / width) ** 2)[None, :].repeat(4000, axis=0)
    p /= p.sum(axis=1, keepdims=True)
    mass = central_mass(p, bins.centres, rng.normal(size=4000))
    found = levels(mass[:2000], np.ones(2000))
    for name, share in (("68", 0.6827), ("95", 0.9545)):
        assert np.mean(mass[2000:] <= found[name]) == pytest.approx(share, abs=0.03)
    if width == 1.0:
        assert found["68"] == pytest.approx(0.6827, abs=0.03)


def test_decision_threshold_keeps_the_rate_of_false_positives() -> None:
    rng = np.random.default_rng(6)
    right = rng.random(20000) < 0.6
    p = np.where(right, rng.beta(8, 1, 20000), rng.beta(1, 5, 20000))
    weight = rng.uniform(0.5, 2.0, 20000)
    threshold = decision_threshold(p, right, weight, 0.005)
    passed = p >= threshold
    rate = weight[passed & ~right].sum() / weight[~right].sum()
    assert rate <= 0.005
    assert rate == pytest.approx(0.005, abs=5e-4)


def test_no_decision_below_one_half() -> None:
    p, right = np.array([0.9, 0.2, 0.1]), np.array([True, False, False])
    assert decision_threshold(p, right, np.ones(3), 0.5) == 0.5
    assert decision_threshold(p, right, np.ones(3), 1.0) == 0.5
