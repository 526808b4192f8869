"""Scans of a window by matrix products: what the FFT gives for the same shifts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from synthetic_families import galaxy, observed, star

from specinfer import zwindow
from specinfer.zfind import Search, find
from specinfer.zfit import fit, rough
from specinfer.zgrid import LN_STEP, Gridded
from specinfer.zscan import Scanner

WINDOW = (0.208, 0.213)


def whole(data: Gridded) -> Gridded:
    return data


def masked(data: Gridded) -> Gridded:
    weight = data.weight.copy()
    weight[300:420] = 0.0
    return data._replace(weight=weight)


def three_pixels(data: Gridded) -> Gridded:
    """Fewer usable pixels than unknowns: the polynomial is collinear."""
    weight = np.zeros(data.weight.size)
    weight[[100, 900, 2000]] = data.weight[[100, 900, 2000]]
    return data._replace(weight=weight)


def apart(data: Gridded) -> Gridded:
    """No eigen-spectrum reaches the data."""
    return data._replace(first=data.first + 40_000)


@pytest.mark.parametrize("change", [whole, masked, three_pixels, apart])
@pytest.mark.parametrize(("additive", "multiplicative"), [(1, 0), (4, 1), (3, 2)])
@pytest.mark.parametrize("count", [None, 6700])
def test_a_window_has_the_chi2_of_the_whole_scan(
    change: Callable[[Gridded], Gridded], additive: int, multiplicative: int, count: int | None
) -> None:
    family = galaxy() if count is None else galaxy(count=count)
    data = change(observed(galaxy(), (1.0, 0.3, 0.2), 0.21, 10.0, 0))
    scanner = Scanner(family, additive, multiplicative)
    every, some = scanner.scan(data), scanner.scan(data, None, WINDOW)
    assert 1 < some.redshift.size <= zwindow.FEW < every.redshift.size
    start = int(np.abs(every.redshift - some.redshift[0]).argmin())
    part = slice(start, start + some.redshift.size)
    np.testing.assert_allclose(some.redshift, every.redshift[part], rtol=0, atol=1e-12)
    np.testing.assert_allclose(some.chi2, every.chi2[part], rtol=1e-8, atol=1e-8)


def test_masked_pixels_may_hold_anything() -> None:
    data = masked(observed(galaxy(), (1.0, 0.3, 0.2), 0.21, 10.0, 1))
    flux = np.where(data.weight > 0, data.flux, 1e6)
    scanner = Scanner(galaxy())
    clean = scanner.scan(data, None, WINDOW).chi2
    dirty = scanner.scan(data._replace(flux=flux), None, WINDOW).chi2
    np.testing.assert_allclose(clean, dirty, rtol=1e-8)


def test_a_window_finds_the_same_redshift_as_the_whole_scan() -> None:
    data = observed(galaxy(), (1.0, 0.3, 0.2), 0.2104, 10.0, 2)
    scanner = Scanner(galaxy())
    everywhere = find(data, [Search(scanner)]).fits[0]
    window = find(data, [Search(scanner, WINDOW)]).fits[0]
    assert window.redshift == pytest.approx(everywhere.redshift, abs=1e-9)
    assert window.redshift_err == pytest.approx(everywhere.redshift_err, rel=1e-6)
    assert window.chi2 == pytest.approx(everywhere.chi2, rel=1e-9)


@pytest.mark.parametrize("amplitude", [0.3, -0.3])
def test_a_rough_fit_is_the_first_step_of_a_fit(amplitude: float) -> None:
    data = observed(galaxy(), (1.0, amplitude, 0.2), 0.21, 10.0, 3)
    scanner = Scanner(galaxy())
    chi2, among = rough(scanner, data, 0.2101)
    made = fit(scanner, data, 0.2101, iterations=1)
    assert chi2 == pytest.approx(made.chi2, rel=1e-12)
    np.testing.assert_array_equal(among, made.coefficients > 0)


@pytest.mark.parametrize("shift", [-1.4, -0.6, 0.0, 0.3, 1.4])
def test_a_fit_does_not_depend_on_where_its_spectra_were_cut(shift: float) -> None:
    """Around another start another part of the eigen-spectra is kept."""
    data = observed(star(), (0.7, 0.3), 0.0003, 15.0, 4)
    scanner = Scanner(star())
    width = data.binning * LN_STEP
    made = fit(scanner, data, float(np.expm1(np.log1p(0.0003) + shift * width)), iterations=12)
    best = fit(scanner, data, 0.0003, iterations=12)
    assert made.redshift == pytest.approx(best.redshift, abs=2e-3 * width)
    assert made.chi2 == pytest.approx(best.chi2, abs=1e-3)


def test_models_are_zero_where_the_spectra_end() -> None:
    """Beyond the eigen-spectra the model is the polynomial."""
    family = galaxy(count=6700)
    data = observed(galaxy(), (1.0, 0.3, 0.2), 0.21, 10.0, 5)
    made = fit(Scanner(family), data, 0.21)
    end = family.first + 6700 + round(np.log1p(made.redshift) / LN_STEP) - data.first
    assert 0 < end < data.flux.size - 10
    np.testing.assert_array_equal(made.model[end + 5 :], made.continuum[end + 5 :])
    assert (made.model[: end - 5] != made.continuum[: end - 5]).any()
