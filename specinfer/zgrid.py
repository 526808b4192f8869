"""Spectra on the grid of the redshift scan: a redshift is a shift."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from specinfer.continuum import median
from specinfer.preprocess import pixel_edges

FloatArray = NDArray[np.float64]

# Pixel i of the finest grid has its centre at log10(wavelength / Angstrom) = i * STEP,
# the pixels of SDSS.
STEP = 1e-4
LN_STEP = STEP * np.log(10.0)
# Spectra that come in larger pixels are scanned in larger ones.
BINNINGS = (16, 8, 4, 2, 1)
# A spike is so many sigma high, and its neighbours have less than this share of its height.
_SPIKE_SIGMA, _SPIKE_NEIGHBOUR = 6.0, 0.25
_AROUND = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
# Pixels that are less away from those of the grid, all moved alike, are taken as they are:
# log10(wavelength) in single precision is good to 0.002 of them.
_SAME_PIXELS = 0.02


class Gridded(NamedTuple):
    """A spectrum on the grid of the scan.

    Attributes
    ----------
    first : int
        Number of the first pixel; pixel I has the fine pixels I * binning and following.
    offset : float
        How far the pixels of the spectrum are to the red of those of the grid, in pixels:
        spectra that come in such pixels stay as they are.
    binning : int
        Fine pixels a pixel.
    flux, weight : ndarray, shape (n,)
        Flux over its scale, and inverse variance times the square of that scale; a weight
        of 0 marks unusable pixels. Pixels finer than those of the spectrum share its
        information: their weights are smaller accordingly.
    scale : float
        What the flux was divided by.
    """

    first: int
    offset: float
    binning: int
    flux: FloatArray
    weight: FloatArray
    scale: float

    @property
    def centres(self) -> FloatArray:
        """log10(wavelength) of the pixel centres."""
        centres = pixel_centres(self.first, self.flux.size, self.binning)
        return centres + self.offset * self.binning * STEP

    def rebinned(self, factor: int) -> tuple[Gridded, float]:
        """The spectrum in larger pixels, and the chi2 that no model on them can explain.

        Parameters
        ----------
        factor : int
            Pixels that become one: their weighted mean.

        Returns
        -------
        spectrum : Gridded
        scatter : float
            Sum of the weighted squares about those means.
        """
        first = self.first // factor
        before = self.first - first * factor
        after = -(before + self.flux.size) % factor
        padded = np.zeros((2, before + self.flux.size + after))
        inside = slice(before, before + self.flux.size)
        padded[0, inside], padded[1, inside] = self.weight, self.flux
        weight, flux = padded.reshape(2, -1, factor)
        total = weight.sum(axis=1)
        mean = (weight * flux).sum(axis=1) / np.where(total > 0, total, 1.0)
        scatter = float((weight * flux**2).sum() - (total * mean**2).sum())
        made = Gridded(first, self.offset / factor, self.binning * factor, mean, total, self.scale)
        return made, scatter


def pixel_centres(first: int, count: int, binning: int) -> FloatArray:
    """log10(wavelength / Angstrom) of pixel centres on the grid, shape (count,)."""
    pixel = np.arange(first, first + count, dtype=np.float64) * binning
    return np.asarray((pixel + 0.5 * (binning - 1)) * STEP)


def is_spike(flux: FloatArray, ivar: FloatArray) -> NDArray[np.bool_]:
    """Pixels that no line can have made: they stand alone, at any height.

    A spectrograph spreads a line over two pixels or more (full width at half maximum): then
    the neighbours of its peak have more than half of its height. Cosmic rays that nobody
    flagged, and dead pixels, do not.

    Parameters
    ----------
    flux, ivar : ndarray, shape (n,)

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    spike = np.zeros(flux.size, dtype=bool)
    if flux.size < 7:
        return spike
    good = ivar > 0
    values = np.where(good, flux, 0.0)
    # The level around: the means of three pixels at either side, two pixels away.
    sums = np.convolve(values, _AROUND, mode="same")
    counts = np.convolve(good.astype(np.float64), _AROUND, mode="same")
    excess = np.where(good & (counts >= 2), flux - sums / np.maximum(counts, 1.0), 0.0)
    beside = np.zeros(flux.size)
    # Of the same sign; the larger neighbour decides.
    beside[1:-1] = np.maximum(excess[:-2] * excess[1:-1], excess[2:] * excess[1:-1])
    sure = excess**2 * ivar > _SPIKE_SIGMA**2
    spike[1:-1] = (sure & (beside < _SPIKE_NEIGHBOUR * excess**2))[1:-1]
    return spike


def to_grid(
    wavelength: FloatArray, flux: FloatArray, ivar: FloatArray, binning: int | None = None
) -> Gridded:
    """A spectrum on the grid of the scan, without pixels that are spikes.

    Parameters
    ----------
    wavelength : ndarray, shape (n,)
        Vacuum Angstrom, increasing.
    flux, ivar : ndarray, shape (n,)
    binning : int, optional
        Fine pixels a pixel; by default the largest of `BINNINGS` that is no larger than
        the pixels of the spectrum.

    Returns
    -------
    Gridded
    """
    axis = _axis_of(wavelength)
    ivar = np.where(is_spike(flux, ivar), 0.0, ivar)
    good = np.flatnonzero(ivar > 0)
    scale = median(np.abs(flux[good])) or 1.0
    cut = slice(good[0], good[-1] + 1)
    pixel = axis.pixel[cut]
    first = round(float(pixel[0]))
    apart = pixel - np.arange(first, first + pixel.size)
    offset = float(apart.mean())
    if binning in (None, 1) and np.abs(apart - offset).max() < _SAME_PIXELS:
        flux, ivar = flux[cut] / scale, ivar[cut] * scale**2
        return Gridded(first, offset, 1, np.where(ivar > 0, flux, 0.0), ivar, scale)
    if binning is None:
        typical = 1.25 * median(axis.fine_pixels[cut])
        binning = next((b for b in BINNINGS if b <= typical), 1)
    first, last = int(np.floor(pixel[0] / binning)), int(np.ceil(pixel[-1] / binning))
    contents = np.zeros((3, flux.size))
    length, mean, density = contents
    usable = ivar > 0
    np.copyto(length, axis.length, where=usable)
    np.multiply(length, flux / scale, out=mean, where=usable)
    # The variance of a mean over a length L is this density over L: no pixel counts twice,
    # however it is cut.
    np.divide(length * axis.fine_pixels, ivar * scale**2, out=density, where=usable)
    places = axis.places(binning)
    inside = slice(first - places.first, last + 1 - places.first)
    length, mean, density = places.sums(contents)[:, inside]
    valid = (length > 0.5 * places.length[inside]) & (density > 0)
    length = np.where(valid, length, 1.0)
    weight = np.where(valid, binning * length / np.where(valid, density, 1.0), 0.0)
    return Gridded(first, 0.0, binning, np.where(valid, mean / length, 0.0), weight, scale)


class _Places(NamedTuple):
    """How the pixels of an axis fall on those of the grid.

    Attributes
    ----------
    first : int
        Number of the first pixel of the grid, in pixels of the binning.
    within, part : ndarray, shape (m + 1,)
        For every edge of the grid: the pixel of the axis in which it lies, and which part of
        that is below it.
    length : ndarray, shape (m,)
        Of the grid's pixels, Angstrom.
    """

    first: int
    within: NDArray[np.intp]
    part: FloatArray
    length: FloatArray

    def sums(self, contents: FloatArray) -> FloatArray:
        """Contents of the axis' pixels, shape (..., n), as those of the grid's, (..., m)."""
        below = np.zeros((*contents.shape[:-1], contents.shape[-1] + 1))
        np.cumsum(contents, axis=-1, out=below[..., 1:])
        inside = self.part * contents.take(self.within, axis=-1)
        at_edges = below.take(self.within, axis=-1) + inside
        return np.asarray(at_edges[..., 1:] - at_edges[..., :-1])


class _Axis:
    """What the spectra of a survey, on the same pixels, have in common."""

    def __init__(self, wavelength: FloatArray) -> None:
        self.wavelength = wavelength.copy()
        self.pixel = np.log10(wavelength) / STEP
        self._places: dict[int, _Places] = {}

    @cached_property
    def fine_pixels(self) -> FloatArray:
        """Fine pixels of the grid a pixel."""
        return np.gradient(self.pixel)

    @cached_property
    def _edges(self) -> tuple[FloatArray, FloatArray]:
        return pixel_edges(self.wavelength)

    @cached_property
    def length(self) -> FloatArray:
        """Of each pixel, Angstrom."""
        lower, upper = self._edges
        return upper - lower

    def places(self, binning: int) -> _Places:
        """How they fall on a grid."""
        if binning not in self._places:
            first = int(np.floor(self.pixel[0] / binning))
            last = int(np.ceil(self.pixel[-1] / binning))
            count = np.arange(first, last + 2)
            edges = np.power(10.0, (count * float(binning) - 0.5) * STEP)
            lower = self._edges[0]
            index = np.searchsorted(lower, edges, side="right") - 1
            inside = index >= 0
            index = np.maximum(index, 0)
            part = np.clip((edges - lower[index]) / self.length[index], 0.0, 1.0)
            self._places[binning] = _Places(first, index, part * inside, np.diff(edges))
        return self._places[binning]


# The last axis; replaced as a whole, so that threads may share it.
_recent: list[_Axis] = []


def _axis_of(wavelength: FloatArray) -> _Axis:
    """That of the last spectrum if it is the same: consecutive ones of a survey share it."""
    known = _recent[:]
    if known and np.array_equal(known[0].wavelength, wavelength):
        return known[0]
    made = _Axis(wavelength)
    _recent[:] = [made]
    return made
