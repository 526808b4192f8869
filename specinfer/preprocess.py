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
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from specinfer.continuum import MAD_TO_SIGMA, fit_continuum, masked_median

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

VERSION = 3
# Channels of a network's input.
N_CHANNELS = 3

# A pixel wider than this many times its narrower neighbour distance stands next
# to a gap (between arms, or where bad pixels were left out): it ends there.
_MAX_STRETCH = 1.5
# The depth of features is stated relative to this contrast, and within these.
_USUAL_SPREAD = 0.1
_SPREADS = (0.01, 10.0)
# A featureless spectrum is not blown up.
_LEAST_SPREAD = 1e-3


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
    gaps = wavelength[1:] - wavelength[:-1]
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
    part = (edges - lower[index]) / width[index]
    part = np.where(inside, np.minimum(np.maximum(part, 0.0), 1.0), 0.0)

    good = ivar > 0
    weight = np.where(good, width, 0.0)
    content = weight * np.where(good, flux, 0.0)
    overlap = _between(weight, index, part)
    total = _between(content, index, part)
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = np.where(good, weight**2 / np.where(good, ivar, 1.0), 0.0)
        variance = _between_squared(noise, index, part)
        valid = overlap > min_overlap * (edges[1:] - edges[:-1])
        new_flux = np.where(valid, total / overlap, 0.0)
        new_ivar = np.where(valid, overlap**2 / variance, 0.0)
    return Resampled(new_flux, new_ivar, valid)


def _between(content: FloatArray, index: NDArray[np.intp], part: FloatArray) -> FloatArray:
    """Sums of per-pixel contents between successive edges."""
    below = np.zeros((*content.shape[:-1], content.shape[-1] + 1))
    np.cumsum(content, axis=-1, out=below[..., 1:])
    at_edges = below[..., index] + part * content[..., index]
    return np.asarray(at_edges[..., 1:] - at_edges[..., :-1])


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
    return np.asarray(MAD_TO_SIGMA * masked_median(np.abs(contrast), valid)[..., None])


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
