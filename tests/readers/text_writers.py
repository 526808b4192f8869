"""One spectrum as columns of text, and what the readers must make of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fits_writers import model

from specinfer.errors import ReadError
from specinfer.readers import read
from specinfer.spectrum import Spectrum

WAVELENGTH = 4000.0 + 4.0 * np.arange(1201)
SIGMA = 1e-17 * np.linspace(0.5, 1.5, 1201)
FLUX = 1e-16 * model(WAVELENGTH) + np.random.default_rng(4).normal(0.0, SIGMA)
NOISE = {"sigma": SIGMA, "var": SIGMA**2, "ivar": SIGMA**-2.0}
SKY = 1e-15 * (1.0 + np.random.default_rng(5).random(1201))
COLUMNS = (WAVELENGTH, FLUX, SIGMA)


def rows(*columns: Any, mark: str = " ", digits: int = 8) -> str:
    """Lines of numbers."""
    lines = (
        mark.join(f"{value:.{digits}e}" for value in row) for row in zip(*columns, strict=True)
    )
    return "\n".join(lines) + "\n"


def one(content: str | bytes, reader: str | None = None, **options: Any) -> Spectrum:
    """The only spectrum of a text."""
    data = content.encode() if isinstance(content, str) else content
    (spectrum,) = read(data, **options)
    if reader is not None:
        assert spectrum.reader == reader
    return spectrum


def error(content: str | bytes, **options: Any) -> ReadError:
    with pytest.raises(ReadError) as caught:
        read(content.encode() if isinstance(content, str) else content, **options)
    assert "\n" not in caught.value.message
    return caught.value


def check(spectrum: Spectrum, sigma: Any = SIGMA) -> None:
    """It is the spectrum of this module."""
    np.testing.assert_allclose(spectrum.wavelength, WAVELENGTH, rtol=1e-6)
    np.testing.assert_allclose(spectrum.flux, FLUX, rtol=1e-6)
    assert spectrum.good.all()
    assert spectrum.has_noise == (sigma is not None)
    if sigma is not None:
        np.testing.assert_allclose(spectrum.sigma_array, sigma, rtol=1e-6)
