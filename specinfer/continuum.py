"""The smooth continuum of spectra on the grid of a network, and medians over usable pixels.

Part of the preprocessing: a change here is a new `specinfer.preprocess.VERSION`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from specinfer.preprocess import Preprocessing

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Factor between the median absolute deviation and sigma of a Gaussian.
MAD_TO_SIGMA = 1.4826
_TINY = float(np.finfo(np.float64).tiny)

# The continuum is smooth: it is fitted on this many grid pixels at a time.
_COARSE = 8
# A coarse pixel and its neighbours: those that have them, and where they are.
_NEIGHBOURS = (
    (slice(1, None), slice(None, -1)),
    (slice(None), slice(None)),
    (slice(None, -1), slice(1, None)),
)
# Longer rows have their medians one by one, which takes no sorting.
_LONG = 256


@lru_cache(maxsize=8)
def _kernel(n_coarse: int, step: float, width: float) -> FloatArray:
    """Gaussian weights K of coarse pixels, K d and K d^2, by distance: (3, 2 n_coarse - 1).

    The distances d in ln(wavelength) fall.
    """
    distance = np.arange(n_coarse - 1, -n_coarse, -1) * step * _COARSE
    kernel = np.exp(-0.5 * (distance / width) ** 2)
    first = kernel * distance
    return np.stack([kernel, first, first * distance])


def _block_sums(flux: FloatArray, valid: BoolArray) -> FloatArray:
    """Sum of the valid flux in each coarse pixel."""
    return np.asarray(_blocks(np.where(valid, flux, 0.0)).sum(axis=-1))


def _block_medians(flux: FloatArray, valid: BoolArray) -> FloatArray:
    """Median of the valid flux in each coarse pixel and its two neighbours.

    One broken pixel of the coarsest instrument (the SEDM's 25.6 Angstrom) fills most of a
    coarse pixel, but less than half of three.
    """
    values, seen = _blocks(flux), _blocks(valid)
    shape = (*values.shape[:-1], 3, _COARSE)
    three, usable = np.zeros(shape), np.zeros(shape, dtype=bool)
    for place, (to, of) in enumerate(_NEIGHBOURS):
        three[..., to, place, :], usable[..., to, place, :] = values[..., of, :], seen[..., of, :]
    shape = (*values.shape[:-1], 3 * _COARSE)
    return masked_median(three.reshape(shape), usable.reshape(shape))


def _blocks(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape((*values.shape[:-1], -1, _COARSE))


class _Line:
    """Local linear regression with a Gaussian kernel (Cleveland 1979, JASA 74, 829).

    Unlike a running mean it has no bias where the continuum is steep, at the ends
    of the coverage and beside gaps.

    Parameters
    ----------
    counts : ndarray, shape (..., n_pixels / 8)
        Valid grid pixels of the coarse ones.
    config : Preprocessing
    """

    def __init__(self, counts: FloatArray, config: Preprocessing) -> None:
        self.n_pixels = config.n_pixels
        self.kernel = _kernel(counts.shape[-1], config.step, config.continuum_width)
        s0, self.s1, s2 = _weighted_sums(counts, self.kernel)
        # A little ridge turns the line into a mean where only one block is in reach.
        self.s2 = s2 + 1e-3 * config.continuum_width**2 * s0
        determinant = s0 * self.s2 - self.s1**2
        self.usable = determinant > 0
        self.determinant = np.where(self.usable, determinant, 1.0)

    def through(self, sums: FloatArray) -> FloatArray:
        """The line through sums over the valid pixels of the coarse ones, (..., n_pixels)."""
        t0, t1 = _weighted_sums(sums, self.kernel[:2])
        coarse = np.where(self.usable, (self.s2 * t0 - self.s1 * t1) / self.determinant, 0.0)
        return _interpolate_blocks(coarse, self.n_pixels)


def _weighted_sums(rows: FloatArray, kernels: FloatArray) -> FloatArray:
    """Sums of rows around each of their pixels, weighted by distance: (n_kernels, ..., n).

    One row at a time: so it does not depend on what else is in a batch, and starts no threads
    of BLAS, which wait for each other, and for those of onnxruntime, longer than this takes.
    """
    flat = rows.reshape(-1, rows.shape[-1])
    made = np.empty((len(kernels), *flat.shape))
    for place, kernel in enumerate(kernels):
        for row, values in enumerate(flat):
            # Correlation goes by rising place in the kernel, falling place in the row.
            made[place, row] = np.correlate(kernel, values, "valid")[::-1]
    return made.reshape(len(kernels), *rows.shape)


def _interpolate_blocks(coarse: FloatArray, n_pixels: int) -> FloatArray:
    """Linear interpolation from block centres back to the grid, extrapolated at the ends."""
    index, part = _block_places(coarse.shape[-1], n_pixels)
    return coarse[..., index] * (1.0 - part) + coarse[..., index + 1] * part


@lru_cache(maxsize=8)
def _block_places(n_coarse: int, n_pixels: int) -> tuple[NDArray[np.intp], FloatArray]:
    """The block before each grid pixel, and how far behind its centre that lies, in blocks."""
    position = (np.arange(n_pixels) + 0.5) / _COARSE - 0.5
    index = np.clip(np.floor(position).astype(np.intp), 0, n_coarse - 2)
    return index, position - index


def masked_median(values: FloatArray, valid: BoolArray) -> FloatArray:
    """Median over the last axis of the valid values; 0 where there are none."""
    if values.shape[-1] > _LONG:
        both = (one.reshape(-1, one.shape[-1]) for one in (values, valid))
        medians = [median(row[use]) for row, use in zip(*both, strict=True)]
        return np.array(medians).reshape(values.shape[:-1])
    flat = np.where(valid, values, np.inf).reshape(-1, values.shape[-1])
    flat.sort(axis=-1)
    count = valid.sum(axis=-1).ravel()
    row = np.arange(len(flat))
    with np.errstate(invalid="ignore"):
        middle = 0.5 * (flat[row, np.maximum(count - 1, 0) // 2] + flat[row, count // 2])
    return np.where(count > 0, middle, 0.0).reshape(values.shape[:-1])


def median(values: FloatArray) -> float:
    """Median of a row of finite numbers, at a third of the cost of `numpy.median`; 0 if empty."""
    low, high = (values.size - 1) // 2, values.size // 2
    if low < 0:
        return 0.0
    parted = np.partition(values, (low, high))
    return float(0.5 * (parted[low] + parted[high]))


def fit_continuum(flux: FloatArray, valid: BoolArray, config: Preprocessing) -> FloatArray:
    """The smooth continuum of spectra on the grid.

    Two passes: the first is fitted to running medians, the second to the flux clipped at
    four robust standard deviations about the first, so that cosmic rays and strong narrow
    lines do not pull it up, however strong they are. A spectrum that was already divided
    by its continuum gets a continuum close to 1 and passes through unchanged.

    Parameters
    ----------
    flux : ndarray, shape (..., n_pixels)
    valid : ndarray of bool, shape (..., n_pixels)
    config : Preprocessing

    Returns
    -------
    ndarray, shape (..., n_pixels)
        Positive everywhere.
    """
    counts = _blocks(valid).sum(axis=-1).astype(np.float64)
    line = _Line(counts, config)
    first = line.through(counts * _block_medians(flux, valid))
    residual = flux - first
    scatter = 4.0 * MAD_TO_SIGMA * masked_median(np.abs(residual), valid)[..., None]
    clipped = first + np.clip(residual, -scatter, scatter)
    continuum = line.through(_block_sums(clipped, valid))
    level = masked_median(np.abs(continuum), valid)[..., None]
    floor = np.maximum(config.continuum_floor * level, _TINY)
    return np.maximum(continuum, floor)
