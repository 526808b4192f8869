"""`Spectrum`: what arrays become, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Column, MaskedColumn, QTable

from specinfer import Spectrum
from specinfer.errors import ReadError
from specinfer.wavelengths import air_to_vacuum

WAVELENGTH = np.linspace(4000.0, 9000.0, 501)
FLUX = 1.0 + 0.5 * np.sin(WAVELENGTH / 200.0)
SIGMA = np.linspace(0.05, 0.1, 501)
FLAM = u.Unit("erg / (s cm2 AA)")


def refused(*args: Any, **options: Any) -> ReadError:
    with pytest.raises(ReadError) as caught:
        Spectrum(*args, **options)
    # One sentence, for people.
    assert "\n" not in caught.value.message
    return caught.value


# What arrays become.


def test_arrays_and_lists() -> None:
    by_array = Spectrum(WAVELENGTH, FLUX, ivar=SIGMA**-2.0)
    by_list = Spectrum(WAVELENGTH.tolist(), FLUX.tolist(), ivar=(SIGMA**-2.0).tolist())
    by_name = Spectrum(wavelength=WAVELENGTH, flux=FLUX, sigma=SIGMA)
    for spectrum in (by_array, by_list, by_name):
        assert len(spectrum) == 501
        np.testing.assert_array_equal(spectrum.wavelength, WAVELENGTH)
        np.testing.assert_array_equal(spectrum.flux, FLUX)
        np.testing.assert_allclose(spectrum.ivar, SIGMA**-2.0, rtol=1e-14)
        np.testing.assert_allclose(spectrum.sigma_array, SIGMA, rtol=1e-14)
        assert spectrum.has_noise
        assert spectrum.good.all()
        assert all(a.dtype == np.float64 for a in (spectrum.wavelength, spectrum.flux))


def test_integers_become_floats() -> None:
    spectrum = Spectrum(np.arange(4000, 9000, 10), np.arange(500) + 1)
    assert spectrum.flux.dtype == np.float64
    assert spectrum.wavelength[1] == 4010.0


def test_unknown_noise() -> None:
    spectrum = Spectrum(WAVELENGTH, FLUX)
    assert not spectrum.has_noise
    np.testing.assert_array_equal(spectrum.ivar, 1.0)
    assert np.isnan(spectrum.sigma_array).all()


@pytest.mark.parametrize("unit", ["nm", "um", "mm", "m"])
def test_quantities(unit: str) -> None:
    wavelength = (WAVELENGTH * u.AA).to(unit)
    spectrum = Spectrum(wavelength, FLUX * FLAM, sigma=SIGMA * FLAM)
    np.testing.assert_allclose(spectrum.wavelength, WAVELENGTH, rtol=1e-14)
    np.testing.assert_allclose(spectrum.flux, FLUX)
    np.testing.assert_allclose(spectrum.sigma_array, SIGMA)
    # The Quantity's own unit wins.
    assert Spectrum(wavelength, FLUX, unit="nm").wavelength[0] == pytest.approx(4000.0)


def test_errors_are_converted_to_the_unit_of_the_flux() -> None:
    small = u.Unit("1e-17 erg / (s cm2 AA)")
    expected = SIGMA * 1e-17
    by_sigma = Spectrum(WAVELENGTH, FLUX * 1e-17 * FLAM, sigma=SIGMA * small)
    by_ivar = Spectrum(WAVELENGTH, FLUX * 1e-17 * FLAM, ivar=SIGMA**-2.0 / small**2)
    np.testing.assert_allclose(by_sigma.sigma_array, expected)
    np.testing.assert_allclose(by_ivar.sigma_array, expected)
    assert refused(WAVELENGTH, FLUX * FLAM, sigma=SIGMA * u.m).code == "unknown_unit"
    assert refused(WAVELENGTH, FLUX * FLAM, ivar=SIGMA * FLAM).code == "unknown_unit"


@pytest.mark.parametrize("unit", [u.Hz, u.s, u.dimensionless_unscaled])
def test_wavelengths_that_are_no_lengths(unit: Any) -> None:
    assert refused(WAVELENGTH * unit, FLUX).code == "unknown_unit"


@pytest.mark.parametrize("unit", [u.Jy, u.Unit("erg / (s cm2 Hz)"), u.ABmag])
def test_flux_that_is_not_per_wavelength(unit: Any) -> None:
    error = refused(WAVELENGTH, FLUX * unit)
    assert error.code == "unknown_unit"
    assert "convert" in error.message


def test_columns_of_a_table() -> None:
    """Plain columns have a unit, but are no Quantities."""
    mask = WAVELENGTH < 4200.0
    flux = MaskedColumn(FLUX, mask=mask, unit=FLAM)
    for wavelength in (Column(WAVELENGTH / 10, unit="nm"), WAVELENGTH / 10 * u.nm):
        spectrum = Spectrum(wavelength, flux)
        np.testing.assert_allclose(spectrum.wavelength, WAVELENGTH)
        np.testing.assert_array_equal(spectrum.good, ~mask)
    masked = QTable({"flux": flux})["flux"]
    np.testing.assert_array_equal(Spectrum(WAVELENGTH * u.AA, masked).good, ~mask)


def test_masked_arrays() -> None:
    bad = (WAVELENGTH > 5000.0) & (WAVELENGTH < 5100.0)
    noisy = (WAVELENGTH > 6000.0) & (WAVELENGTH < 6100.0)
    flux, sigma = np.ma.MaskedArray(FLUX, mask=bad), np.ma.MaskedArray(SIGMA, mask=noisy)
    spectrum = Spectrum(WAVELENGTH, flux, sigma=sigma)
    np.testing.assert_array_equal(spectrum.good, ~(bad | noisy))
    integers = np.ma.MaskedArray(np.arange(501), mask=bad)
    np.testing.assert_array_equal(Spectrum(WAVELENGTH, integers).good, ~bad)
    np.testing.assert_array_equal(Spectrum(WAVELENGTH, FLUX, mask=bad).good, ~bad)


def test_unusable_pixels() -> None:
    flux, ivar = FLUX.copy(), np.full(501, 4.0)
    flux[[1, 2, 3]] = np.nan, np.inf, -np.inf
    ivar[[5, 6, 7, 8]] = 0.0, -1.0, np.nan, np.inf
    mask = np.zeros(501, dtype=bool)
    mask[10] = True
    spectrum = Spectrum(WAVELENGTH, flux, ivar=ivar, mask=mask)
    expected = [1, 2, 3, 5, 6, 7, 8, 10]
    assert np.flatnonzero(~spectrum.good).tolist() == expected
    np.testing.assert_array_equal(spectrum.flux[expected], 0.0)
    np.testing.assert_array_equal(spectrum.ivar[expected], 0.0)
    assert np.isfinite(spectrum.flux).all()
    # The others are as they came.
    np.testing.assert_array_equal(spectrum.flux[spectrum.good], FLUX[spectrum.good])
    assert np.isnan(spectrum.sigma_array[expected]).all()


def test_errors_that_are_not_positive() -> None:
    sigma = SIGMA.copy()
    sigma[[1, 2, 3, 4]] = 0.0, -0.1, np.nan, np.inf
    spectrum = Spectrum(WAVELENGTH, FLUX, sigma=sigma)
    assert np.flatnonzero(~spectrum.good).tolist() == [1, 2, 3, 4]


def test_twice_the_ivar_is_half_the_variance() -> None:
    once = Spectrum(WAVELENGTH, FLUX, ivar=SIGMA**-2.0)
    twice = Spectrum(WAVELENGTH, FLUX, ivar=2.0 * SIGMA**-2.0)
    np.testing.assert_allclose(twice.sigma_array**2, once.sigma_array**2 / 2.0)
    assert twice.snr == pytest.approx(once.snr * np.sqrt(2.0))


def test_descending_wavelengths_are_turned_around() -> None:
    mask = WAVELENGTH > 8000.0
    down = Spectrum(WAVELENGTH[::-1], FLUX[::-1], sigma=SIGMA[::-1], mask=mask[::-1])
    up = Spectrum(WAVELENGTH, FLUX, sigma=SIGMA, mask=mask)
    for name in ("wavelength", "flux", "ivar", "good"):
        np.testing.assert_array_equal(getattr(down, name), getattr(up, name))


def test_units_and_air() -> None:
    spectrum = Spectrum(np.log10(WAVELENGTH), FLUX, unit="log10")
    np.testing.assert_allclose(spectrum.wavelength, WAVELENGTH)
    spectrum = Spectrum(WAVELENGTH / 10.0, FLUX, unit="nm", air=True)
    np.testing.assert_allclose(spectrum.wavelength, air_to_vacuum(WAVELENGTH))


# What is refused.


def test_wrong_shapes() -> None:
    short = FLUX[:-1]
    for error in (
        refused(WAVELENGTH, short),
        refused(WAVELENGTH, FLUX, ivar=short),
        refused(WAVELENGTH, FLUX, sigma=short),
        refused(WAVELENGTH, FLUX, mask=short > 9),
        refused(WAVELENGTH, FLUX[np.newaxis]),
        refused(WAVELENGTH, 1.0),
        refused(WAVELENGTH, ["a"] * 501),
        refused(WAVELENGTH, FLUX, ivar=SIGMA, sigma=SIGMA),
    ):
        assert error.code == "shape_mismatch"


@pytest.mark.parametrize(
    ("flux", "noise"),
    [
        (np.full(501, np.nan), {}),
        (FLUX, {"ivar": np.zeros(501)}),
        (FLUX, {"ivar": np.full(501, -1.0)}),
        (FLUX, {"sigma": np.zeros(501)}),
        (FLUX, {"mask": np.ones(501, dtype=bool)}),
        (np.ma.MaskedArray(FLUX, mask=True), {}),
        (np.zeros(501), {}),
    ],
)
def test_nothing_to_see(flux: Any, noise: dict[str, Any]) -> None:
    assert refused(WAVELENGTH, flux, **noise).code == "no_good_pixels"


def test_no_pixels() -> None:
    assert refused([], []).code == "no_good_pixels"


def test_too_few_pixels() -> None:
    few = np.linspace(4000.0, 9000.0, 49)
    assert refused(few, few).code == "out_of_range"
    enough = np.linspace(4000.0, 9000.0, 50)
    assert len(Spectrum(enough, enough)) == 50
    # Masked pixels do not count.
    assert refused(enough, enough, mask=np.arange(50) == 7).code == "out_of_range"


def test_too_narrow() -> None:
    narrow = np.linspace(5000.0, 5999.0, 500)
    assert refused(narrow, narrow).code == "out_of_range"
    assert len(Spectrum(np.linspace(5000.0, 6000.0, 500), narrow)) == 500
    # What lies beyond 11000 Angstrom is no use.
    infrared = np.linspace(10500.0, 24000.0, 500)
    assert refused(infrared, infrared).code == "out_of_range"


@pytest.mark.parametrize(
    ("factor", "unit"),
    [(0.1, "--unit nm"), (1e-4, "--unit um")],
)
def test_other_units_are_suggested_not_guessed(factor: float, unit: str) -> None:
    error = refused(WAVELENGTH * factor, FLUX)
    assert error.code == "out_of_range"
    assert unit in error.message


@pytest.mark.parametrize("value", [-5000.0, 0.0, np.nan, np.inf])
def test_impossible_wavelengths(value: float) -> None:
    wavelength = WAVELENGTH.copy()
    wavelength[0] = value
    error = refused(wavelength, FLUX)
    assert error.code == "bad_wavelengths"
    middle = WAVELENGTH.copy()
    middle[250] = value
    assert refused(middle, FLUX).code == "bad_wavelengths"


def test_wavelengths_out_of_order() -> None:
    wavelength = WAVELENGTH.copy()
    wavelength[[100, 101]] = wavelength[[101, 100]]
    error = refused(wavelength, FLUX)
    assert error.code == "not_increasing"
    assert "out of order (pixel 101)" in error.message
    wavelength = WAVELENGTH.copy()
    wavelength[101] = wavelength[100]
    error = refused(wavelength, FLUX)
    assert error.code == "not_increasing"
    assert "5000.00 A stands twice (pixel 101)" in error.message


def test_unknown_unit() -> None:
    assert refused(WAVELENGTH, FLUX, unit="furlong").code == "unknown_unit"


# What stays as it is.


def test_arrays_are_frozen_and_the_input_is_not() -> None:
    wavelength, flux, ivar = WAVELENGTH.copy(), FLUX.copy(), SIGMA**-2.0
    flux[0] = np.nan
    spectrum = Spectrum(wavelength, flux, ivar=ivar)
    for name in ("wavelength", "flux", "ivar"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(spectrum, name)[0] = 1.0
    with pytest.raises(AttributeError):
        spectrum.flux = flux  # type: ignore[misc]
    flux[5] = wavelength[5] = ivar[5] = 77.0
    assert np.isnan(flux[0])
    assert (spectrum.flux[5], spectrum.wavelength[5]) == (FLUX[5], WAVELENGTH[5])
    assert spectrum.ivar[5] == SIGMA[5] ** -2.0


def test_replace() -> None:
    spectrum = Spectrum(WAVELENGTH, FLUX, sigma=SIGMA, mask=WAVELENGTH < 4100.0, object="SN1")
    renamed = spectrum.replace(object="SN2", flags=["X"])
    assert (renamed.object, renamed.flags, spectrum.object) == ("SN2", ("X",), "SN1")
    np.testing.assert_array_equal(renamed.ivar, spectrum.ivar)
    assert renamed.has_noise
    scaled = spectrum.replace(flux=2.0 * spectrum.flux, sigma=2.0 * SIGMA)
    assert scaled.snr == pytest.approx(spectrum.snr)
    np.testing.assert_array_equal(scaled.good, spectrum.good)


@pytest.mark.parametrize("noise", [{}, {"sigma": SIGMA}])
def test_unusable_pixels_stay_unusable(noise: dict[str, Any]) -> None:
    """Their flux is 0 from then on, which must not pass for a measurement."""
    bad = WAVELENGTH < 4100.0
    spectrum = Spectrum(WAVELENGTH, FLUX, mask=bad, **noise)
    for changed in (
        spectrum.replace(flux=3.0 * spectrum.flux),
        spectrum.replace(sigma=SIGMA),
        spectrum.replace(ivar=SIGMA**-2.0),
        spectrum.to_rest_frame(0.1),
    ):
        np.testing.assert_array_equal(changed.good, ~bad)
    assert spectrum.replace(wavelength=WAVELENGTH, flux=FLUX, ivar=None).good.all()


def test_rest_frame() -> None:
    """H alpha of a galaxy at redshift 0.05 goes back to where it was emitted."""
    observed = 6564.61 * 1.05
    flux = 1.0 + 5.0 * np.exp(-0.5 * ((WAVELENGTH - observed) / 30.0) ** 2)
    spectrum = Spectrum(WAVELENGTH, flux).to_rest_frame(0.05)
    weight = spectrum.flux - 1.0
    centre = np.sum(spectrum.wavelength * weight) / np.sum(weight)
    assert centre == pytest.approx(6564.61, abs=0.01)
    for impossible in (-1.0, -2.0, float("nan")):
        with pytest.raises(ReadError) as caught:
            spectrum.to_rest_frame(impossible)
        assert caught.value.code == "bad_redshift"


# The signal-to-noise ratio.


@pytest.mark.parametrize("snr", [3.0, 10.0, 50.0])
def test_snr_of_white_noise(snr: float) -> None:
    """A flat spectrum of known noise: from the errors, and from the flux alone."""
    rng = np.random.default_rng(1)
    wavelength = np.linspace(4000.0, 9000.0, 20001)
    flux = 1e-16 * (1.0 + rng.normal(0.0, 1.0 / snr, wavelength.size))
    sigma = np.full(wavelength.size, 1e-16 / snr)
    assert Spectrum(wavelength, flux, sigma=sigma).snr == pytest.approx(snr, rel=0.03)
    # DER_SNR is good to a few per cent for this many pixels.
    assert Spectrum(wavelength, flux).snr == pytest.approx(snr, rel=0.05)


def test_snr_does_not_depend_on_the_unit_or_on_masked_pixels() -> None:
    rng = np.random.default_rng(2)
    flux = FLUX + rng.normal(0.0, SIGMA)
    plain = Spectrum(WAVELENGTH, flux, sigma=SIGMA)
    assert Spectrum(WAVELENGTH, flux * 1e-17, sigma=SIGMA * 1e-17).snr == pytest.approx(plain.snr)
    assert Spectrum(WAVELENGTH, flux * 1e-17).snr == pytest.approx(Spectrum(WAVELENGTH, flux).snr)
    spiked = flux.copy()
    spiked[::50] = 1e9
    masked = Spectrum(WAVELENGTH, spiked, sigma=SIGMA, mask=spiked > 1e8)
    assert masked.snr == pytest.approx(plain.snr, rel=0.05)


def test_snr_of_a_noiseless_template_is_finite() -> None:
    assert Spectrum(WAVELENGTH, np.ones(501)).snr == pytest.approx(1e4)
