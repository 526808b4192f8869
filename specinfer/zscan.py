"""The chi-square scan: every redshift of a family of eigen-spectra, all at once.

At every pixel shift a spectrum is fitted by weighted least squares with all eigen-spectra
of a family, a low-order additive polynomial and the first eigen-spectrum times a low-order
polynomial. On a grid in log10(wavelength) a redshift is a shift, so every term of the normal
equations is a cross-correlation, which the FFT gives for all shifts together; the equations
themselves are solved for all shifts at once. Pure numpy.

The published way (Zhong et al. 2024, arXiv:2412.21130) slides one fixed reconstruction;
redrock (Ross et al. 2020, and github.com/desihub/redrock) solves at every redshift.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from specinfer.preprocess import resample

FloatArray = NDArray[np.float64]

# Pixel i of the finest grid has its centre at log10(wavelength / Angstrom) = i * STEP,
# the pixels of SDSS.
STEP = 1e-4
LN_STEP = STEP * np.log(10.0)
# Spectra that come in larger pixels are scanned in larger ones.
BINNINGS = (16, 8, 4, 2, 1)
_BLOCK = 64
# Pixels that differ by less from those of the grid are taken as they are.
_SAME_PIXELS = 1e-3


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


def pixel_centres(first: int, count: int, binning: int) -> FloatArray:
    """log10(wavelength / Angstrom) of pixel centres on the grid, shape (count,)."""
    pixel = np.arange(first, first + count, dtype=np.float64) * binning
    return np.asarray((pixel + 0.5 * (binning - 1)) * STEP)


def to_grid(
    wavelength: FloatArray, flux: FloatArray, ivar: FloatArray, binning: int | None = None
) -> Gridded:
    """A spectrum on the grid of the scan.

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
    pixel = np.log10(wavelength) / STEP
    good = np.flatnonzero(ivar > 0)
    scale = float(np.median(np.abs(flux[good]))) or 1.0
    cut = slice(good[0], good[-1] + 1)
    flux, ivar, pixel = flux[cut] / scale, ivar[cut] * scale**2, pixel[cut]
    if binning in (None, 1) and np.abs(np.diff(pixel) - 1.0).max() < _SAME_PIXELS:
        first = round(float(pixel[0]))
        offset = float(np.mean(pixel - np.arange(first, first + pixel.size)))
        return Gridded(first, offset, 1, np.where(ivar > 0, flux, 0.0), ivar, scale)
    width = np.gradient(pixel)
    if binning is None:
        typical = 1.25 * float(np.median(width))
        binning = next((b for b in BINNINGS if b <= typical), 1)
    first, last = int(np.floor(pixel[0] / binning)), int(np.ceil(pixel[-1] / binning))
    edges = np.power(10.0, (np.arange(first, last + 2) * float(binning) - 0.5) * STEP)
    # The variance of a mean over a length L is this density over L: no pixel counts twice,
    # however it is cut.
    density = np.where(ivar > 0, width / np.where(ivar > 0, ivar, 1.0), 0.0)
    made = resample(
        wavelength[cut],
        np.stack([flux, density]),
        np.broadcast_to(ivar > 0, (2, ivar.size)).astype(np.float64),
        edges,
        0.5,
    )
    valid = made.valid[0] & (made.flux[1] > 0)
    weight = np.where(valid, binning / np.where(valid, made.flux[1], 1.0), 0.0)
    return Gridded(first, 0.0, binning, np.where(valid, made.flux[0], 0.0), weight, scale)


@dataclass(frozen=True, eq=False)
class Family:
    """The eigen-spectra of one family, in the rest frame.

    Parameters
    ----------
    name : str
    spectra : ndarray, shape (K, n)
        On the finest grid; the first is the mean, which is positive.
    first : int
        Number of the first pixel.
    redshift_min, redshift_max : float
    resolution : float
        lambda / FWHM of the eigen-spectra.
    precision : ndarray, shape (K,)
        Inverse variances of the coefficients among real spectra of median flux 1.
    """

    name: str
    spectra: FloatArray
    first: int
    redshift_min: float
    redshift_max: float
    resolution: float
    precision: FloatArray


class Curve(NamedTuple):
    """chi2 of one family at every shift.

    Attributes
    ----------
    redshift : ndarray, shape (S,)
    chi2 : ndarray, shape (S,)
        Of the whole spectrum: pixels that the eigen-spectra do not reach count with the
        polynomial alone.
    """

    redshift: FloatArray
    chi2: FloatArray


class _Tables(NamedTuple):
    """What the scan of a family needs besides the spectrum, for one window of pixels."""

    shifts: NDArray[np.intp]
    length: int
    single: NDArray[np.complex64]  # transforms of T_k
    pairs: NDArray[np.complex64]  # of T_k T_l, k <= l
    low: NDArray[np.intp]  # first and one past the last data pixel that the templates reach
    high: NDArray[np.intp]


class Scanner:
    """Scans spectra with one family.

    Parameters
    ----------
    family : Family
    additive : int
        Terms of the additive polynomial.
    multiplicative : int
        Terms (linear, quadratic...) of the polynomial that multiplies the first
        eigen-spectrum.
    """

    def __init__(self, family: Family, additive: int = 4, multiplicative: int = 1) -> None:
        self.family = family
        self.additive = additive
        self.multiplicative = multiplicative
        self._templates = lru_cache(maxsize=8)(self._make_templates)
        self._tables = lru_cache(maxsize=8)(self._make_tables)

    def templates(self, binning: int, resolution: float | None) -> tuple[int, FloatArray]:
        """The eigen-spectra in pixels of a binning, at a resolution: first pixel and (K, n)."""
        return self._templates(binning, None if resolution is None else round(resolution, -1))

    def polynomials(self, data: Gridded) -> tuple[FloatArray, FloatArray]:
        """The additive terms and those that multiply the first eigen-spectrum, (terms, n)."""
        x = np.linspace(-1.0, 1.0, data.flux.size)
        basis = np.asarray(np.polynomial.legendre.legvander(x, self.additive - 1).T, np.float64)
        return basis, x ** np.arange(1, self.multiplicative + 1)[:, None]

    def scan(self, data: Gridded, resolution: float | None = None) -> Curve:
        """chi2 at every pixel shift.

        Parameters
        ----------
        data : Gridded
        resolution : float, optional
            lambda / FWHM of the spectrum; eigen-spectra that are sharper are convolved.

        Returns
        -------
        Curve
        """
        start = data.first // _BLOCK * _BLOCK
        stop = -(-(data.first + data.flux.size) // _BLOCK) * _BLOCK
        tables = self._tables(
            start, stop - start, data.binning, None if resolution is None else round(resolution, -1)
        )
        n_shifts, n_k = tables.shifts.size, self.family.spectra.shape[0]
        weight = np.zeros(stop - start)
        flux = np.zeros(stop - start)
        inside = slice(data.first - start, data.first - start + data.flux.size)
        weight[inside], flux[inside] = data.weight, data.flux
        x = np.linspace(-1.0, 1.0, stop - start)
        basis = np.asarray(np.polynomial.legendre.legvander(x, self.additive - 1).T, np.float64)
        times = x ** np.arange(1, self.multiplicative + 1)[:, None]

        n_j, n_m = self.additive, self.multiplicative
        n = n_j + n_k + n_m
        # Less what the polynomial alone explains, numbers stay small enough for float32.
        flux = flux - _null_fit(basis, weight, flux)
        normal = np.zeros((n, n, n_shifts), dtype=np.float32)
        right = np.zeros((n, n_shifts), dtype=np.float32)
        # polynomial x polynomial, polynomial x data
        j, i = np.triu_indices(n_j)
        normal[i, j] = _window_sums(weight * basis[i] * basis[j], tables)
        right[:n_j] = _window_sums(weight * basis * flux, tables)
        # eigen-spectrum x polynomial, x data; the products of the multiplicative terms
        left = np.concatenate([basis, flux[None]]) * weight
        single = tables.single
        made = self._correlate(left, single, tables)  # (J + 1, K, S)
        k = slice(n_j, n_j + n_k)
        normal[k, :n_j] = made[:n_j].swapaxes(0, 1)
        right[k] = made[n_j]
        # eigen-spectrum x eigen-spectrum
        j, i = np.triu_indices(n_k)
        normal[n_j + i, n_j + j] = self._correlate(weight[None], tables.pairs, tables)[0]
        if n_m:
            extra = left[None] * times[:, None]  # (M, J + 1, n)
            made = self._correlate(extra.reshape(-1, weight.size), single[:1], tables)
            made = made.reshape(n_m, n_j + 1, n_shifts)
            m = slice(n_j + n_k, n)
            normal[m, :n_j] = made[:, :n_j]
            right[m] = made[:, n_j]
            # T_0 T_k are the first K of the pairs.
            normal[m, k] = self._correlate(weight * times, tables.pairs[:n_k], tables)
            j, i = np.triu_indices(n_m)
            product = weight * times[i] * times[j]
            normal[n_j + n_k + i, n_j + n_k + j] = self._correlate(
                product, tables.pairs[:1], tables
            )[:, 0]
        ridge = np.concatenate(
            [np.zeros(n_j), self.family.precision, np.full(n_m, self.family.precision[0])]
        )
        diagonal = np.arange(n)
        normal[diagonal, diagonal] += ridge[:, None]
        gain = _gain(normal, right, n_j)
        # Pixels outside the overlap count with the polynomial alone, in every family.
        whole = float((weight * flux**2).sum())
        redshift = np.expm1((tables.shifts[::-1] + data.offset) * data.binning * LN_STEP)
        return Curve(redshift, whole - gain[::-1].astype(np.float64))

    def _correlate(
        self, data: FloatArray, transforms: NDArray[np.complex64], tables: _Tables
    ) -> NDArray[np.float32]:
        """Sums over pixels of data times shifted eigen-spectra: (n_data, n_transforms, S)."""
        spectrum = np.conj(np.fft.rfft(data.astype(np.float32), tables.length, axis=-1))
        out = np.empty((len(data), len(transforms), tables.shifts.size), dtype=np.float32)
        for row, one in enumerate(spectrum):
            out[row] = np.fft.irfft(one * transforms, tables.length, axis=-1)[
                :, : tables.shifts.size
            ]
        return out

    def _make_templates(self, binning: int, resolution: float | None) -> tuple[int, FloatArray]:
        family = self.family
        spectra = family.spectra
        if resolution is not None and resolution < 0.95 * family.resolution:
            sigma = np.sqrt(resolution**-2 - family.resolution**-2) / 2.3548 / LN_STEP
            spectra = convolve(spectra, sigma)
        skip = -family.first % binning
        count = (spectra.shape[1] - skip) // binning
        cut = spectra[:, skip : skip + count * binning]
        return (family.first + skip) // binning, cut.reshape(len(spectra), count, binning).mean(-1)

    def _make_tables(
        self, start: int, size: int, binning: int, resolution: float | None
    ) -> _Tables:
        first, spectra = self.templates(binning, resolution)
        family = self.family
        width = binning * LN_STEP
        low = int(np.floor(np.log1p(family.redshift_min) / width))
        high = int(np.ceil(np.log1p(family.redshift_max) / width))
        # Falling: index r of a correlation is the shift high - r.
        shifts = np.arange(high, low - 1, -1)
        # Eigen-spectrum pixel t stands at data pixel t + shift: those from start - high on.
        length = _good_length(size + shifts.size - 1)
        base = start - high
        laid = np.zeros((len(spectra), length))
        take = np.arange(max(base, first), min(start + size - low, first + spectra.shape[1]))
        laid[:, take - base] = spectra[:, take - first]
        j, i = np.triu_indices(len(spectra))
        single = np.fft.rfft(laid.astype(np.float32), axis=-1).astype(np.complex64)
        pairs = np.fft.rfft((laid[i] * laid[j]).astype(np.float32), axis=-1).astype(np.complex64)
        reach_low = np.clip(first + shifts - start, 0, size)
        reach_high = np.clip(first + spectra.shape[1] + shifts - start, 0, size)
        return _Tables(shifts, length, single, pairs, reach_low, reach_high)


def _window_sums(values: FloatArray, tables: _Tables) -> FloatArray:
    """Sums over the pixels that the eigen-spectra reach at each shift: (n, S)."""
    below = np.zeros((len(values), values.shape[1] + 1))
    np.cumsum(values, axis=1, out=below[:, 1:])
    return below[:, tables.high] - below[:, tables.low]


def _null_fit(basis: FloatArray, weight: FloatArray, flux: FloatArray) -> FloatArray:
    """The polynomial alone, fitted to the whole spectrum."""
    left = basis * weight
    normal = left @ basis.T
    normal[np.diag_indices(len(normal))] *= 1.0 + 1e-10
    return np.asarray(np.linalg.lstsq(normal, left @ flux, rcond=None)[0] @ basis)


def _gain(
    normal: NDArray[np.float32], right: NDArray[np.float32], n_null: int
) -> NDArray[np.float32]:
    """How much the unknowns after the first `n_null` lower chi2, at every shift.

    Cholesky factors of all matrices at once: the loops run over unknowns, numpy over the
    shifts. Only the lower triangle of `normal`, shape (n, n, S), is used; it is overwritten.
    """
    n = len(right)
    gain = np.zeros(right.shape[1], dtype=np.float32)
    for k in range(n):
        # A pivot that vanished belongs to an unknown that the others already explain.
        pivot = normal[k, k]
        usable = pivot > 1e-6 * np.abs(pivot).max()
        inverse = np.where(usable, 1.0 / np.where(usable, pivot, 1.0), 0.0).astype(np.float32)
        if k >= n_null:
            gain += right[k] ** 2 * inverse
        for row in range(k + 1, n):
            factor = normal[row, k] * inverse
            right[row] -= factor * right[k]
            normal[row, k + 1 : row + 1] -= factor * normal[k + 1 : row + 1, k]
    return gain


def convolve(spectra: FloatArray, sigma: float) -> FloatArray:
    """Gaussian convolution along the last axis; the ends are extended."""
    half = int(np.ceil(4.0 * sigma)) + 1
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(spectra, ((0, 0), (half, half)), mode="edge")
    length = _good_length(padded.shape[1])
    made = np.fft.irfft(np.fft.rfft(padded, length) * np.fft.rfft(kernel, length), length)
    return np.asarray(made[:, 2 * half : 2 * half + spectra.shape[1]])


def _good_length(least: int) -> int:
    """The smallest 2^a 3^b 5^c that is no smaller: transforms of other lengths are slow."""
    best = 1 << (least - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            length = three << max(0, (-(-least // three) - 1).bit_length())
            best = min(best, length)
            three *= 3
        five *= 5
    return best
