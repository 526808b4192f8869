"""What makes survey spectra differ beyond their rows: dust, calibration, slopes, lines, hosts.

Everything works on the observed axis of `training.simulate.axis`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from specinfer.zgrid import LN_STEP
from training.simulate.axis import WAVELENGTH, WINDOWS

FloatArray = NDArray[np.float32]

# Widths in ln(wavelength) of the smoothing that tells lines from continuum: wider than the
# broad lines of quasars, and that of the passes.
_CONTINUUM = 0.12
_PASSES = 3
# Periods in ln(rest wavelength) over which the strength of lines changes.
_PERIODS = (0.3, 2.0)
# However strong the ripple, so much of the light is left.
_LEAST_LIGHT = 0.2


def extinction(a_v: NDArray[np.float64]) -> FloatArray:
    """Transmission of dust in front of spectra, (n, COUNT), from visual extinctions (n,)."""
    law = (WAVELENGTH / 5500.0) ** -1.3
    return (10.0 ** (-0.4 * a_v[:, None] * law)).astype(np.float32)


def ripple(largest: float | NDArray[np.float64], size: int, rng: np.random.Generator) -> FloatArray:
    """A smooth multiplicative error: four cosines in ln(lambda) with random phases.

    Parameters
    ----------
    largest : float or ndarray, shape (size, 1, 1)
        Largest standard deviation.
    size : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (size, COUNT)
    """
    x = np.log(WAVELENGTH / 3000.0).astype(np.float32)
    period = np.exp(rng.uniform(np.log(0.2), np.log(1.5), (size, 4, 1))).astype(np.float32)
    phase = rng.uniform(0.0, 2 * np.pi, (size, 4, 1)).astype(np.float32)
    amplitude = rng.uniform(0.0, largest, (size, 1, 1)) * rng.normal(size=(size, 4, 1))
    waves = np.cos(np.float32(2 * np.pi) * x / period + phase)
    made = 1.0 + (amplitude.astype(np.float32) * waves).sum(axis=1) / np.float32(np.sqrt(2.0))
    return np.asarray(made)


def mixed_ripple(
    usual: float, wild: float, wild_share: float, size: int, rng: np.random.Generator
) -> FloatArray:
    """`ripple`, of which a share may be as large as `wild`; nowhere is all light lost."""
    if wild_share <= 0:
        return ripple(usual, size, rng)
    largest = np.where(rng.random(size) < wild_share, wild, usual)[:, None, None]
    return np.maximum(ripple(largest, size, rng), np.float32(_LEAST_LIGHT))


def tilts(spread: float, size: int, rng: np.random.Generator) -> FloatArray:
    """Power laws in wavelength with normal indices of that spread, 1 at 6000 Angstrom."""
    index = rng.normal(0.0, spread, (size, 1))
    return np.asarray((WAVELENGTH / 6000.0) ** index, dtype=np.float32)


def windows(
    size: int, cut_share: float, cut_range: tuple[float, float], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """What an instrument sees, (size, COUNT): its range, and now and then a part of it."""
    window = np.array(WINDOWS)[rng.integers(0, len(WINDOWS), size)]
    low, high = np.log(window[:, 0]), np.log(window[:, 1])
    cut = rng.random(size) < cut_share
    width = rng.uniform(*cut_range, size)
    start = low + rng.random(size) * np.maximum(high - low - width, 0.0)
    low, high = np.where(cut, start, low), np.where(cut, np.minimum(start + width, high), high)
    axis = np.log(WAVELENGTH)
    return np.asarray((axis >= low[:, None]) & (axis <= high[:, None]))


def vary_lines(flux: FloatArray, spread: float, rng: np.random.Generator) -> FloatArray:
    """Emission lines made stronger or weaker about a smooth continuum.

    Parameters
    ----------
    flux : ndarray, shape (n, COUNT)
    spread : float
        Standard deviation of ln of the factor of the equivalent widths, which changes
        smoothly with wavelength, so that the ratios of lines far apart change, too.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n, COUNT)
        What lies below the continuum (absorption) stays as it is.
    """
    size = len(flux)
    continuum = _continuum(flux)
    x = np.log(WAVELENGTH / 6000.0)
    period = np.exp(rng.uniform(*np.log(_PERIODS), (size, 2, 1)))
    phase = rng.uniform(0.0, 2 * np.pi, (size, 2, 1))
    wave = np.cos(2 * np.pi * x / period + phase).sum(axis=1) / np.sqrt(2.0)
    # Half of the variance for all lines together, half from line to line.
    log_factor = spread * (rng.normal(0.0, np.sqrt(0.5), (size, 1)) + wave)
    excess = flux - continuum
    grown = continuum + excess * np.exp(log_factor)
    return np.asarray(np.where(excess > 0, grown, flux), dtype=np.float32)


def _continuum(flux: FloatArray) -> NDArray[np.float64]:
    """A smooth continuum below the emission lines, (n, COUNT)."""
    smooth = _smooth(flux.astype(np.float64))
    for _ in range(_PASSES):
        smooth = _smooth(np.minimum(flux, smooth))
    return smooth


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A running mean, twice; at the ends, of what there is."""
    half = int(_CONTINUUM / LN_STEP) // 2
    n = values.shape[1]
    pixel = np.arange(n)
    low, high = np.maximum(pixel - half, 0), np.minimum(pixel + half + 1, n)
    for _ in range(2):
        total = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
        values = (total[:, high] - total[:, low]) / (high - low)
    return values


def add_hosts(quasar: FloatArray, galaxy: FloatArray, share: NDArray[np.float64]) -> FloatArray:
    """Quasars with the light of galaxies, (n, COUNT).

    Parameters
    ----------
    quasar, galaxy : ndarray, shape (n, COUNT)
    share : ndarray, shape (n,)
        Of the galaxy in the light, by medians.
    """
    parts = []
    for flux in (quasar, galaxy):
        level = np.median(np.abs(flux), axis=1, keepdims=True)
        parts.append(flux / np.where(level > 0, level, 1.0))
    part = share[:, None].astype(np.float32)
    return np.asarray((1.0 - part) * parts[0] + part * parts[1], dtype=np.float32)
