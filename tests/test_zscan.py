"""The scan: chi2 at every shift is that of a least-squares fit made the slow way."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic_families import FIRST, galaxy, observed, star

from specinfer import zwarn
from specinfer.zfind import Search, find, minima
from specinfer.zfit import fit
from specinfer.zgrid import LN_STEP, STEP, Gridded, is_spike, pixel_centres, to_grid
from specinfer.zscan import Curve, Scanner, convolve

FloatArray = NDArray[np.float64]


def brute_force(scanner: Scanner, data: Gridded, shift: int) -> float:
    """chi2 at a shift, by numpy's least squares; outside the templates the polynomial alone."""
    first, spectra = scanner.templates(data.binning, None)
    start = data.first // 64 * 64
    stop = -(-(data.first + data.flux.size) // 64) * 64
    x = np.linspace(-1, 1, stop - start)[data.first - start :][: data.flux.size]
    basis = np.polynomial.legendre.legvander(x, scanner.additive - 1).T
    pixel = data.first + np.arange(data.flux.size) - shift - first
    inside = (pixel >= 0) & (pixel < spectra.shape[1])
    shifted = np.where(inside, spectra[:, np.clip(pixel, 0, spectra.shape[1] - 1)], 0.0)
    times = x ** np.arange(1, scanner.multiplicative + 1)[:, None] * (
        scanner.family.typical @ shifted
    )
    root = np.sqrt(data.weight)

    def chi2(design: FloatArray, use: NDArray[np.bool_], penalty: FloatArray) -> float:
        rows, target = (design * root)[:, use].T, (data.flux * root)[use]
        solution = np.linalg.solve(rows.T @ rows + penalty, rows.T @ target)
        misfit = float(((rows @ solution - target) ** 2).sum())
        return misfit + float(solution @ penalty @ solution)

    everywhere = np.ones(inside.size, dtype=bool)
    null = np.zeros((len(basis), len(basis)))
    whole = np.concatenate([basis, shifted, times])
    gain = chi2(basis, inside, null) - chi2(whole, inside, scanner.penalty)
    return chi2(basis, everywhere, null) - gain


@pytest.mark.parametrize(("additive", "multiplicative"), [(1, 0), (4, 1), (3, 2)])
def test_the_scan_is_a_least_squares_fit_at_every_shift(additive: int, multiplicative: int) -> None:
    data = observed(galaxy(), (1.0, 0.3, 0.2), 0.21, 10.0, 0)
    weight = data.weight.copy()
    weight[500:600] = 0.0
    data = data._replace(weight=weight)
    scanner = Scanner(galaxy(), additive, multiplicative)
    curve = scanner.scan(data)
    shifts = np.rint(np.log1p(curve.redshift) / LN_STEP).astype(int)
    for index in (0, 100, int(curve.chi2.argmin()), 1500, len(shifts) - 1):
        assert curve.chi2[index] == pytest.approx(
            brute_force(scanner, data, int(shifts[index])), rel=2e-4
        )


def test_pixels_without_a_template_count_with_the_polynomial_alone() -> None:
    # The eigen-spectra end inside the spectrum at low redshift.
    family = galaxy(count=7000)
    data = observed(galaxy(), (1.0, 0.3, 0.2), 0.5, 8.0, 3)
    scanner = Scanner(family, 4, 1)
    curve = scanner.scan(data)
    shifts = np.rint(np.log1p(curve.redshift) / LN_STEP).astype(int)
    for index in (0, 400, 1763):
        assert curve.chi2[index] == pytest.approx(
            brute_force(scanner, data, int(shifts[index])), rel=2e-4
        )


def test_masked_pixels_do_not_matter() -> None:
    data = observed(galaxy(), (1.0, 0.3, 0.2), 0.21, 10.0, 1)
    weight = data.weight.copy()
    weight[1000:1040] = 0.0
    flux = data.flux.copy()
    flux[1000:1040] = 1e3
    scanner = Scanner(galaxy())
    clean = scanner.scan(data._replace(weight=weight))
    dirty = scanner.scan(data._replace(weight=weight, flux=flux))
    np.testing.assert_allclose(clean.chi2, dirty.chi2, rtol=1e-5)


def test_the_redshift_is_found_within_a_pixel_and_its_error_holds() -> None:
    pulls = []
    for seed in range(40):
        truth = 0.1 + 0.013 * seed
        data = observed(galaxy(), (1.0, 0.15, 0.1), truth, 6.0, seed)
        found = find(data, [Search(Scanner(galaxy())), Search(Scanner(star()))])
        best = found.fits[0]
        assert best.family == "GALAXY"
        assert best.redshift == pytest.approx(truth, abs=3e-4)
        pulls.append((best.redshift - truth) / best.redshift_err)
    # 40 draws of a Gaussian: the root mean square is 1 +- 0.11.
    assert 0.7 < np.sqrt(np.mean(np.square(pulls))) < 1.4
    assert abs(np.mean(pulls)) < 0.5


def test_twice_the_inverse_variance_halves_the_variance_of_the_redshift() -> None:
    data = observed(galaxy(), (1.0, 0.3, 0.2), 0.21, 20.0, 1)
    scanner = Scanner(galaxy())
    once = fit(scanner, data, 0.21)
    twice = fit(scanner, data._replace(weight=2 * data.weight), 0.21)
    assert twice.redshift_err == pytest.approx(once.redshift_err / np.sqrt(2), rel=0.01)
    assert twice.chi2 == pytest.approx(2 * once.chi2, rel=1e-3)


def test_no_coefficient_is_negative() -> None:
    # Absorption where the family has emission: least squares would take it.
    data = observed(galaxy(), (1.0, -0.08, -0.05), 0.3, 30.0, 2)
    made = fit(Scanner(galaxy()), data, 0.3)
    assert (made.coefficients >= 0).all()


def test_stars_and_galaxies_are_told_apart() -> None:
    searches = [Search(Scanner(galaxy())), Search(Scanner(star()))]
    found = find(observed(star(), (0.7, 0.3), 0.0003, 15.0, 4), searches)
    assert found.fits[0].family == "STAR"
    assert found.fits[0].redshift == pytest.approx(0.0003, abs=5e-5)
    assert found.lowest["GALAXY"] - found.lowest["STAR"] > 25.0
    assert found.null_chi2 > found.fits[0].chi2


def test_the_best_minima_are_apart() -> None:
    z = np.expm1(np.arange(2000) * LN_STEP)
    chi2 = 100.0 - 50 * np.exp(-0.5 * ((np.arange(2000) - 300.3) / 3) ** 2)
    chi2 -= 30 * np.exp(-0.5 * ((np.arange(2000) - 1200) / 3) ** 2)
    found = minima(Curve(z, chi2), 2)
    assert np.log1p(found[0][1]) / LN_STEP == pytest.approx(300.3, abs=0.05)
    assert np.log1p(found[1][1]) / LN_STEP == pytest.approx(1200, abs=0.05)
    assert found[0][0] == pytest.approx(50.0, abs=0.3)


def test_a_linear_copy_gives_the_same_redshift() -> None:
    truth = 0.234
    data = observed(galaxy(), (1.0, 0.3, 0.2), truth, 25.0, 7)
    wavelength = 10.0**data.centres
    linear = np.arange(wavelength[2], wavelength[-3], 1.2)
    flux = np.interp(linear, wavelength, data.flux)
    ivar = np.full(linear.size, float(data.weight[0]))
    scanner = Scanner(galaxy())
    other = fit(scanner, to_grid(linear, flux, ivar), truth)
    own = fit(scanner, to_grid(wavelength, data.flux, data.weight), truth)
    assert abs(other.redshift - own.redshift) < own.redshift_err


def test_the_grid_keeps_flux_and_information() -> None:
    wavelength = np.linspace(3700.0, 9300.0, 220)
    data = to_grid(wavelength, np.full(220, 5.0), np.full(220, 4.0))
    assert data.binning == 16
    np.testing.assert_allclose(data.flux[data.weight > 0] * data.scale, 5.0, rtol=1e-6)
    # Each pixel counts once, however finely it is cut.
    assert data.weight.sum() / data.scale**2 == pytest.approx(220 * 4.0, rel=0.1)


def test_pixels_of_sdss_stay_as_they_are() -> None:
    truth = 0.31
    data = observed(galaxy(), (1.0, 0.3, 0.2), truth, 25.0, 5)
    # The same pixels, each 0.3 of a pixel to the red: a redshift that is larger by that.
    wavelength = 10.0 ** (data.centres + 0.3 * STEP)
    other = to_grid(wavelength, data.flux, data.weight)
    np.testing.assert_allclose(other.flux * other.scale, data.flux)
    assert other.offset == pytest.approx(0.3, abs=1e-6)
    scanner = Scanner(galaxy())
    moved, own = fit(scanner, other, truth), fit(scanner, data, truth)
    assert np.log1p(moved.redshift) - np.log1p(own.redshift) == pytest.approx(
        0.3 * LN_STEP, rel=0.05
    )
    curve = scanner.scan(other)
    assert curve.redshift[curve.chi2.argmin()] == pytest.approx(truth, abs=2e-4)


def test_a_coarse_spectrum_is_scanned_with_convolved_templates() -> None:
    family = galaxy()
    truth = 0.1
    fine = observed(family, (1.0, 0.5, 0.4), truth, 1e4, 0)
    wavelength = 10.0**fine.centres
    seen = convolve(fine.flux[None], 1.0 / (100 * 2.3548 * LN_STEP))[0]
    axis = np.arange(3700.0, 9000.0, 25.6)
    rng = np.random.default_rng(0)
    flux = np.interp(axis, wavelength, seen) + rng.normal(0, 0.01, axis.size)
    data = to_grid(axis, flux, np.full(axis.size, 1e4))
    found = find(data, [Search(Scanner(family))], resolution=100.0)
    assert found.fits[0].redshift == pytest.approx(truth, abs=2e-3)


def test_pixel_centres_of_a_binning_are_the_means_of_the_fine_ones() -> None:
    fine = pixel_centres(8900, 32, 1).reshape(-1, 4).mean(axis=1)
    np.testing.assert_allclose(pixel_centres(2225, 8, 4), fine)


def test_convolution_keeps_the_sum() -> None:
    row = np.zeros((1, 300))
    row[0, 150] = 1.0
    made = convolve(row, 5.0)
    assert made.sum() == pytest.approx(1.0)
    assert made.argmax() == 150
    x = np.arange(300) - 150
    assert (made[0] * x**2).sum() == pytest.approx(25.0, rel=0.01)


def test_warnings_of_noise_and_of_a_single_line() -> None:
    searches = [Search(Scanner(galaxy())), Search(Scanner(star()))]
    rng = np.random.default_rng(0)
    noise = Gridded(FIRST, 0.0, 1, rng.normal(0, 1, 4000), np.ones(4000), 1.0)
    assert {"NO_SIGNAL"} <= set(zwarn.names(zwarn.zwarning(find(noise, searches), noise)))

    flux = 1.0 + rng.normal(0, 0.1, 4000)
    flux += 2.0 * np.exp(-0.5 * ((np.arange(4000) - 2500) / 2.0) ** 2)
    lonely = Gridded(FIRST, 0.0, 1, flux, np.full(4000, 100.0), 1.0)
    assert "SINGLE_LINE" in zwarn.names(zwarn.zwarning(find(lonely, searches), lonely))

    sure = observed(galaxy(), (1.0, 0.3, 0.2), 0.21, 10.0, 1)
    assert zwarn.zwarning(find(sure, searches), sure) == 0


def test_a_sky_line_is_no_redshift() -> None:
    rng = np.random.default_rng(0)
    flux = 1.0 + rng.normal(0, 0.1, 4000)
    pixel = np.log10(5578.9) / STEP - FIRST
    flux += 3.0 * np.exp(-0.5 * ((np.arange(4000) - pixel) / 1.5) ** 2)
    data = Gridded(FIRST, 0.0, 1, flux, np.full(4000, 100.0), 1.0)
    found = find(data, [Search(Scanner(galaxy())), Search(Scanner(star()))])
    assert "SKYLINE_DRIVEN" in zwarn.names(zwarn.zwarning(found, data))


def test_warnings_of_evidence_that_is_known_are_the_same() -> None:
    data = observed(galaxy(), (1.0, 0.3, 0.2), 0.21, 1.0, 1)
    found = find(data, [Search(Scanner(galaxy())), Search(Scanner(star()))])
    evidence = zwarn.evidence_of(found, data)
    assert evidence.gain == pytest.approx(found.null_chi2 - found.fits[0].chi2)
    for limits in (zwarn.Limits(), zwarn.Limits(gain=1e9, coverage=9.0, line_share=1e-3)):
        mask = zwarn.zwarning(found, data, limits, 50.0)
        assert zwarn.zwarning(found, data, limits, 50.0, evidence) == mask


def test_the_bits_of_redrock_keep_their_numbers() -> None:
    assert zwarn.mask("LITTLE_COVERAGE", "SMALL_DELTA_CHI2", "Z_FITLIMIT") == 2 + 4 + 32
    assert zwarn.names(2 + 4 + 32) == ("LITTLE_COVERAGE", "SMALL_DELTA_CHI2", "Z_FITLIMIT")
    assert set(zwarn.MEANINGS) == set(zwarn.BITS)


def test_a_spike_is_no_line() -> None:
    rng = np.random.default_rng(2)
    data = observed(galaxy(), (0.5, 1.0, 1.0), 0.21, 30.0, 1)
    flux, sigma = data.flux.copy(), data.weight**-0.5
    assert not is_spike(flux, data.weight).any()
    hit = np.array([300, 1200, 2500, 3700])
    flux[hit] += sigma[hit] * np.array([50.0, -40.0, 300.0, 20.0])
    np.testing.assert_array_equal(np.flatnonzero(is_spike(flux, data.weight)), hit)
    # Noise has none, a gap is none, and too few pixels say nothing.
    noise = rng.normal(size=5000)
    assert not is_spike(noise, np.ones(5000)).any()
    weight = np.ones(5000)
    weight[1000:1010] = 0.0
    noise[1000:1010] = 1e6
    assert not is_spike(noise, weight).any()
    assert not is_spike(np.array([0.0, 90.0, 0.0]), np.ones(3)).any()
    made = to_grid(10.0**data.centres, flux, data.weight)
    assert made.weight[hit].max() == 0.0


def test_the_slope_of_a_minimum_is_no_minimum() -> None:
    position = np.linspace(0.0, 0.2, 2001)
    deep = 1000.0 * (1.0 - np.exp(-0.5 * ((position - 0.05) / 0.004) ** 2))
    shallow = -100.0 * np.exp(-0.5 * ((position - 0.15) / 0.002) ** 2)
    curve = Curve(np.expm1(position), deep + shallow - 5.0 * position)
    found = minima(curve, 3)
    at = np.log1p([redshift for _, redshift in found])
    np.testing.assert_allclose(at[:2], [0.05, 0.15], atol=2e-5)
    # The curve falls towards its end.
    assert at[2] == pytest.approx(0.2, abs=2e-4)
    flat = Curve(np.expm1(position[:5]), np.array([3.0, 2.0, 2.0, 3.0, np.nan]))
    assert len(minima(flat, 3)) == 1
