"""Wavelength axes, resolution and noise shapes of the instruments that are simulated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specinfer.preprocess import pixel_edges

FloatArray = NDArray[np.float64]

# SEDM (shared/design/sedm.md): linspace(3700, 9300, 220), three pixels cut at each end.
SEDM_AXIS = np.linspace(3700.0, 9300.0, 220)[3:-3]
SEDM_RESOLUTION = 100.0

# Strong night-sky lines and bands: wavelength (Angstrom), strength (arbitrary).
# Osterbrock et al. 1996, PASP 108, 277; the O2 A and B and water bands are telluric.
SKY_LINES = (
    (5577.3, 1.0),
    (5892.0, 0.35),
    (6300.3, 0.5),
    (6863.9, 0.4),
    (7276.0, 0.4),
    (7605.0, 0.6),
    (7794.0, 0.5),
    (7914.0, 0.5),
    (8344.0, 0.6),
    (8430.0, 0.6),
    (8827.0, 0.8),
    (8919.0, 0.8),
    (9375.0, 0.8),
    (9720.0, 0.8),
    (10010.0, 0.9),
)
# Where SEDM's calibration leaves residues: telluric edges and the Balmer lines of
# the standard stars (shared/design/sedm.md).
SEDM_RESIDUES = (3940.0, 4080.0, 4325.0, 4860.0, 6525.0, 6950.0, 7600.0)


@dataclass(frozen=True)
class Instrument:
    """An instrument as the simulator sees it.

    Attributes
    ----------
    name : str
    wavelength : ndarray, shape (n,)
        Pixel centres, vacuum Angstrom.
    resolution : float
        lambda / FWHM.
    lower, upper : ndarray, shape (n,)
        Pixel edges.
    noise_shape : ndarray, shape (n,)
        Relative sigma, median 1.
    sky : ndarray, shape (n,)
        Shape of the sky-line residuals, maximum about 1.
    residues : ndarray, shape (n_residues, n)
        Bumps where the flux calibration errs.
    """

    name: str
    wavelength: FloatArray
    resolution: float
    lower: FloatArray
    upper: FloatArray
    noise_shape: FloatArray
    sky: FloatArray
    residues: FloatArray


def _lines(wavelength: FloatArray, centre: float, fwhm: float) -> FloatArray:
    return np.exp(-4.0 * np.log(2.0) * ((wavelength - centre) / fwhm) ** 2)


def make_instrument(
    name: str,
    wavelength: FloatArray,
    resolution: float,
    *,
    edge_noise: float = 3.0,
    residues: tuple[float, ...] = (),
) -> Instrument:
    """An instrument with noise that rises at both ends and on the sky lines.

    Parameters
    ----------
    name : str
    wavelength : ndarray, shape (n,)
    resolution : float
    edge_noise : float
        How much noisier the outermost pixels are than the middle.
    residues : tuple of float
        Wavelengths of calibration residues, Angstrom.
    """
    lower, upper = pixel_edges(wavelength)
    sky = np.zeros_like(wavelength)
    for centre, strength in SKY_LINES:
        width = np.hypot(centre / resolution, np.median(upper - lower))
        sky += strength * _lines(wavelength, centre, width)
    x = (wavelength - wavelength[0]) / (wavelength[-1] - wavelength[0])
    shape = 1.0 + (edge_noise - 1.0) * (np.exp(-x / 0.06) + 0.7 * np.exp(-(1 - x) / 0.08))
    shape = shape * (1.0 + 0.8 * sky)
    bumps = [
        _lines(wavelength, centre, 1.5 * np.hypot(centre / resolution, 25.0))
        for centre in residues
        if wavelength[0] < centre < wavelength[-1]
    ]
    return Instrument(
        name=name,
        wavelength=wavelength,
        resolution=resolution,
        lower=lower,
        upper=upper,
        noise_shape=shape / np.median(shape),
        sky=sky / max(float(sky.max()), 1e-9),
        residues=np.array(bumps).reshape(len(bumps), wavelength.size),
    )


def sedm() -> Instrument:
    """The SEDM: R ~ 100, its 214 linear pixels, noisy ends."""
    return make_instrument(
        "sedm", SEDM_AXIS, SEDM_RESOLUTION, edge_noise=4.0, residues=SEDM_RESIDUES
    )


def slit(rng: np.random.Generator) -> Instrument:
    """A random slit or fibre spectrograph like NGPS, DBSP, LRIS or SPRAT.

    R 300-1500, start 3200-5900 and end 7000-10300 Angstrom at random but at least a
    factor of 1.6 apart, two pixels a resolution element (but no finer than the library
    holds).
    """
    start = rng.uniform(3200.0, 4600.0) if rng.random() < 0.75 else rng.uniform(4600.0, 5900.0)
    end = max(rng.uniform(7000.0, 10300.0), 1.6 * start)
    resolution = float(np.exp(rng.uniform(np.log(300.0), np.log(1500.0))))
    step = max(0.5 * 6000.0 / resolution, 4.0)
    return make_instrument(
        "slit", np.arange(start, end, step), resolution, edge_noise=rng.uniform(1.5, 4.0)
    )
