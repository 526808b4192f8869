"""Which columns are a spectrum, in what unit, and what the noise is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from specinfer.errors import ReadError
from specinfer.readers.base import ReadOptions
from specinfer.readers.columns import (
    Layout,
    choose,
    guess_noise,
    is_variance,
    plain_unit,
    sentinel_pixels,
    settle_noise,
    to_spectrum,
)
from specinfer.spectrum import Spectrum
from specinfer.wavelengths import air_to_vacuum

WAVELENGTH = np.linspace(4000.0, 9000.0, 1001)
# Errors that differ from pixel to pixel, and noise drawn from them.
SIGMA = np.linspace(0.5, 1.5, 1001)
FLUX = 20.0 + 10.0 * np.sin(WAVELENGTH / 700.0) + np.random.default_rng(3).normal(0.0, SIGMA)
KINDS = {"sigma": SIGMA, "var": SIGMA**2, "ivar": SIGMA**-2.0}


def layout(*names: str) -> Layout:
    found = choose(names)
    assert found is not None
    return found


def spectrum(pixels: dict[str, Any], **options: Any) -> Spectrum:
    """The spectrum of a table, as the readers make it."""
    found = layout(*pixels)
    return to_spectrum(pixels, found, ReadOptions(**options), known={}, air=found.air)


# Names.


@pytest.mark.parametrize(
    ("names", "wave", "flux", "noise", "kind"),
    [
        (("wavelength", "flux", "ivar"), "wavelength", "flux", "ivar", "ivar"),
        (("WAVELENGTH", "FLUX", "ERROR"), "WAVELENGTH", "FLUX", "ERROR", "sigma"),
        (("Wave", "Flam", "Variance"), "Wave", "Flam", "Variance", "var"),
        (("x", "lambda", "spec", "unc"), "lambda", "spec", "unc", "sigma"),
        (("wl", "fl", "err"), "wl", "fl", "err", "sigma"),
        (("lam_aa", "flam", "ferr"), "lam_aa", "flam", "ferr", "sigma"),
        (("wavelengths", "fluxes", "errors"), "wavelengths", "fluxes", "errors", "sigma"),
        (("wave", "flux", "sky"), "wave", "flux", None, "none"),
        (("flux", "wavelength"), "wavelength", "flux", None, "none"),
        # An inverse variance says more than an error.
        (("wave", "flux", "sigma", "ivar"), "wave", "flux", "ivar", "ivar"),
        # Units in brackets belong to no name.
        (
            ("Wavelength [A]", "Flux [erg/s/cm2/A]", "Error [erg/s/cm2/A]"),
            *("Wavelength [A]", "Flux [erg/s/cm2/A]", "Error [erg/s/cm2/A]", "sigma"),
        ),
        (
            ("wavelength (Å)", "flux(10^-17 erg/s/cm^2/A)", "flux_err (same)"),
            *("wavelength (Å)", "flux(10^-17 erg/s/cm^2/A)", "flux_err (same)", "sigma"),
        ),
    ],
)
def test_names(names: tuple[str, ...], wave: str, flux: str, noise: str | None, kind: str) -> None:
    found = layout(*names)
    assert (found.wave, found.flux, found.noise) == (wave, flux, noise)
    assert found.noise_kind == kind
    assert found.used == tuple(name for name in (wave, flux, noise) if name)


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("wavelength", "throughput"),
        ("flux", "error"),
        # The fibre map of DESI, and tables of redshifts and of lines.
        ("LAMBDA_REF", "FLUX_G", "FIBERFLUX_R"),
        ("z", "zerr", "chi2"),
        ("line_wavelength", "line_flux"),
    ],
)
def test_no_spectrum(names: tuple[str, ...]) -> None:
    assert choose(names) is None


@pytest.mark.parametrize(
    ("name", "log", "suffix", "stated", "unit"),
    [
        ("wavelength", None, None, None, None),
        ("wavelength", None, None, "nm", "nm"),
        ("wavelength_nm", None, "nm", None, "nm"),
        ("wavelength [nm]", None, "nm", None, "nm"),
        ("wave(um)", None, "um", None, "um"),
        ("Wavelength (Å)", None, "å", None, "å"),
        ("lambda [micrometre]", None, "micrometre", None, "micrometre"),
        ("lam_aa", None, "aa", None, "aa"),
        # What the file states elsewhere wins over the name...
        ("wavelength_nm", None, "nm", "angstrom", "angstrom"),
        # ... but a logarithm is one.
        ("loglam", "log10", None, "Angstrom", "log10"),
        ("log_lambda", "log10", None, None, "log10"),
        ("lnlam", "ln", None, None, "ln"),
        ("wave [furlong]", None, "furlong", None, "furlong"),
    ],
)
def test_units_of_names(
    name: str, log: str | None, suffix: str | None, stated: str | None, unit: str | None
) -> None:
    found = layout(name, "flux")
    assert (found.log, found.suffix, found.unit(stated)) == (log, suffix, unit)


@pytest.mark.parametrize(
    ("name", "air", "unit"),
    [
        ("wavelength", None, None),
        ("wave_air", True, None),
        ("lambda_vac", False, None),
        ("wavelength_air_nm", True, "nm"),
        ("wavelength [air]", True, None),
        ("Wavelength (vacuum)", False, None),
        ("wavelength (nm, in air)", True, "nm"),
        ("wave [A in vacuum]", False, "a"),
    ],
)
def test_air_or_vacuum_by_name(name: str, air: bool | None, unit: str | None) -> None:
    found = layout(name, "flux")
    assert found.air is air
    assert found.suffix == unit


@pytest.mark.parametrize(
    ("low", "high", "hint"),
    [
        (300.0, 1100.0, "--unit nm"),
        (300.0, 2500.0, "--unit nm"),
        (3.5, 4.0, "--unit log10"),
        (0.3, 1.0, "--unit um"),
        (0.0, 2000.0, "--unit"),
    ],
)
def test_units_are_not_guessed(low: float, high: float, hint: str) -> None:
    values = np.linspace(low, high, 100)
    with pytest.raises(ReadError) as caught:
        plain_unit(values)
    assert caught.value.code == "no_unit"
    assert hint in caught.value.message


@pytest.mark.parametrize(("low", "high"), [(3000.0, 10000.0), (900.0, 25000.0)])
def test_angstrom_beyond_doubt(low: float, high: float) -> None:
    assert plain_unit(np.linspace(low, high, 100)) == "angstrom"


# The ratio test.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e-17, 1e-3, 30.0, 1e5])
def test_noise_is_guessed(kind: str, scale: float) -> None:
    """Wherever sigma and its square differ enough, the right one is found."""
    power = {"sigma": 1, "var": 2, "ivar": -2}[kind]
    assert guess_noise(FLUX * scale, KINDS[kind] * scale**power) == kind


def test_near_one_sigma_is_preferred() -> None:
    """With errors near 1 an error, a variance and an inverse variance look alike."""
    for values in KINDS.values():
        assert guess_noise(FLUX, values) == "sigma"


def test_sigma_is_preferred_unless_another_fits_much_better() -> None:
    """Errors of 4 on resampled pixels that scatter by a third of it: their root fits better."""
    rng = np.random.default_rng(6)
    flux = 100.0 + rng.normal(0.0, 4.0 / 3.0, 1001)
    assert guess_noise(flux, 4.0 * SIGMA) == "sigma"
    flux = 100.0 + rng.normal(0.0, 4.0, 1001)
    assert guess_noise(flux, 16.0 * SIGMA) == "var"


@pytest.mark.parametrize(
    "values",
    [
        np.full(1001, 1.0),
        np.where(WAVELENGTH < 6000, 0.988302, 1.0),
        SIGMA - 1.0,
        np.zeros(1001),
        np.full(1001, np.nan),
        # Far too large and far too small for any kind of noise.
        SIGMA * 1e4,
        SIGMA * 1e-4,
    ],
)
def test_what_can_be_no_noise(values: Any) -> None:
    assert guess_noise(FLUX, values) is None


def test_noiseless_flux_confirms_nothing() -> None:
    assert guess_noise(np.full(1001, 5.0), SIGMA) is None


def test_correlated_pixels_still_show_their_noise() -> None:
    """Resampled spectra scatter less from pixel to pixel than their errors say."""
    smooth = np.convolve(FLUX * 1e-16, np.full(5, 0.2), mode="same")
    assert guess_noise(smooth[5:-5], SIGMA[5:-5] * 1e-16) == "sigma"


def test_variances_called_errors() -> None:
    """In cgs units a variance is smaller than the flux by ten orders of magnitude."""
    flux, sigma = FLUX * 1e-16, SIGMA * 1e-16
    assert is_variance(flux, sigma**2)
    assert not is_variance(flux, sigma)
    noise, flags = settle_noise(flux, sigma**2, "sigma", ReadOptions())
    assert flags == ["VARIANCE_AS_ERROR"]
    np.testing.assert_allclose(noise["ivar"], sigma**-2.0)
    # A true error stays one, and so does what the user calls one.
    assert settle_noise(flux, sigma, "sigma", ReadOptions())[1] == []
    noise, flags = settle_noise(flux, sigma**2, "sigma", ReadOptions(noise="sigma"))
    assert flags == []
    np.testing.assert_array_equal(noise["sigma"], sigma**2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_user_and_the_name_win_over_the_guess(kind: str) -> None:
    by_name, flags = settle_noise(FLUX, KINDS[kind], kind, ReadOptions())
    by_user, more = settle_noise(FLUX, KINDS[kind], "unknown", ReadOptions(noise=kind))
    assert flags == more == []
    for noise in (by_name, by_user):
        spectrum = Spectrum(WAVELENGTH, FLUX, **noise)
        np.testing.assert_allclose(spectrum.sigma_array, SIGMA)


@pytest.mark.parametrize(
    ("values", "kind", "options", "flag"),
    [
        (None, "sigma", {}, None),
        (SIGMA, "none", {}, None),
        (SIGMA, "sigma", {"noise": "none"}, None),
        (np.zeros(1001), "sigma", {}, "NOISE_ALL_ZERO"),
        (np.full(1001, np.nan), "var", {}, "NOISE_ALL_ZERO"),
        (FLUX, "sigma", {}, "NOISE_COPIES_FLUX"),
        (np.ones(1001), "unknown", {}, "NOISE_UNKNOWN"),
    ],
)
def test_noise_that_is_none(
    values: Any, kind: str, options: dict[str, str], flag: str | None
) -> None:
    noise, flags = settle_noise(FLUX, values, kind, ReadOptions(**options))
    assert noise == {}
    assert flags == ([flag] if flag else [])


def test_zero_inverse_variances_say_that_all_is_bad() -> None:
    noise, flags = settle_noise(FLUX, np.zeros(1001), "ivar", ReadOptions())
    assert flags == []
    np.testing.assert_array_equal(noise["ivar"], 0.0)


# Pixels.


def test_sentinels() -> None:
    flux = FLUX.copy()
    flux[:3] = 0.0
    flux[-2:] = 0.0
    flux[500] = 0.0
    flux[[100, 200, 300]] = -999.0, -99.0, -9999.0
    # A zero in the middle may be a measurement, those at the ends are padding.
    assert np.flatnonzero(sentinel_pixels(flux)).tolist() == [0, 1, 2, 100, 200, 300, 999, 1000]
    assert not sentinel_pixels(np.zeros(10)).any()


def test_nan_is_no_sentinel() -> None:
    flux = FLUX.copy()
    flux[[0, 1, -1]] = np.nan, 0.0, np.nan
    assert np.flatnonzero(sentinel_pixels(flux)).tolist() == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_to_spectrum(kind: str) -> None:
    found = spectrum({"wave": WAVELENGTH, "flux": FLUX, kind: KINDS[kind]})
    np.testing.assert_array_equal(found.flux, FLUX)
    np.testing.assert_allclose(found.sigma_array, SIGMA)
    assert found.flags == ("AIR_UNKNOWN",)


def test_masks() -> None:
    mask = (WAVELENGTH < 4100.0).astype(int)
    pixels = {"wave": WAVELENGTH, "flux": FLUX}
    by_mask = spectrum(pixels | {"mask": mask})
    np.testing.assert_array_equal(by_mask.good, mask == 0)
    by_bits = spectrum(pixels | {"qual": mask * 64})
    np.testing.assert_array_equal(by_bits.good, mask == 0)
    by_good = spectrum(pixels | {"good": 1 - mask})
    np.testing.assert_array_equal(by_good.good, mask == 0)
    inverted = spectrum(pixels | {"mask": 1 - mask})
    np.testing.assert_array_equal(inverted.good, mask == 0)
    assert "MASK_ONE_IS_GOOD" in inverted.flags
    assert "MASK_ONE_IS_GOOD" not in by_mask.flags + by_good.flags


def test_options_win() -> None:
    pixels = {"wavelength_air": WAVELENGTH / 10.0, "flux": FLUX, "err": SIGMA}
    told = spectrum(pixels, unit="nm")
    np.testing.assert_allclose(told.wavelength, air_to_vacuum(WAVELENGTH))
    vacuum = spectrum(pixels, unit="nm", air=False, noise="ivar")
    np.testing.assert_allclose(vacuum.wavelength, WAVELENGTH)
    np.testing.assert_allclose(vacuum.ivar, SIGMA)
    assert vacuum.flags == ()


def test_unit_in_the_name_that_is_none() -> None:
    with pytest.raises(ReadError) as caught:
        spectrum({"wave [furlong]": WAVELENGTH, "flux": FLUX})
    assert caught.value.code == "unknown_unit"
    found = spectrum({"wave [furlong]": WAVELENGTH, "flux": FLUX}, unit="angstrom")
    assert found.wavelength[0] == 4000.0
