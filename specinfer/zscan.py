"""The chi-square scan: every redshift of a family of eigen-spectra, all at once.

At every pixel shift a spectrum is fitted by weighted least squares with all eigen-spectra
of a family, a low-order additive polynomial and a typical spectrum times a low-order
polynomial. On a grid in log10(wavelength) a redshift is a shift, so every term of the normal
equations is a cross-correlation, which the FFT gives for all shifts together; the equations
themselves are solved for all shifts at once. Pure numpy, in double precision: a spectrum that
rises a hundredfold to the blue leaves single precision too few digits for its red end.

The published way (Zhong et al. 2024, arXiv:2412.21130) slides one fixed reconstruction;
redrock (Ross et al. 2020, and github.com/desihub/redrock) solves at every redshift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from specinfer import zwindow
from specinfer.zgrid import LN_STEP, Gridded
from specinfer.zwindow import Products, Rows

FloatArray = NDArray[np.float64]

# Windows of pixels start and end at multiples of this: spectra of a survey share their tables.
_BLOCK = 64
# Resolutions are taken in steps of this in their logarithm.
_SAME_RESOLUTION = 0.1
# Least variance of the prior along any axis, over the mean one.
_FLOOR = 1e-3


@dataclass(frozen=True, eq=False)
class Family:
    """The eigen-spectra of one family, in the rest frame.

    Parameters
    ----------
    name : str
    spectra : ndarray, shape (K, n)
        On the finest grid.
    first : int
        Number of the first pixel.
    redshift_min, redshift_max : float
    resolution : float
        lambda / FWHM of the eigen-spectra.
    typical : ndarray, shape (K,)
        Coefficients of a typical spectrum, which the multiplicative polynomial tilts.
    moments : ndarray, shape (K, K)
        Second moments of the coefficients among spectra of median flux 1: the prior.
    binning : int
        Fine pixels a pixel that `specinfer.zfind` scans in, at least: broad lines need no
        narrow ones.
    """

    name: str
    spectra: FloatArray
    first: int
    redshift_min: float
    redshift_max: float
    resolution: float
    typical: FloatArray
    moments: FloatArray
    binning: int = 1


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
    """What the scan of many shifts needs besides the spectrum, for one window of pixels.

    The transforms of what `zwindow.Products` names; the last of `tilted_pairs` is M M.
    """

    shifts: NDArray[np.intp]
    length: int
    single: NDArray[Any]
    pairs: NDArray[Any]
    tilted: NDArray[Any]
    tilted_pairs: NDArray[Any]
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
        Terms (linear, quadratic...) of the polynomial that multiplies the typical spectrum.
    """

    def __init__(self, family: Family, additive: int = 4, multiplicative: int = 1) -> None:
        self.family = family
        self.additive = additive
        self.multiplicative = multiplicative
        # Methods of one scanner: the caches go when it goes.
        self._templates = lru_cache(maxsize=16)(self._make_templates)
        self._typical = lru_cache(maxsize=16)(self._make_typical)
        self._products = lru_cache(maxsize=8)(self._make_products)
        self._tables = lru_cache(maxsize=16)(self._make_tables)

    def templates(self, binning: int, resolution: float | None) -> tuple[int, FloatArray]:
        """The eigen-spectra in pixels of a binning, at a resolution: first pixel and (K, n)."""
        return self._templates(binning, _rounded(resolution))

    def typical(self, binning: int, resolution: float | None) -> FloatArray:
        """The typical spectrum on the pixels of `templates`, shape (1, n)."""
        return self._typical(binning, _rounded(resolution))

    def polynomials(self, count: int) -> tuple[FloatArray, FloatArray]:
        """The additive terms over `count` pixels, and the factors of the multiplicative ones."""
        return _polynomials(count, self.additive, self.multiplicative)

    @cached_property
    def axes(self) -> FloatArray:
        """Principal axes of the prior, one a column, each as long as its standard deviation.

        Along these the coefficients are of order 1 and independent, whatever the scale and
        the likeness of the eigen-spectra.
        """
        moments = self.family.moments
        # What real spectra never do is not impossible.
        floor = _FLOOR * np.trace(moments) / len(moments) * np.eye(len(moments))
        values, vectors = np.linalg.eigh(moments + floor)
        return np.asarray(vectors[:, ::-1] * np.sqrt(values[::-1]))

    @cached_property
    def penalty(self) -> FloatArray:
        """Added to the normal matrix: 0 for additive terms, the prior, 1 for multiplicative."""
        inverse = np.linalg.inv(self.axes)
        n_j, n_k = self.additive, len(inverse)
        made = np.zeros((n_j + n_k + self.multiplicative,) * 2)
        made[n_j : n_j + n_k, n_j : n_j + n_k] = inverse.T @ inverse
        rest = np.arange(n_j + n_k, len(made))
        made[rest, rest] = 1.0
        return made

    def scan(
        self,
        data: Gridded,
        resolution: float | None = None,
        redshifts: tuple[float, float] | None = None,
    ) -> Curve:
        """chi2 at every pixel shift.

        Parameters
        ----------
        data : Gridded
        resolution : float, optional
            lambda / FWHM of the spectrum; eigen-spectra that are sharper are convolved.
        redshifts : (float, float), optional
            Only between these.

        Returns
        -------
        Curve
        """
        start = data.first // _BLOCK * _BLOCK
        stop = -(-(data.first + data.flux.size) // _BLOCK) * _BLOCK
        # The polynomials of the whole window of pixels.
        before = data.first - start
        inside = slice(before, before + data.flux.size)
        basis, times = self.polynomials(stop - start)
        basis, times = basis[:, inside], times[:, inside]
        # Less what the polynomial alone explains: small numbers lose fewer digits.
        flux = data.flux - null_fit(basis, data.weight, data.flux)
        whole = float((data.weight * flux**2).sum())
        low, high = self._shifts(data.binning, redshifts)
        near = _rounded(resolution)
        if high - low < zwindow.FEW:
            shifts = np.arange(low, high + 1)
            rows = Rows(data.first, data.weight, flux, basis, times)
            gain = zwindow.gains(rows, self._products(data.binning, near), low, high)
        else:
            tables = self._tables(start, stop - start, data.binning, near, low, high)
            padding = (before, stop - data.first - data.flux.size)
            weight, flux = np.pad(data.weight, padding), np.pad(flux, padding)
            gain = zwindow.careful_gains(*self._equations(weight, flux, tables), self.additive)
            gain, shifts = gain[::-1], tables.shifts[::-1]
        redshift = np.expm1((shifts + data.offset) * data.binning * LN_STEP)
        # Pixels outside the overlap count with the polynomial alone, in every family.
        return Curve(redshift, whole - gain)

    def _equations(
        self, weight: FloatArray, flux: FloatArray, tables: _Tables
    ) -> tuple[FloatArray, FloatArray]:
        """The lower triangles of the normal matrices, (n, n, S), and their right sides, (n, S)."""
        n_shifts, n_k = tables.shifts.size, self.family.spectra.shape[0]
        n_j, n_m = self.additive, self.multiplicative
        n = n_j + n_k + n_m
        k, m = slice(n_j, n_j + n_k), slice(n_j + n_k, n)
        basis, times = self.polynomials(weight.size)
        normal = np.zeros((n, n, n_shifts))
        right = np.zeros((n, n_shifts))
        # polynomial x polynomial, polynomial x data
        j, i = np.triu_indices(n_j)
        normal[i, j] = _window_sums(weight * basis[i] * basis[j], tables)
        right[:n_j] = _window_sums(weight * basis * flux, tables)
        # eigen-spectrum x polynomial, x data
        left = np.concatenate([basis, flux[None]]) * weight
        made = _correlate(left, tables.single, tables)
        normal[k, :n_j] = made[:n_j].swapaxes(0, 1)
        right[k] = made[n_j]
        # eigen-spectrum x eigen-spectrum
        j, i = np.triu_indices(n_k)
        normal[n_j + i, n_j + j] = _correlate(weight[None], tables.pairs, tables)[0]
        if n_m:
            extra = (left[None] * times[:, None]).reshape(-1, weight.size)
            made = _correlate(extra, tables.tilted, tables).reshape(n_m, n_j + 1, n_shifts)
            normal[m, :n_j] = made[:, :n_j]
            right[m] = made[:, n_j]
            normal[m, k] = _correlate(weight * times, tables.tilted_pairs[:-1], tables)
            j, i = np.triu_indices(n_m)
            products = _correlate(weight * times[i] * times[j], tables.tilted_pairs[-1:], tables)
            normal[n_j + n_k + i, n_j + n_k + j] = products[:, 0]
        diagonal = np.arange(n_j, n)
        normal[diagonal, diagonal] += 1.0
        return normal, right

    def _shifts(self, binning: int, redshifts: tuple[float, float] | None) -> tuple[int, int]:
        """The lowest and the highest shift."""
        family, width = self.family, binning * LN_STEP
        low, high = family.redshift_min, family.redshift_max
        if redshifts is not None:
            low, high = max(low, redshifts[0]), min(high, redshifts[1])
        return math.floor(math.log1p(low) / width), math.ceil(math.log1p(high) / width)

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

    def _make_typical(self, binning: int, resolution: float | None) -> FloatArray:
        return self.family.typical[None] @ self.templates(binning, resolution)[1]

    def _make_products(self, binning: int, resolution: float | None) -> Products:
        first, spectra = self.templates(binning, resolution)
        laid, tilted = self.axes.T @ spectra, self.family.typical[None] @ spectra
        j, i = np.triu_indices(len(spectra))
        return Products(first, laid, laid[i] * laid[j], tilted, tilted * laid)

    def _make_tables(
        self, start: int, size: int, binning: int, resolution: float | None, low: int, high: int
    ) -> _Tables:
        products = self._products(binning, resolution)
        first, n_pixels = products.first, products.single.shape[1]
        # Falling: index r of a correlation is the shift high - r.
        shifts = np.arange(high, low - 1, -1)
        # Eigen-spectrum pixel t stands at data pixel t + shift: those from start - high on.
        length = _good_length(size + shifts.size - 1)
        base = start - high
        begin = max(base, first)
        take = slice(begin, max(begin, min(start + size - low, first + n_pixels)))

        def transform(rows: FloatArray) -> NDArray[Any]:
            laid = np.zeros((len(rows), length))
            laid[:, take.start - base : take.stop - base] = rows[
                :, take.start - first : take.stop - first
            ]
            return np.fft.rfft(laid, axis=-1)

        return _Tables(
            shifts,
            length,
            transform(products.single),
            transform(products.pairs),
            transform(products.tilted),
            transform(np.concatenate([products.tilted_pairs, products.tilted**2])),
            np.clip(first + shifts - start, 0, size),
            np.clip(first + n_pixels + shifts - start, 0, size),
        )


def _rounded(resolution: float | None) -> float | None:
    """Nearly the same resolutions, as those of a survey's fibres, share their tables."""
    if resolution is None:
        return None
    return math.exp(round(math.log(resolution) / _SAME_RESOLUTION) * _SAME_RESOLUTION)


@lru_cache(maxsize=32)
def _polynomials(count: int, additive: int, multiplicative: int) -> tuple[FloatArray, FloatArray]:
    x = np.linspace(-1.0, 1.0, count)
    basis = np.ones((additive, count))
    # Legendre's, by Bonnet's recursion.
    for n in range(1, additive):
        basis[n] = x if n == 1 else ((2 * n - 1) * x * basis[n - 1] - (n - 1) * basis[n - 2]) / n
    return basis, x ** np.arange(1, multiplicative + 1)[:, None]


def _correlate(data: FloatArray, spectra: NDArray[Any], tables: _Tables) -> FloatArray:
    """Sums over pixels of data times shifted eigen-spectra: (n_data, n_spectra, S)."""
    count = tables.shifts.size
    out = np.empty((len(data), len(spectra), count))
    for row, one in enumerate(np.fft.rfft(data, tables.length, axis=-1)):
        made = np.fft.irfft(np.conj(one) * spectra, tables.length, axis=-1)
        out[row] = made[:, :count]
    return out


def _window_sums(values: FloatArray, tables: _Tables) -> FloatArray:
    """Sums over the pixels that the eigen-spectra reach at each shift: (n, S)."""
    below = np.zeros((len(values), values.shape[1] + 1))
    np.cumsum(values, axis=1, out=below[:, 1:])
    return below[:, tables.high] - below[:, tables.low]


def null_fit(basis: FloatArray, weight: FloatArray, flux: FloatArray) -> FloatArray:
    """The polynomial alone, fitted to the whole spectrum."""
    left = basis * weight
    normal = left @ basis.T
    normal[np.diag_indices(len(normal))] *= 1.0 + 1e-10
    right = left @ flux
    try:
        terms = np.linalg.solve(normal, right)
    except np.linalg.LinAlgError:  # nothing usable
        terms = np.linalg.lstsq(normal, right, rcond=None)[0]
    return np.asarray(terms @ basis)


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
