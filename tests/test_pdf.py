"""Numbers from binned distributions, against Gaussians and mixtures known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from specinfer.pdf import (
    CLEAR_MODE,
    MODE_HALF_WIDTH,
    central_interval,
    central_mass,
    highest_density_mass,
    is_clear,
    log_odds,
    logistic,
    mean_and_sigma,
    modes,
    point_estimate,
    quantile,
    quantiles,
    softmax,
)

FloatArray = NDArray[np.float64]
STEP = 0.0025
GRID = -0.005 + STEP * np.arange(640)


def gaussian(centre: float, sigma: float) -> FloatArray:
    """The exact probability of a Gaussian in every bin."""
    edges = np.append(GRID - 0.5 * STEP, GRID[-1] + 0.5 * STEP)
    below = np.array([0.5 * math.erf((e - centre) / sigma / math.sqrt(2.0)) for e in edges])
    p = np.diff(below)
    return p / p.sum()


# --- softmax -------------------------------------------------------------------------


def test_softmax_is_the_definition() -> None:
    logits = np.log([[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]])
    np.testing.assert_allclose(softmax(logits), [[0.125, 0.25, 0.625], [0.375, 0.375, 0.25]])


def test_softmax_temperature_divides_the_logits() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
    p = softmax(logits, 2.5)
    assert p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=-1), 1.0)
    ratio = np.log(p[:, 0] / p[:, 1])
    np.testing.assert_allclose(ratio, (logits[:, 0] - logits[:, 1]) / 2.5, rtol=1e-6)


def test_log_odds_are_those_of_the_probabilities() -> None:
    logits = np.random.default_rng(2).normal(size=(3, 2, 6))
    p = softmax(logits, 1.7)[..., 4]
    np.testing.assert_allclose(log_odds(logits, 4, 1.7), np.log(p / (1.0 - p)), rtol=1e-9)
    # Where p rounds to 1, its log-odds are still known.
    np.testing.assert_allclose(log_odds([900.0, 0.0, 0.0], 0), 900.0 - np.log(2.0))
    np.testing.assert_allclose(log_odds([900.0, 0.0, 0.0], 1), -900.0)


def test_softmax_of_huge_logits_is_finite() -> None:
    np.testing.assert_allclose(softmax([1e4, 1e4, -1e4]), [0.5, 0.5, 0.0])
    np.testing.assert_allclose(softmax([-1e30, 0.0]), [0.0, 1.0])


def test_softmax_ignores_a_constant() -> None:
    logits = np.random.default_rng(1).normal(size=(2, 5))
    np.testing.assert_allclose(softmax(logits + 123.0), softmax(logits))


# --- moments -------------------------------------------------------------------------


@pytest.mark.parametrize("centre", [0.4, 0.5013, 1.2])
@pytest.mark.parametrize("sigma", [0.004, 0.02, 0.06])
def test_moments_of_a_gaussian(centre: float, sigma: float) -> None:
    mean, spread = mean_and_sigma(gaussian(centre, sigma), GRID)
    assert float(mean) == pytest.approx(centre, abs=0.02 * STEP)
    # The bins themselves add step^2 / 12 (Sheppard).
    assert float(spread) == pytest.approx(math.hypot(sigma, STEP / math.sqrt(12.0)), rel=1e-3)


def test_moments_of_a_mixture() -> None:
    p = 0.3 * gaussian(0.2, 0.02) + 0.7 * gaussian(0.6, 0.05)
    mean, spread = mean_and_sigma(p, GRID)
    expected = 0.3 * 0.2 + 0.7 * 0.6
    variance = 0.3 * (0.02**2 + 0.2**2) + 0.7 * (0.05**2 + 0.6**2) - expected**2
    assert float(mean) == pytest.approx(expected, abs=1e-5)
    assert float(spread) == pytest.approx(math.sqrt(variance), rel=1e-3)


def test_a_single_bin_has_the_least_error() -> None:
    p = np.zeros(GRID.size)
    p[123] = 1.0
    mean, spread = mean_and_sigma(p, GRID)
    assert float(mean) == pytest.approx(GRID[123])
    assert float(spread) == pytest.approx(0.25 * STEP)
    value, sigma = point_estimate(p, GRID)
    assert float(value) == pytest.approx(GRID[123])
    assert 0.25 * STEP <= float(sigma) <= 0.5 * STEP


def test_logistic_is_the_definition_and_does_not_overflow() -> None:
    x = np.linspace(-20.0, 20.0, 41)
    np.testing.assert_allclose(logistic(x), 1.0 / (1.0 + np.exp(-x)), rtol=1e-6, atol=1e-15)
    assert logistic([-1e4, 1e4]).tolist() == [0.0, 1.0]


# --- quantiles -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("q", "sigmas"), [(0.022750, -2.0), (0.158655, -1.0), (0.5, 0.0), (0.841345, 1.0)]
)
@pytest.mark.parametrize("sigma", [0.005, 0.03])
def test_quantiles_of_a_gaussian(q: float, sigmas: float, sigma: float) -> None:
    value = float(quantile(gaussian(0.4, sigma), GRID, q))
    # Linear inside bins, which are up to half a sigma wide.
    assert value == pytest.approx(0.4 + sigmas * sigma, abs=0.15 * STEP)


def test_quantiles_of_a_uniform_distribution() -> None:
    p = np.full(GRID.size, 1.0 / GRID.size)
    low, high = GRID[0] - 0.5 * STEP, GRID[-1] + 0.5 * STEP
    for q in (0.0, 0.1, 0.25, 0.9, 1.0):
        assert float(quantile(p, GRID, q)) == pytest.approx(low + q * (high - low), abs=1e-9)


def test_quantiles_rise() -> None:
    p = softmax(np.random.default_rng(2).normal(size=(5, GRID.size)) * 4.0)
    values = np.array([quantile(p, GRID, q) for q in np.linspace(0.0, 1.0, 41)])
    assert values.shape == (41, 5)
    assert np.all(np.diff(values, axis=0) >= 0)


def test_several_quantiles_are_each_of_them() -> None:
    p = np.stack([[gaussian(0.3, 0.01), gaussian(0.7, 0.2)], [gaussian(0.1, 0.05)] * 2])
    made = quantiles(p, GRID, (0.1, 0.5, 0.84))
    assert made.shape == (2, 2, 3)
    for place, level in enumerate((0.1, 0.5, 0.84)):
        np.testing.assert_array_equal(made[..., place], quantile(p, GRID, level))


# --- modes ---------------------------------------------------------------------------


def test_modes_of_a_mixture() -> None:
    p = 0.2 * gaussian(0.8, 0.005) + 0.5 * gaussian(0.1, 0.006) + 0.3 * gaussian(0.45, 0.004)
    found = modes(p, GRID)
    np.testing.assert_allclose(found.centre, [0.1, 0.45, 0.8], atol=0.1 * STEP)
    np.testing.assert_allclose(found.mass, [0.5, 0.3, 0.2], atol=1e-3)


def test_one_gaussian_is_one_mode() -> None:
    found = modes(gaussian(0.3, 0.008), GRID)
    assert found.centre[0] == pytest.approx(0.3, abs=0.05 * STEP)
    assert found.mass[0] > 0.999
    assert np.all(found.mass[1:] < 1e-3)
    assert np.all(found.mass >= 0)


def test_a_broad_mode_beats_a_high_peak_of_less_mass() -> None:
    """The heaviest window counts, not the highest bin."""
    p = 0.35 * gaussian(0.2, 0.0008) + 0.65 * gaussian(0.7, 0.012)
    assert GRID[p.argmax()] == pytest.approx(0.2, abs=STEP)
    assert modes(p, GRID).centre[0] == pytest.approx(0.7, abs=0.2 * STEP)


def test_modes_at_the_ends_of_the_grid() -> None:
    p = np.zeros(GRID.size)
    p[0], p[-1] = 0.6, 0.4
    found = modes(p, GRID, count=2)
    np.testing.assert_allclose(found.centre, [GRID[0], GRID[-1]])
    np.testing.assert_allclose(found.mass, [0.6, 0.4])


def test_modes_of_a_row_are_those_of_the_row_alone() -> None:
    p = np.stack([0.6 * gaussian(0.3, 0.01) + 0.4 * gaussian(0.7, 0.03), gaussian(1.58, 0.02)])
    both = modes(p, GRID, count=3)
    for row in range(2):
        alone = modes(p[row], GRID, count=3)
        np.testing.assert_array_equal(both.centre[row], alone.centre)
        np.testing.assert_array_equal(both.mass[row], alone.mass)


def test_fewer_modes_are_the_first_of_more() -> None:
    p = 0.6 * gaussian(0.3, 0.01) + 0.4 * gaussian(0.7, 0.03)
    np.testing.assert_array_equal(modes(p, GRID, 1).centre, modes(p, GRID, 4).centre[:1])


def test_masses_of_many_modes_sum_to_at_most_one() -> None:
    p = softmax(np.random.default_rng(3).normal(size=(20, GRID.size)) * 3.0)
    found = modes(p, GRID, count=5)
    assert found.centre.shape == found.mass.shape == (20, 5)
    assert np.all(found.mass >= 0)
    assert np.all(found.mass.sum(axis=-1) <= 1.0 + 1e-12)
    assert np.all((found.centre >= GRID[0]) & (found.centre <= GRID[-1]))


# --- point estimates -----------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.002, 0.006, 0.02, 0.05])
def test_point_estimate_of_a_gaussian(sigma: float) -> None:
    value, error = point_estimate(gaussian(0.3137, sigma), GRID)
    # The window of a mode starts and ends on whole bins.
    assert float(value) == pytest.approx(0.3137, abs=max(0.1 * STEP, 0.03 * sigma))
    assert float(error) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("share", [0.0, 0.18, 0.25, 0.45])
def test_a_second_mode_does_not_move_the_answer(share: float) -> None:
    """The answer lies inside the heavier mode, the error reaches the other one."""
    p = (1.0 - share) * gaussian(0.2, 0.004) + share * gaussian(0.9, 0.004)
    value, error = point_estimate(p, GRID)
    # The median of p is the quantile 0.5 / (1 - share) of the mode: up to 1.35 sigma.
    assert float(value) == pytest.approx(0.2, abs=0.1 * STEP + 1.4 * 0.004 * (share > 0))
    # The error covers the second mode as soon as that holds more than the upper 16 %.
    assert (float(error) > 0.3) == (share > 0.16)
    assert bool(is_clear(modes(p, GRID, count=1))) == (1.0 - share >= CLEAR_MODE)


def test_the_answer_has_the_least_expected_error() -> None:
    rng = np.random.default_rng(6)
    p = 0.6 * gaussian(0.1, 0.01) + 0.4 * gaussian(0.7, 0.01)
    truth = rng.choice(GRID, 4000, p=p)
    value = float(point_estimate(p, GRID)[0])
    for other in (float(p @ GRID), 0.7):
        assert np.mean(np.abs(truth - value)) < np.mean(np.abs(truth - other))


def test_rows_of_a_batch_do_not_touch() -> None:
    p = softmax(np.random.default_rng(4).normal(size=(6, GRID.size)) * 5.0)
    together = [*point_estimate(p, GRID), *mean_and_sigma(p, GRID), quantile(p, GRID, 0.3)]
    for row in range(6):
        alone = [
            *point_estimate(p[row], GRID),
            *mean_and_sigma(p[row], GRID),
            quantile(p[row], GRID, 0.3),
        ]
        np.testing.assert_allclose([part[row] for part in together], alone, rtol=1e-12)


def test_intervals_of_drawn_truths_cover_as_stated() -> None:
    """Truths drawn from p(z) lie within one stated sigma as often as they should."""
    rng = np.random.default_rng(5)
    inside = []
    for _ in range(400):
        centre, sigma = rng.uniform(0.15, 1.2), rng.uniform(0.004, 0.04)
        truth = rng.normal(centre, sigma)
        value, error = point_estimate(gaussian(centre, sigma), GRID)
        inside.append(abs(truth - value) <= error)
    assert np.mean(inside) == pytest.approx(0.683, abs=0.07)


def test_a_mode_is_as_wide_as_documented() -> None:
    p = np.zeros(GRID.size)
    near = round(MODE_HALF_WIDTH / STEP)
    p[200], p[200 + 2 * near + 5] = 0.6, 0.4
    assert modes(p, GRID).mass[0] == pytest.approx(0.6)
    p[200 + 2 * near + 5], p[200 + near - 2] = 0.0, 0.4
    assert modes(p, GRID).mass[0] == pytest.approx(1.0)


# --- intervals and regions -----------------------------------------------------------


def phi(x: float) -> float:
    return 0.5 * (1.0 + math.erf(x / math.sqrt(2.0)))


@pytest.mark.parametrize(("mass", "sigmas"), [(0.682689, 1.0), (0.954500, 2.0), (0.5, 0.67449)])
@pytest.mark.parametrize("sigma", [0.004, 0.02])
def test_central_interval_of_a_gaussian(mass: float, sigmas: float, sigma: float) -> None:
    low, high = central_interval(gaussian(0.4, sigma), GRID, mass)
    assert low == pytest.approx(0.4 - sigmas * sigma, abs=0.15 * STEP)
    assert high == pytest.approx(0.4 + sigmas * sigma, abs=0.15 * STEP)


def test_central_interval_spans_two_modes_and_works_by_row() -> None:
    both = 0.5 * gaussian(0.2, 0.01) + 0.5 * gaussian(0.9, 0.01)
    rows = np.stack([[gaussian(0.4, 0.01), both], [gaussian(0.7, 0.03), gaussian(0.1, 0.02)]])
    low, high = central_interval(rows, GRID, 0.68)
    assert low.shape == high.shape == (2, 2)
    for i in range(2):
        for j in range(2):
            alone = central_interval(rows[i, j], GRID, 0.68)
            assert (low[i, j], high[i, j]) == (alone.low, alone.high)
    # 16 % of all is 32 % of the first mode: 0.4677 sigma below its middle.
    assert low[0, 1] == pytest.approx(0.2 - 0.01 * 0.4677, abs=0.1 * STEP)
    assert high[0, 1] == pytest.approx(0.9 + 0.01 * 0.4677, abs=0.1 * STEP)


def test_central_interval_inside_one_bin() -> None:
    p = np.zeros(GRID.size)
    p[100] = 1.0
    low, high = central_interval(p, GRID, 0.68)
    assert high - low == pytest.approx(0.68 * STEP)
    assert low + high == pytest.approx(2 * GRID[100])


def test_central_mass_undoes_the_interval() -> None:
    rows = np.stack([gaussian(0.4, 0.013), 0.3 * gaussian(0.2, 0.01) + 0.7 * gaussian(0.9, 0.02)])
    for mass in (0.1, 0.68, 0.95):
        for end in central_interval(rows, GRID, mass):
            np.testing.assert_allclose(central_mass(rows, GRID, end), mass, atol=1e-9)
    np.testing.assert_allclose(central_mass(rows, GRID, quantile(rows, GRID, 0.5)), 0, atol=1e-9)
    np.testing.assert_allclose(central_mass(rows, GRID, [-3.0, 99.0]), 1.0, atol=1e-9)


@pytest.mark.parametrize("distance", [0.3, 1.0, 2.0, 3.0])
def test_highest_density_mass_of_a_gaussian(distance: float) -> None:
    """The region that reaches as far as x is the central interval of |x|."""
    p = gaussian(0.4, 0.02)
    expected = 2.0 * phi(distance) - 1.0
    for sign in (-1, 1):
        found = highest_density_mass(p, GRID, 0.4 + sign * distance * 0.02)
        assert found == pytest.approx(expected, abs=0.005)
    assert highest_density_mass(p, GRID, 0.4) < 0.01


def test_highest_density_mass_between_two_modes() -> None:
    """The valley between two modes is excluded, though both central tails are beyond it."""
    p = 0.6 * gaussian(0.2, 0.02) + 0.4 * gaussian(0.9, 0.02)
    assert highest_density_mass(p, GRID, 0.55) == pytest.approx(1.0, abs=1e-6)
    assert central_mass(p, GRID, 0.55) < 0.3
    # At the top of the lesser mode only that part of the higher one is denser whose
    # density is more than 4/6 of its top.
    reach = math.sqrt(-2.0 * math.log(4.0 / 6.0))
    expected = 0.6 * (2.0 * phi(reach) - 1.0)
    assert highest_density_mass(p, GRID, 0.9) == pytest.approx(expected, abs=0.01)


def test_highest_density_mass_of_one_bin_is_no_contradiction() -> None:
    p = np.zeros(GRID.size)
    p[100] = 1.0
    assert highest_density_mass(p, GRID, GRID[100]) == 0.0
    assert highest_density_mass(p, GRID, GRID[100] + 0.5 * STEP) == pytest.approx(0.75)
    assert highest_density_mass(p, GRID, GRID[102]) == 1.0


def test_highest_density_mass_at_and_beyond_the_ends() -> None:
    flat = np.full(GRID.size, 1.0 / GRID.size)
    rows = np.stack([flat, flat, gaussian(GRID[0], 0.01)])
    values = [GRID[0] - 0.6 * STEP, GRID[-1] + 0.6 * STEP, GRID[0] - 0.4 * STEP]
    np.testing.assert_allclose(highest_density_mass(rows, GRID, values), [1, 1, 0], atol=0.02)


def test_highest_density_mass_is_calibrated() -> None:
    """Values drawn from a bimodal p lie in regions of mass q in a share q of all cases."""
    rng = np.random.default_rng(3)
    p = 0.35 * gaussian(0.2, 0.015) + 0.65 * gaussian(0.5, 0.05)
    first = rng.random(4000) < 0.35
    drawn = np.where(first, rng.normal(0.2, 0.015, 4000), rng.normal(0.5, 0.05, 4000))
    mass = highest_density_mass(np.broadcast_to(p, (4000, p.size)), GRID, drawn)
    for q in (0.3, 0.68, 0.95):
        assert np.mean(mass <= q) == pytest.approx(q, abs=0.025)
    central = central_mass(np.broadcast_to(p, (4000, p.size)), GRID, drawn)
    for q in (0.3, 0.68, 0.95):
        assert np.mean(central <= q) == pytest.approx(q, abs=0.025)
