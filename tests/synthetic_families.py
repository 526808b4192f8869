"""Families of a few eigen-spectra, and spectra made of them, for the tests of the scan."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from specinfer.zgrid import LN_STEP, STEP, Gridded
from specinfer.zscan import Family

FloatArray = NDArray[np.float64]
FIRST = 35600


def lines(
    centres: tuple[float, ...], heights: tuple[float, ...], first: int, count: int, width: float
) -> FloatArray:
    """Gaussian lines on a flat continuum; the width is in fine pixels."""
    pixel = np.arange(first, first + count)
    out = np.ones(count)
    for centre, height in zip(centres, heights, strict=True):
        out += height * np.exp(-0.5 * ((pixel - np.log10(centre) / STEP) / width) ** 2)
    return out


def galaxy(first: int = 31000, count: int = 9400, width: float = 2.0) -> Family:
    """Three eigen-spectra: absorption, Balmer emission, forbidden emission."""
    absorption = lines((3934.8, 3969.6, 4305.6, 5176.6, 5894.6), (-0.6, -0.6, -0.3, -0.4, -0.3),
                       first, count, 3.0 * width)  # fmt: skip
    slope = np.linspace(-0.5, 0.5, count)
    balmer = lines((6564.6, 4862.7, 4341.7), (6.0, 2.0, 1.0), first, count, width) - 1.0
    forbidden = lines((3728.5, 4960.3, 5008.2), (4.0, 1.5, 4.5), first, count, width) - 1.0
    spectra = np.stack([absorption + slope, balmer, forbidden])
    return Family(
        "GALAXY", spectra, first, -0.003, 0.8, 2000.0, np.array([1.0, 0.2, 0.1]), np.eye(3) * 1e4
    )


def star(first: int = 35000, count: int = 5600) -> Family:
    """Two eigen-spectra of a star."""
    cool = lines((3934.8, 3969.6, 5176.6, 8544.4, 8664.5), (-0.5, -0.5, -0.5, -0.4, -0.4),
                 first, count, 2.5)  # fmt: skip
    hot = lines((6564.6, 4862.7, 4341.7, 4102.9), (-0.6, -0.6, -0.6, -0.5), first, count, 8.0)
    return Family(
        "STAR",
        np.stack([cool, hot]),
        first,
        -0.004,
        0.004,
        2000.0,
        np.full(2, 0.5),
        np.eye(2) * 1e4,
    )


def quasar(first: int = 28000, count: int = 12400) -> Family:
    """Two eigen-spectra of a quasar: a continuum, and broad lines."""
    slope = np.linspace(0.5, -0.3, count)
    broad = lines((1215.7, 1549.1, 1908.7, 2798.7, 4862.7, 6564.6), (4.0, 2.0, 1.0, 1.5, 1.0, 3.0),
                  first, count, 60.0) - 1.0  # fmt: skip
    spectra = np.stack([np.ones(count) + slope, broad])
    return Family(
        "QSO", spectra, first, 0.02, 4.0, 2000.0, np.array([1.0, 0.5]), np.eye(2) * 1e4, 4
    )


def observed(
    family: Family,
    weights: tuple[float, ...],
    redshift: float,
    snr: float,
    seed: int,
    count: int = 4000,
    first: int = FIRST,
) -> Gridded:
    """A spectrum of a family with an exact, fractional shift, and noise."""
    rng = np.random.default_rng(seed)
    fine = np.arange(family.first, family.first + family.spectra.shape[1])
    rest = np.asarray(weights) @ family.spectra
    place = np.arange(first, first + count) - np.log1p(redshift) / LN_STEP
    # A transform shifts by a fraction without smoothing.
    whole = int(np.floor(place[0])) - fine[0]
    part = place[0] - np.floor(place[0])
    frequency = np.fft.rfftfreq(rest.size)
    moved = np.fft.irfft(np.fft.rfft(rest) * np.exp(2j * np.pi * frequency * part), rest.size)
    flux = moved[whole : whole + count]
    sigma = np.median(flux) / snr
    noisy = flux + rng.normal(0, sigma, count)
    return Gridded(first, 0.0, 1, noisy, np.full(count, sigma**-2), 1.0)
