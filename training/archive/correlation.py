"""Cross-correlation of flattened spectra with templates (Tonry & Davis 1979, AJ 84, 1511).

On a logarithmic grid a redshift is a shift. `training.archive.contradictions` and
``benchmarks.accuracy`` use it; no network is trained or run with it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from specinfer.preprocess import log_edges, resample
from specinfer.spectrum import Spectrum
from training.archive.labels import CLASSES
from training.archive.library import GRID_MAX, GRID_MIN, GRID_PIXELS, Library, smooth_library

FloatArray = NDArray[np.float64]

# The library's pixels are far finer than a supernova's features.
_REBIN = 4
STEP = float(np.log(GRID_MAX / GRID_MIN) / GRID_PIXELS * _REBIN)
SIZE = GRID_PIXELS // _REBIN
EDGES = log_edges(GRID_MIN, GRID_MAX, GRID_PIXELS)[::_REBIN]
_RESOLUTION = 150.0
# Width, in ln(lambda), of the continuum that is divided out.
_CONTINUUM = 0.08
# Templates of each class: flattened training spectra within these phases.
TEMPLATES = {
    "SN Ia": 90,
    "SN Ib": 20,
    "SN Ic": 20,
    "SN Ic-BL": 15,
    "SN IIb": 15,
    "SN II": 40,
    "SN IIn": 15,
}
PHASES = (-25.0, 55.0)
# Shifts that are tried, in ln(lambda), and the overlap that they need.
MAX_SHIFT, MIN_OVERLAP = 0.22, 0.4


class Correlation(NamedTuple):
    """Of one spectrum with templates; both (n_templates, n_shifts).

    `value` is 1 for spectra that are alike where both are known, `overlap` what they have in
    common, in ln(lambda).
    """

    value: FloatArray
    overlap: FloatArray


class Bank:
    """Templates, transformed once.

    Parameters
    ----------
    patterns : ndarray, shape (n_templates, n)
        Of `flatten`, or the same columns of all; float32 is enough to find a peak.
    shifts : (int, int)
        First and last shift in pixels; positive ones are to the red.
    length : int
        Of the transforms; at least what columns and shifts need together.
    """

    def __init__(
        self, patterns: NDArray[np.floating], shifts: tuple[int, int], length: int = 2048
    ) -> None:
        self.shifts = np.arange(shifts[0], shifts[1] + 1)
        self.length = length
        known = (patterns != 0).astype(patterns.dtype)
        self._pattern, self._known, self._power = (
            np.conj(np.fft.rfft(values, length)) for values in (patterns, known, patterns**2)
        )

    def correlate(self, spectrum: NDArray[np.floating]) -> Correlation:
        """Normalised correlation of one spectrum, shape (n,), at every shift."""
        seen = (spectrum != 0).astype(spectrum.dtype)
        plain, mask, power = (
            np.fft.rfft(values, self.length) for values in (spectrum, seen, spectrum**2)
        )
        both = self._cross(power, self._known) * self._cross(mask, self._power)
        value = self._cross(plain, self._pattern) / np.sqrt(np.maximum(both, 1e-9))
        return Correlation(value, self._cross(mask, self._known) * STEP)

    def _cross(
        self, one: NDArray[np.complexfloating], many: NDArray[np.complexfloating]
    ) -> FloatArray:
        full = np.fft.irfft(one * many, self.length)
        first, last = int(self.shifts[0]), int(self.shifts[-1])
        if first >= 0:
            return np.asarray(full[:, first : last + 1])
        return np.concatenate([full[:, first:], full[:, : last + 1]], axis=1)


def flatten(library: Library, rows: NDArray[np.intp]) -> FloatArray:
    """Rest-frame spectra over their continuum, minus one; 0 where unknown.

    Returns
    -------
    ndarray, shape (n_rows, SIZE)
        On a logarithmic grid; tapered towards the ends of the coverage.
    """
    good = library.good[rows]
    smooth = smooth_library(library.flux[rows], good, _RESOLUTION)
    part = slice(0, SIZE * _REBIN)
    shape = (rows.size, SIZE, _REBIN)
    count = good[:, part].reshape(shape).sum(axis=2)
    flux = np.where(good, smooth, 0.0)[:, part].reshape(shape).sum(axis=2) / np.maximum(count, 1)
    return _contrast(flux, (count >= _REBIN // 2).astype(np.float64))


def flatten_observed(spectrum: Spectrum, smoothing: float) -> FloatArray:
    """The same of an observed spectrum, in its own frame.

    Parameters
    ----------
    spectrum : Spectrum
    smoothing : float
        Standard deviation, in ln(lambda), of a Gaussian that tames the noise.

    Returns
    -------
    ndarray, shape (SIZE,)
    """
    rebinned = resample(spectrum.wavelength, spectrum.flux, spectrum.ivar, EDGES, 0.5)
    flux, known = np.atleast_2d(rebinned.flux), np.atleast_2d(rebinned.valid).astype(float)
    if not known.any():
        return np.zeros(SIZE)
    top = _gaussian(np.where(known > 0, flux, 0.0), smoothing / STEP)
    smooth = np.where(known > 0, top / np.maximum(_gaussian(known, smoothing / STEP), 1e-3), 0.0)
    return np.asarray(_contrast(smooth, known)[0])


def correlate(spectrum: FloatArray, templates: FloatArray) -> FloatArray:
    """Normalised correlation of one spectrum with templates at every shift.

    Parameters
    ----------
    spectrum : ndarray, shape (n_pixels,)
        Of `flatten`.
    templates : ndarray, shape (n_templates, n_pixels)

    Returns
    -------
    ndarray, shape (n_templates, 2 m + 1)
        At shifts of -m to m pixels, m = MAX_SHIFT in pixels; -1 where less than
        MIN_OVERLAP of ln(lambda) is in common.
    """
    return enough(symmetric_bank(templates).correlate(spectrum))


def symmetric_bank(templates: FloatArray) -> Bank:
    """A bank for shifts up to MAX_SHIFT either way."""
    reach = int(MAX_SHIFT / STEP)
    return Bank(templates, (-reach, reach))


def enough(found: Correlation) -> FloatArray:
    """Correlations, -1 where less than MIN_OVERLAP is in common."""
    return np.where(found.overlap < MIN_OVERLAP, -1.0, found.value)


def choose_templates(library: Library, rows: NDArray[np.intp], seed: int = 0) -> NDArray[np.intp]:
    """Rows of `rows` that serve as templates: flattened, one an object where that suffices."""
    rng = np.random.default_rng(seed)
    chosen = []
    for name, count in TEMPLATES.items():
        mine = rows[(library.label[rows] == CLASSES.index(name)) & library.flattened[rows]]
        phase = library.phase[mine]
        mine = mine[(phase > PHASES[0]) & (phase < PHASES[1])]
        _, first = np.unique(library.object[mine], return_index=True)
        pool = mine[first] if first.size >= count else mine
        chosen.append(rng.choice(pool, min(count, pool.size), replace=False))
    return np.concatenate(chosen)


def _contrast(flux: FloatArray, known: FloatArray) -> FloatArray:
    """Flux over its continuum, minus one, tapered; rows on the coarse grid."""
    sigma = _CONTINUUM / STEP
    weight = _gaussian(known, sigma)
    continuum = _gaussian(flux * known, sigma) / np.maximum(weight, 1e-3)
    floor = 0.05 * np.median(np.abs(continuum), axis=1, keepdims=True)
    contrast = flux / np.maximum(continuum, np.maximum(floor, 1e-9)) - 1.0
    taper = np.clip((weight - 0.3) / 0.5, 0.0, 1.0)
    return np.asarray(np.clip(contrast, -2.0, 2.0) * known * taper)


def _gaussian(values: FloatArray, sigma: float) -> FloatArray:
    """Rows convolved with a Gaussian of `sigma` pixels."""
    half = max(int(4.0 * sigma), 1)
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    length = values.shape[1] + 2 * half
    transform = np.fft.rfft(kernel / kernel.sum(), length)
    full = np.fft.irfft(np.fft.rfft(values, length) * transform, length)
    return np.asarray(full[:, half : half + values.shape[1]])
