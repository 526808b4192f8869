"""specutils' spectra are taken by their attributes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import (
    InverseVariance,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)

import specinfer
from specinfer.specutils_bridge import from_specutils, is_specutils

WAVELENGTH = np.linspace(4000.0, 8000.0, 401)
FLUX = 1.0 + 0.2 * np.sin(WAVELENGTH / 300.0)
UNIT = u.Unit("1e-17 erg / (s cm2 Angstrom)")


def made(axis: Any = WAVELENGTH * u.Angstrom, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(spectral_axis=axis, flux=FLUX * UNIT, **more)


@pytest.mark.parametrize(
    "uncertainty",
    [
        StdDevUncertainty(np.full(401, 0.1)),
        VarianceUncertainty(np.full(401, 0.01)),
        InverseVariance(np.full(401, 100.0)),
    ],
)
def test_every_kind_of_uncertainty_is_the_same_noise(uncertainty: Any) -> None:
    spectrum = from_specutils(made(uncertainty=uncertainty, mask=WAVELENGTH > 7900.0))
    np.testing.assert_allclose(spectrum.wavelength, WAVELENGTH)
    np.testing.assert_allclose(spectrum.ivar, np.where(WAVELENGTH > 7900.0, 0.0, 100.0))
    assert spectrum.has_noise


def test_a_frequency_axis_becomes_increasing_wavelengths() -> None:
    frequency = (WAVELENGTH * u.Angstrom).to(u.THz, equivalencies=u.spectral())
    spectrum = from_specutils(made(frequency), object="SN 1")
    np.testing.assert_allclose(spectrum.wavelength, WAVELENGTH)
    np.testing.assert_allclose(spectrum.flux, FLUX)
    assert not spectrum.has_noise
    assert spectrum.object == "SN 1"


@pytest.mark.parametrize(
    ("axis", "uncertainty", "code"),
    [
        (WAVELENGTH * u.s, None, "unknown_unit"),
        (WAVELENGTH * u.Angstrom, UnknownUncertainty(np.ones(401)), "shape_mismatch"),
    ],
)
def test_what_cannot_be_used_is_said(axis: Any, uncertainty: Any, code: str) -> None:
    with pytest.raises(specinfer.ReadError) as caught:
        from_specutils(made(axis, uncertainty=uncertainty))
    assert caught.value.code == code


@pytest.mark.usefixtures("tiny")
def test_classify_takes_it() -> None:
    given = made(uncertainty=StdDevUncertainty(np.full(401, 0.1)))
    assert is_specutils(given)
    result = specinfer.classify(given)
    ours = specinfer.classify(specinfer.Spectrum(WAVELENGTH, FLUX, sigma=np.full(401, 0.1)))
    assert isinstance(result, specinfer.Classification)
    assert isinstance(ours, specinfer.Classification)
    assert result.probabilities == ours.probabilities


def test_the_real_one() -> None:
    specutils = pytest.importorskip("specutils", reason="specutils is not installed")
    real = specutils.Spectrum(
        spectral_axis=WAVELENGTH * u.Angstrom,
        flux=FLUX * UNIT,
        uncertainty=StdDevUncertainty(np.full(401, 0.1)),
    )
    np.testing.assert_allclose(from_specutils(real).ivar, 100.0)
