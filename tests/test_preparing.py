"""Spectra prepared together are prepared as alone, however many and on whatever pixels."""

from __future__ import annotations

import numpy as np
import pytest

from specinfer import preparing
from specinfer.preprocess import Preprocessing, prepare
from specinfer.spectrum import Spectrum

CONFIG = Preprocessing(n_pixels=256)


def spectra(count: int) -> list[Spectrum]:
    """Spectra on two axes by turns, with noise and pixels that are left out."""
    random = np.random.default_rng(5)
    axes = [np.linspace(3800.0, 9200.0, 900), np.linspace(3600.0, 9800.0, 1300)]
    made = []
    for number in range(count):
        wavelength = axes[number % 2]
        flux = 5.0 + np.sin(wavelength / (100.0 + number)) + random.normal(size=wavelength.size)
        ivar = np.where(random.random(wavelength.size) < 0.05, 0.0, 1.0)
        made.append(Spectrum(wavelength, flux, ivar))
    return made


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many pixels as five spectra on the shorter axis have, or three on the longer one."""
    monkeypatch.setattr(preparing, "_PIXELS", 4500)


@pytest.mark.parametrize("count", [1, 10, 23])
def test_together_as_alone(count: int) -> None:
    given = spectra(count)
    together = preparing.prepare_many(given, CONFIG)
    assert len(together) == count
    for spectrum, made in zip(given, together, strict=True):
        alone = prepare(spectrum.wavelength, spectrum.flux, spectrum.ivar, CONFIG)
        for ours, theirs in zip(made, alone, strict=True):
            # BLAS adds in another order for several right-hand sides.
            rtol = 1e-6 if ours.dtype == np.float32 else 1e-11
            np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol)


def test_so_many_at_once_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []

    def counted(wavelength, flux, ivar, config):  # type: ignore[no-untyped-def]
        sizes.append(flux.shape)
        return prepare(wavelength, flux, ivar, config)

    monkeypatch.setattr(preparing, "prepare", counted)
    preparing.prepare_many(spectra(22), CONFIG)
    assert sizes == [(5, 900), (5, 900), (1, 900), (3, 1300), (3, 1300), (3, 1300), (2, 1300)]


def test_a_spectrum_of_more_pixels_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "_PIXELS", 100)
    assert len(preparing.prepare_many(spectra(4), CONFIG)) == 4


def test_nothing_is_nothing() -> None:
    assert preparing.prepare_many([], CONFIG) == []
