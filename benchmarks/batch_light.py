"""Light of a simulated survey: galaxies, quasars and stars as DESI would see them, with noise.

Made of the eigen-spectra that ship with `gasnet3`, so that any clone can make it without
PyTorch, without the public archive and without a network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import ROOT
from specinfer import Classifier
from specinfer.networks.gasnet3 import GasNet3
from specinfer.zgrid import STEP

CARD = ROOT / "exported_models" / "gasnet3" / "card.json"

# The arms of DESI (desidatamodel.readthedocs.io): first wavelength, pixels of 0.8 Angstrom. They
# lie on one grid, so what is common to them is made once.
FIRST, PIXEL, PIXELS = 3600.0, 0.8, 7781
ARMS = {"B": (3600.0, 2751), "R": (5760.0, 2326), "Z": (7520.0, 2881)}
WAVELENGTH = FIRST + PIXEL * np.arange(PIXELS)

FAMILIES = ("GALAXY", "QSO", "STAR")
# Shares of the targets, about those of a night of DESI's dark and bright programmes together.
SHARES = (0.66, 0.16, 0.18)
# Median ratio a pixel where the sky makes the noise, and the scatter of its log10.
RATIOS = {"GALAXY": (3.0, 0.30), "QSO": (2.5, 0.25), "STAR": (10.0, 0.35)}
# Kilometres a second over c.
_STAR_SPREAD = 130.0 / 299792.458
# A log-normal reaches far: so many standard deviations of it.
_REACH = 2.0
# Bright lines of the night sky, and where the forest of OH lies: Angstrom.
_SKY_LINES = ((5578.9, 40.0), (5891.6, 6.0), (5897.6, 4.0), (6302.0, 12.0), (6365.5, 5.0))
_OH_FOREST = (6820.0, 9824.0)
_OH_LINES = 150

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shapes:
    """The eigen-spectra of a family, and how their coefficients are spread.

    Attributes
    ----------
    spectra : ndarray, shape (K, n)
        In the rest frame, a pixel `specinfer.zgrid.STEP` in log10(wavelength).
    first : int
        Number of the first pixel.
    median, sigma : ndarray, shape (K,)
        Of the log-normal of each coefficient: median, and standard deviation of its logarithm.
    root : ndarray, shape (K, K)
        Normal deviates times this have the correlations of those logarithms.
    """

    spectra: FloatArray
    first: int
    median: FloatArray
    sigma: FloatArray
    root: FloatArray


@dataclass(frozen=True, eq=False)
class Truth:
    """What was drawn; arrays of shape (n,).

    Attributes
    ----------
    family : ndarray of str
        GALAXY, QSO or STAR; empty for a fibre on the sky.
    redshift, snr : ndarray
        snr is the median over pixels of flux without noise over sigma.
    dead : ndarray of bool
        Fibres without one usable pixel: they must come out as rows that failed.
    """

    family: NDArray[np.str_]
    redshift: FloatArray
    snr: FloatArray
    dead: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ArmLight:
    """One arm of many fibres: flux, ivar (rows, n) in single precision, mask (rows, n)."""

    flux: NDArray[np.float32]
    ivar: NDArray[np.float32]
    mask: NDArray[np.int32]


@lru_cache(maxsize=1)
def shapes() -> dict[str, Shapes]:
    """The families of `gasnet3`, with log-normals that have the moments of its card.

    A log-normal whose median is the typical coefficient and whose second moments are those
    stated by the card; where these are no correlations the nearest ones that are.
    """
    network = Classifier(threads=1, model="gasnet3").network("gasnet3")
    assert isinstance(network, GasNet3)
    stated = json.loads(CARD.read_text())["scan"]["families"]
    made = {}
    for scanner in network.scanners:
        family = scanner.family
        median = np.maximum(np.array(stated[family.name]["typical"]), 1e-3)
        moments = np.array(stated[family.name]["moments"])
        variance = np.maximum(np.log(np.diag(moments) / median**2) / 2.0, 0.05)
        sigma = np.sqrt(variance)
        log_ratio = np.log(np.maximum(moments / np.outer(median, median), 1e-6))
        joint = (log_ratio - (variance[:, None] + variance) / 2.0) / np.outer(sigma, sigma)
        joint = np.clip(joint, -0.95, 0.95)
        np.fill_diagonal(joint, 1.0)
        values, vectors = np.linalg.eigh(joint)
        root = vectors * np.sqrt(np.maximum(values, 0.01))
        root /= np.sqrt((root**2).sum(axis=1, keepdims=True))
        made[family.name] = Shapes(family.spectra, family.first, median, sigma, root)
    return made


def draw(
    count: int, rng: np.random.Generator, *, sky: NDArray[np.bool_], dead_share: float
) -> tuple[dict[str, ArmLight], Truth]:
    """Simulate the fibres of one file.

    Parameters
    ----------
    count : int
    rng : numpy.random.Generator
    sky : ndarray of bool, shape (count,)
        Fibres that see no source.
    dead_share : float
        Share of the others that have no usable pixel.

    Returns
    -------
    arms : dict of str to ArmLight
    truth : Truth
    """
    light, wanted, family, redshift = _targets(count, rng, sky, WAVELENGTH)
    arms = _quiet_arms()
    # Every target at the brightness that gives it its ratio under the noise of the sky.
    level = float(np.median(np.concatenate([sigma for sigma, _ in arms.values()])))
    light *= (wanted * level)[:, None].astype(np.float32)
    dead = (rng.random(count) < dead_share) & ~sky
    made = {}
    ratios = []
    for name, (sigma, lines) in arms.items():
        start = round((ARMS[name][0] - FIRST) / PIXEL)
        clean = light[:, start : start + sigma.size]
        one, error = _expose(clean, sigma, lines, rng)
        one.ivar[dead] = 0.0
        made[name] = one
        ratios.append(clean / error)
    snr = np.median(np.concatenate(ratios, axis=1), axis=1)
    return made, Truth(family, redshift, snr.astype(np.float64), dead)


def draw_single(
    count: int, rng: np.random.Generator, wavelength: FloatArray
) -> tuple[NDArray[np.float32], NDArray[np.float32], Truth]:
    """The same targets as another instrument would see them, on one axis.

    The noise is that of the best arm of DESI at each wavelength, for the light that falls into
    a pixel of that axis: the information is about the same however the axis is divided.

    Parameters
    ----------
    count : int
    rng : numpy.random.Generator
    wavelength : ndarray, shape (n,)
        Vacuum Angstrom; what DESI does not see has the noise of its ends.

    Returns
    -------
    flux, ivar : ndarray, shape (count, n)
    truth : Truth
    """
    light, wanted, family, redshift = _targets(count, rng, np.zeros(count, bool), wavelength)
    arms = _quiet_arms()
    level = float(np.median(np.concatenate([sigma for sigma, _ in arms.values()])))
    light *= (wanted * level)[:, None].astype(np.float32)
    best = np.full(PIXELS, np.inf)
    for name, (sigma, _) in arms.items():
        start = round((ARMS[name][0] - FIRST) / PIXEL)
        here = slice(start, start + sigma.size)
        best[here] = np.minimum(best[here], sigma)
    sky = np.interp(wavelength, WAVELENGTH, best) * np.sqrt(PIXEL / np.gradient(wavelength))
    made, error = _expose(light, sky.astype(np.float32), np.zeros_like(sky, np.float32), rng)
    snr = np.median(light / error, axis=1).astype(np.float64)
    return made.flux, made.ivar, Truth(family, redshift, snr, np.zeros(count, bool))


def _targets(
    count: int, rng: np.random.Generator, sky: NDArray[np.bool_], wavelength: FloatArray
) -> tuple[NDArray[np.float32], FloatArray, NDArray[np.str_], FloatArray]:
    """Light of median 1 (0 on the sky), ratio that is wanted, family and redshift of each."""
    kind = rng.choice(len(FAMILIES), count, p=SHARES)
    redshift = np.full(count, np.nan)
    light = np.zeros((count, wavelength.size), np.float32)
    wanted = np.zeros(count)
    for index, name in enumerate(FAMILIES):
        rows = np.flatnonzero((kind == index) & ~sky)
        redshift[rows] = _redshifts(name, rows.size, rng)
        light[rows] = _observed(shapes()[name], redshift[rows], wavelength, rng)
        median, spread = RATIOS[name]
        wanted[rows] = median * 10.0 ** rng.normal(0.0, spread, rows.size)
    light *= _calibration(count, wavelength, rng)
    return light, wanted, np.where(sky, "", np.array(FAMILIES)[kind]), redshift


def _redshifts(name: str, size: int, rng: np.random.Generator) -> FloatArray:
    """Galaxies of a bright, a red and an emission-line sample; quasars; stars of the halo."""
    if name == "STAR":
        return rng.normal(0.0, _STAR_SPREAD, size).clip(-0.0025, 0.0025)
    if name == "QSO":
        return rng.normal(1.7, 0.7, size).clip(0.3, 4.0)
    sample = rng.choice(3, size, p=(0.45, 0.25, 0.30))
    bright = rng.gamma(3.5, 0.07, size)
    red = rng.normal(0.75, 0.15, size)
    forming = rng.uniform(0.8, 1.5, size)
    return np.choose(sample, [bright, red, forming]).clip(0.01, 1.6)


def _observed(
    family: Shapes, redshift: FloatArray, wavelength: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Spectra of random coefficients at their redshifts, of median 1."""
    deviates = rng.standard_normal((redshift.size, family.median.size)) @ family.root.T
    coefficients = family.median * np.exp(family.sigma * deviates.clip(-_REACH, _REACH))
    rest = (coefficients @ family.spectra).astype(np.float32)
    n = rest.shape[1]
    position = np.log10(wavelength / (1.0 + redshift)[:, None]) / STEP - family.first
    # Cubic (Lagrange) between the pixels: lines are but two pixels wide.
    whole = np.clip(np.floor(position).astype(np.int64), 1, n - 3)
    t = (position - whole).astype(np.float32)
    flat, base = rest.ravel(), whole + np.arange(redshift.size)[:, None] * n
    made = -t * (t - 1) * (t - 2) / 6 * flat[base - 1]
    made += (t + 1) * (t - 1) * (t - 2) / 2 * flat[base]
    made -= (t + 1) * t * (t - 2) / 2 * flat[base + 1]
    made += (t + 1) * t * (t - 1) / 6 * flat[base + 2]
    return np.asarray(made / np.median(made, axis=1, keepdims=True))


def _calibration(
    count: int, wavelength: FloatArray, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Errors of the flux calibration: a slope, and waves of some per cent."""
    x = np.log(wavelength / 6000.0).astype(np.float32)
    slope = rng.normal(0.0, 0.15, (count, 1)).astype(np.float32)
    phase = rng.uniform(0.0, 2.0 * np.pi, (count, 1)).astype(np.float32)
    height = rng.normal(0.0, 0.02, (count, 1)).astype(np.float32)
    return np.asarray(np.exp(slope * x + height * np.sin(8.0 * x + phase)), np.float32)


@lru_cache(maxsize=1)
def _quiet_arms() -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """sigma of each arm where the sky alone makes noise, and the share of its lines in it."""
    fixed = np.random.default_rng(20260101)
    lines = list(_SKY_LINES)
    at = fixed.uniform(*_OH_FOREST, _OH_LINES)
    lines += zip(at, fixed.lognormal(0.3, 1.0, _OH_LINES), strict=True)
    bright = np.zeros(PIXELS)
    for centre, height in lines:
        bright += height * np.exp(-0.5 * ((WAVELENGTH - centre) / 0.8) ** 2)
    made = {}
    for name, (low, n) in ARMS.items():
        start = round((low - FIRST) / PIXEL)
        x = np.linspace(0.0, 1.0, n)
        throughput = np.sin(np.pi * (0.06 + 0.88 * x)) ** 0.6
        if name == "B":
            throughput *= 0.25 + 0.75 * np.clip(x / 0.45, 0.0, 1.0)
        here = bright[start : start + n]
        sigma = np.sqrt(1.0 + here) / throughput
        made[name] = (sigma.astype(np.float32), np.sqrt(here / (1.0 + here)).astype(np.float32))
    return made


def _expose(
    clean: NDArray[np.float32],
    sky: NDArray[np.float32],
    lines: NDArray[np.float32],
    rng: np.random.Generator,
) -> tuple[ArmLight, NDArray[np.float32]]:
    """Noise, residuals of sky lines, cosmic rays, dead columns; and the sigma of each pixel."""
    count, n = clean.shape
    # A source as bright as the sky doubles the variance there.
    sigma = sky * np.sqrt(1.0 + np.maximum(clean, 0.0) / (4.0 * sky))
    residual = rng.normal(0.0, 0.4, (count, 1)).astype(np.float32) * lines
    flux = clean + sigma * (rng.standard_normal((count, n), dtype=np.float32) + residual)
    stated = np.exp(rng.normal(0.0, 0.03, (count, 1))).astype(np.float32)
    ivar = (1.0 / (sigma * stated) ** 2).astype(np.float32)
    mask = np.zeros((count, n), np.int32)
    # Columns that no fibre of the file sees, as in one exposure of one spectrograph.
    mask[:, rng.integers(0, n, 3)] = 1
    hits = rng.poisson(6.0, count)
    rows = np.repeat(np.arange(count), hits)
    pixels = rng.integers(0, n, rows.size)
    flux[rows, pixels] += (sigma[rows, pixels] * rng.uniform(5.0, 60.0, rows.size)).astype("f4")
    # One in ten was not found.
    found = rng.random(rows.size) < 0.9
    mask[rows[found], pixels[found]] = 2
    ivar[mask != 0] = 0.0
    ivar[:, :2] = ivar[:, -2:] = 0.0
    return ArmLight(flux.astype(np.float32), ivar, mask), sigma
