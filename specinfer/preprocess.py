"""From a spectrum on its own pixels to what the networks see.

Pure functions on numpy arrays. Training imports exactly these, so that a
network is never served something it was not trained on; `VERSION` is written
into every model card and a model made for another version is refused.

All functions work on one spectrum, shape (n,), or on a batch that shares one
wavelength axis, shape (..., n).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

VERSION = 3
# Channels of a network's input.
N_CHANNELS = 3

# A pixel wider than this many times its narrower neighbour distance stands next
# to a gap (between arms, or where bad pixels were left out): it ends there.
_MAX_STRETCH = 1.5
# Factor between the median absolute deviation and sigma of a Gaussian.
_MAD_TO_SIGMA = 1.4826
# The depth of features is stated relative to this contrast, and within these.
_USUAL_SPREAD = 0.1
_SPREADS = (0.01, 10.0)
# A featureless spectrum is not blown up.
_LEAST_SPREAD = 1e-3
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Preprocessing:
    """The settings of the preprocessing, as a model card states them.

    Parameters
    ----------
    wavelength_min, wavelength_max : float
        Outer edges of the grid, Angstrom.
    n_pixels : int
        Number of grid pixels, equally spaced in ln(wavelength).
    continuum_width : float
        Standard deviation in ln(wavelength) of the continuum smoothing.
    continuum_floor : float
        The continuum is not let below this fraction of its median absolute
        value, so that a continuum near zero does not blow up the noise.
    clip : float
        Values beyond this many robust standard deviations are compressed
        logarithmically.
    min_overlap : float
        Share of a grid pixel that usable input pixels must cover.
    """

    wavelength_min: float = 3000.0
    wavelength_max: float = 11000.0
    n_pixels: int = 1024
    continuum_width: float = 0.08
    continuum_floor: float = 0.1
    clip: float = 5.0
    min_overlap: float = 0.5

    @classmethod
    def from_dict(cls, block: Mapping[str, Any]) -> Preprocessing:
        """The settings in a card's ``preprocessing`` block.

        Raises
        ------
        ValueError
            If the block was written for another `VERSION` or names unknown settings.
        """
        settings = dict(block)
        version = settings.pop("version", None)
        if version != VERSION:
            raise ValueError(f"preprocessing version {version}, this package has {VERSION}")
        unknown = set(settings) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"unknown preprocessing settings {sorted(unknown)}")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """The block for a card; `from_dict` reads it back."""
        return {"version": VERSION, **asdict(self)}

    @cached_property
    def step(self) -> float:
        """Width of a grid pixel in ln(wavelength)."""
        return float(np.log(self.wavelength_max / self.wavelength_min)) / self.n_pixels

    @cached_property
    def edges(self) -> FloatArray:
        """Edges of the grid pixels, Angstrom, shape (n_pixels + 1,)."""
        return log_edges(self.wavelength_min, self.wavelength_max, self.n_pixels)

    @cached_property
    def wavelength(self) -> FloatArray:
        """Centres of the grid pixels, Angstrom, shape (n_pixels,)."""
        return np.sqrt(self.edges[1:] * self.edges[:-1])


class Resampled(NamedTuple):
    """A spectrum on new pixels: `flux`, `ivar` (..., m) float64 and `valid` (..., m) bool."""

    flux: FloatArray
    ivar: FloatArray
    valid: BoolArray


class Prepared(NamedTuple):
    """What a network gets, and what a picture shows.

    Attributes
    ----------
    input : ndarray, shape (..., 3, n_pixels), float32
        The normalised flux, the valid-pixel channel (0 or 1), and how deep the features are:
        the logarithm that the normalisation took out of the flux, the same at every valid
        pixel. All are 0 where invalid.
    flux, ivar : ndarray, shape (..., n_pixels)
        The resampled flux before the continuum was divided out, and its inverse variance.
    continuum : ndarray, shape (..., n_pixels)
    valid : ndarray of bool, shape (..., n_pixels)
    coverage : ndarray, shape (...)
        Share of the grid that is valid.
    """

    input: NDArray[np.float32]
    flux: FloatArray
    ivar: FloatArray
    continuum: FloatArray
    valid: BoolArray
    coverage: FloatArray


def log_edges(wavelength_min: float, wavelength_max: float, n_pixels: int) -> FloatArray:
    """Pixel edges equally spaced in ln(wavelength), shape (n_pixels + 1,)."""
    return np.exp(np.linspace(np.log(wavelength_min), np.log(wavelength_max), n_pixels + 1))


def pixel_edges(wavelength: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lower and upper edge of each pixel from the pixel centres.

    Parameters
    ----------
    wavelength : ndarray, shape (n,)
        Increasing pixel centres, n >= 2.

    Returns
    -------
    lower, upper : ndarray, shape (n,)
        Half-way to the neighbours; next to a gap only as far as on the other side,
        so that a pixel does not stretch over wavelengths nobody observed.
    """
    gaps = np.diff(wavelength)
    below = np.concatenate([gaps[:1], gaps])
    above = np.concatenate([gaps, gaps[-1:]])
    narrow = np.minimum(below, above) * _MAX_STRETCH
    lower = wavelength - 0.5 * np.where(below > narrow, narrow / _MAX_STRETCH, below)
    upper = wavelength + 0.5 * np.where(above > narrow, narrow / _MAX_STRETCH, above)
    return lower, upper


def resample(
    wavelength: FloatArray,
    flux: FloatArray,
    ivar: FloatArray,
    edges: FloatArray,
    min_overlap: float = 0.5,
) -> Resampled:
    """Rebin spectra to other pixels, conserving flux and propagating the noise.

    Each output pixel is the mean flux density of the usable input pixels that it
    overlaps, weighted by the length of the overlap (the one-dimensional drizzle of
    Fruchter & Hook 2002, PASP 114, 144, without shrinking the pixels). The integral
    of the flux over any range of whole pixels is conserved. The cost is linear in
    the number of pixels: everything is read off cumulative sums.

    Parameters
    ----------
    wavelength : ndarray, shape (n,)
        Increasing pixel centres.
    flux : ndarray, shape (..., n)
        Flux density.
    ivar : ndarray, shape (..., n)
        Inverse variance; pixels with ``ivar == 0`` are left out.
    edges : ndarray, shape (m + 1,)
        Increasing edges of the output pixels.
    min_overlap : float, optional
        Share of an output pixel that must be covered by usable input.

    Returns
    -------
    Resampled
        Arrays of shape (..., m). Invalid pixels have flux 0 and ivar 0. The ivar
        is that of each pixel alone: neighbours that share an input pixel are
        correlated.
    """
    lower, upper = pixel_edges(wavelength)
    # For every edge: the last pixel that starts at or before it, and which part of
    # that pixel lies below the edge.
    index = np.searchsorted(lower, edges, side="right") - 1
    inside = index >= 0
    index = np.maximum(index, 0)
    width = upper - lower
    part = np.where(inside, np.clip((edges - lower[index]) / width[index], 0.0, 1.0), 0.0)

    good = ivar > 0
    weight = np.where(good, width, 0.0)
    content = weight * np.where(good, flux, 0.0)
    overlap = _between(weight, index, part)
    total = _between(content, index, part)
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = np.where(good, weight**2 / np.where(good, ivar, 1.0), 0.0)
        variance = _between_squared(noise, index, part)
        valid = overlap > min_overlap * np.diff(edges)
        new_flux = np.where(valid, total / overlap, 0.0)
        new_ivar = np.where(valid, overlap**2 / variance, 0.0)
    return Resampled(new_flux, new_ivar, valid)


def _between(content: FloatArray, index: NDArray[np.intp], part: FloatArray) -> FloatArray:
    """Sums of per-pixel contents between successive edges."""
    below = np.zeros((*content.shape[:-1], content.shape[-1] + 1))
    np.cumsum(content, axis=-1, out=below[..., 1:])
    at_edges = below[..., index] + part * content[..., index]
    return np.diff(at_edges, axis=-1)


def _between_squared(noise: FloatArray, index: NDArray[np.intp], part: FloatArray) -> FloatArray:
    """Sums of variances between edges, where a part t of a pixel counts as t squared."""
    first, last = index[:-1], index[1:]
    start, end = part[:-1], part[1:]
    below = np.zeros((*noise.shape[:-1], noise.shape[-1] + 1))
    np.cumsum(noise, axis=-1, out=below[..., 1:])
    apart = (
        (1.0 - start) ** 2 * noise[..., first]
        + (below[..., last] - below[..., np.minimum(first + 1, last)])
        + end**2 * noise[..., last]
    )
    same = (end - start) ** 2 * noise[..., first]
    return np.where(first == last, same, apart)


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
        medians = [_median(row[use]) for row, use in zip(*both, strict=True)]
        return np.array(medians).reshape(values.shape[:-1])
    flat = np.where(valid, values, np.inf).reshape(-1, values.shape[-1])
    flat.sort(axis=-1)
    count = valid.sum(axis=-1).ravel()
    row = np.arange(len(flat))
    with np.errstate(invalid="ignore"):
        middle = 0.5 * (flat[row, np.maximum(count - 1, 0) // 2] + flat[row, count // 2])
    return np.where(count > 0, middle, 0.0).reshape(values.shape[:-1])


def _median(values: FloatArray) -> float:
    """Median of a row; 0 if it is empty."""
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
    scatter = 4.0 * _MAD_TO_SIGMA * masked_median(np.abs(residual), valid)[..., None]
    clipped = first + np.clip(residual, -scatter, scatter)
    continuum = line.through(_block_sums(clipped, valid))
    level = masked_median(np.abs(continuum), valid)[..., None]
    floor = np.maximum(config.continuum_floor * level, _TINY)
    return np.maximum(continuum, floor)


def feature_spread(contrast: FloatArray, valid: BoolArray) -> FloatArray:
    """The robust standard deviation that `prepare` divides contrasts by.

    Parameters
    ----------
    contrast : ndarray, shape (..., n_pixels)
        Flux over continuum, less 1.
    valid : ndarray of bool, shape (..., n_pixels)

    Returns
    -------
    ndarray, shape (..., 1)
    """
    return np.maximum(_spread(contrast, valid), _LEAST_SPREAD)


def _spread(contrast: FloatArray, valid: BoolArray) -> FloatArray:
    return np.asarray(_MAD_TO_SIGMA * masked_median(np.abs(contrast), valid)[..., None])


def prepare(
    wavelength: FloatArray, flux: FloatArray, ivar: FloatArray, config: Preprocessing
) -> Prepared:
    """Resample, divide by the continuum and normalise: the input of the networks.

    Parameters
    ----------
    wavelength : ndarray, shape (n,)
        Increasing pixel centres, Angstrom.
    flux, ivar : ndarray, shape (..., n)
        Flux density in any unit, and inverse variance; only whether ivar is
        positive matters for `Prepared.input`.
    config : Preprocessing

    Returns
    -------
    Prepared

    Notes
    -----
    The normalised flux is (flux / continuum - 1) over its robust standard deviation
    (1.4826 times the median absolute value), passed through c arcsinh(x / c), which
    is linear for |x| < c and logarithmic beyond. Multiplying the flux by a positive
    number changes nothing. The third channel is ln(standard deviation / 0.1): light of
    a host or of the sky that was not subtracted makes features shallow, which the
    normalised flux alone does not tell.
    """
    # A common scale keeps fluxes of 1e-17 away from the floating-point floor.
    usable = np.where(ivar > 0, np.abs(flux), 0.0)
    scale = np.max(usable, axis=-1, keepdims=True)
    scale = np.where(scale > 0, scale, 1.0)
    resampled = resample(
        wavelength, flux / scale, ivar * scale**2, config.edges, config.min_overlap
    )
    valid = resampled.valid
    continuum = fit_continuum(resampled.flux, valid, config)
    contrast = np.where(valid, resampled.flux / continuum - 1.0, 0.0)
    spread = _spread(contrast, valid)
    scaled = contrast / np.maximum(spread, _LEAST_SPREAD)
    normalised = config.clip * np.arcsinh(scaled / config.clip)
    stacked = np.empty((*valid.shape[:-1], N_CHANNELS, valid.shape[-1]), dtype=np.float32)
    stacked[..., 0, :], stacked[..., 1, :] = normalised, valid
    depth = np.log(np.clip(spread, *_SPREADS) / _USUAL_SPREAD)
    stacked[..., 2, :] = np.where(valid, depth, 0.0)
    return Prepared(
        stacked,
        resampled.flux * scale,
        resampled.ivar / scale**2,
        continuum * scale,
        valid,
        valid.mean(axis=-1),
    )
