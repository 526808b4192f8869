"""One redshift at a time: the fit of a family around a minimum of the scan, below a pixel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from specinfer.zgrid import LN_STEP, Gridded
from specinfer.zscan import Scanner

FloatArray = NDArray[np.float64]

# Nodes of the interpolation between template pixels: lines are two pixels wide, a cubic
# would smooth them.
_NODES = np.arange(-2, 4)
_TO_POLYNOMIAL = np.linalg.inv(np.vander(_NODES.astype(np.float64), increasing=True))
ITERATIONS = 4
# Steps below this many pixels change nothing that can be measured.
_CONVERGED = 2e-3
_REACH = 1.5


class Fit(NamedTuple):
    """The best fit of a family near a redshift.

    Attributes
    ----------
    family : str
    redshift, redshift_err : float
        The error is that of the curvature of chi2, all other unknowns free.
    at_limit : bool
        Whether the redshift is at the end of the family's range.
    chi2 : float
        Over all usable pixels.
    n_pixels : int
    coefficients : ndarray, shape (K,)
        Of the eigen-spectra, not negative.
    model : ndarray, shape (n,)
        On the pixels of the gridded spectrum, in units of its scale.
    continuum : ndarray, shape (n,)
        The additive polynomial in it.
    """

    family: str
    redshift: float
    redshift_err: float
    at_limit: bool
    chi2: float
    n_pixels: int
    coefficients: FloatArray
    model: FloatArray
    continuum: FloatArray


def fit(
    scanner: Scanner,
    data: Gridded,
    redshift: float,
    resolution: float | None = None,
    iterations: int = ITERATIONS,
    among: NDArray[np.bool_] | None = None,
) -> Fit:
    """Fit a family around a redshift: all coefficients, and the redshift itself.

    Gauss-Newton steps in the redshift, with all linear unknowns solved anew at each
    (Golub & Pereyra 1973, SIAM J. Numer. Anal. 10, 413).

    Parameters
    ----------
    scanner : Scanner
    data : Gridded
    redshift : float
        Of the minimum of the scan; the fit stays within 1.5 pixels of it.
    resolution : float, optional
        As for `Scanner.scan`.
    iterations : int
        Solutions at most; with 1 the redshift is as given.
    among : ndarray of bool, shape (K,), optional
        The eigen-spectra that may take part, such as those of a rougher fit.

    Returns
    -------
    Fit
    """
    family = scanner.family
    width = data.binning * LN_STEP
    start = float(np.log1p(redshift)) / width
    ends = np.log1p([family.redshift_min, family.redshift_max]) / width
    low, high = max(start - _REACH, ends[0]), min(start + _REACH, ends[1])
    if among is None or not among.any():
        among = np.ones(len(family.spectra), dtype=bool)
    solver = _Solver(scanner, data, resolution, among)
    position = start
    best = solver.at(position)
    for _ in range(iterations - 1):
        step = float(np.clip(best.step, -1.0, 1.0))
        moved = float(np.clip(position + step, low, high))
        if abs(moved - position) < _CONVERGED:
            break
        position = moved
        made = solver.at(position)
        if made.chi2 > best.chi2:
            break
        best = made
    found = float(np.expm1(best.position * width))
    n_j = scanner.additive
    coefficients = np.zeros(among.size)
    coefficients[among] = best.weights[solver.k]
    return Fit(
        family.name,
        found,
        float((1.0 + found) * width * best.sigma),
        bool(np.abs(best.position - ends).min() < 1.0),
        best.chi2,
        int((data.weight > 0).sum()),
        coefficients,
        best.model,
        best.weights[:n_j] @ solver.basis,
    )


class _Solution(NamedTuple):
    position: float
    chi2: float
    step: float  # to the minimum, and the error of the position, in pixels
    sigma: float
    weights: FloatArray
    model: FloatArray


class _Solver:
    """Solves for the linear unknowns at one position after the other."""

    def __init__(
        self,
        scanner: Scanner,
        data: Gridded,
        resolution: float | None,
        among: NDArray[np.bool_],
    ) -> None:
        self.first, spectra = scanner.templates(data.binning, resolution)
        self.basis, self.times = scanner.polynomials(data.flux.size)
        self.data = data
        self.root = np.sqrt(data.weight)
        self.target = self.root * data.flux
        # The typical spectrum is one more row: it is moved with the others.
        self.spectra = np.concatenate([spectra[among], scanner.typical(data.binning, resolution)])
        n_j, n_k = len(self.basis), int(among.sum())
        self.k = slice(n_j, n_j + n_k)
        self.m = slice(n_j + n_k, n_j + n_k + len(self.times))
        every = np.ones(len(scanner.penalty), dtype=bool)
        every[n_j : n_j + among.size] = among
        self.penalty = scanner.penalty[np.ix_(every, every)]
        self.free = np.ones(len(self.penalty), dtype=bool)
        self.free[self.k] = False
        self.design = np.empty((len(self.penalty), data.flux.size))
        self.weighted = np.empty_like(self.design)
        self.design[:n_j] = self.basis
        np.multiply(self.basis, self.root, out=self.weighted[:n_j])
        self.active: NDArray[np.bool_] | None = None

    def at(self, position: float) -> _Solution:
        design, weighted = self.design, self.weighted
        n_j = self.k.start
        near, low, part = self._cut(position)
        moved = self._moved(near, low, part, slopes=False)
        design[self.k] = moved[:-1]
        np.multiply(self.times, moved[-1], out=design[self.m])
        np.multiply(design[n_j:], self.root, out=weighted[n_j:])
        normal, right = weighted @ weighted.T, weighted @ self.target
        weights = _bounded(normal + self.penalty, right, self.free, self.active)
        self.active = self.free | (weights > 0)
        residual = self.target - weights @ weighted
        # The model's slope, less what the linear unknowns can do about it.
        pair = np.stack([weights[self.k] @ near[:-1], near[-1]])
        rise = self._moved(pair, low, part, slopes=True)
        slope = (rise[0] + (weights[self.m] @ self.times) * rise[1]) * self.root
        rows = np.flatnonzero(self.active)
        small = (normal + self.penalty)[np.ix_(rows, rows)] + 1e-9 * np.eye(rows.size)
        cross = weighted[rows] @ slope
        curvature = max(float(slope @ slope - cross @ np.linalg.solve(small, cross)), 1e-12)
        return _Solution(
            position,
            float(residual @ residual),
            float(slope @ residual) / curvature,
            1.0 / np.sqrt(curvature),
            weights,
            weights @ design,
        )

    def _cut(self, position: float) -> tuple[FloatArray, int, float]:
        """The part of the spectra under the data, the first pixel it reaches, and the rest
        of a pixel that it is to be moved by.
        """
        place = self.data.first + self.data.offset - self.first - position
        whole = int(np.floor(place))
        count, length = self.data.flux.size, self.spectra.shape[1]
        low = max(0, -whole - int(_NODES[0]))
        high = min(count, length - whole - int(_NODES[-1]))
        begin = whole + low + int(_NODES[0])
        stop = whole + high + int(_NODES[-1])
        near = self.spectra[:, begin:stop] if high > low else self.spectra[:, :0]
        return near, low, place - whole

    def _moved(self, near: FloatArray, low: int, part: float, *, slopes: bool) -> FloatArray:
        """Spectra at the data's pixels, or their derivative in the shift.

        Lagrange interpolation; 0 beyond the ends of the spectra.
        """
        made = np.zeros((len(near), self.data.flux.size))
        count = near.shape[1] - (_NODES.size - 1)
        if count > 0:
            into = made[:, low : low + count]
            for start, weight in enumerate(_lagrange(part, slopes=slopes)):
                into += weight * near[:, start : start + count]
        return made


def _lagrange(x: float, *, slopes: bool) -> FloatArray:
    """Weights of the nodes for the value at x, or for minus the derivative there."""
    degree = np.arange(_NODES.size)
    if not slopes:
        return np.asarray(x**degree @ _TO_POLYNOMIAL)
    powers = np.concatenate([[0.0], degree[1:] * x ** (degree[1:] - 1.0)])
    return np.asarray(-(powers @ _TO_POLYNOMIAL))


def _bounded(
    normal: FloatArray,
    right: FloatArray,
    free: NDArray[np.bool_],
    guess: NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Least squares in which the unknowns that are not free stay at or above zero.

    The active-set method of Lawson & Hanson (1974, Solving Least Squares Problems, ch. 23),
    on the normal equations; all unknowns that are negative leave the set at once.
    `guess` are the unknowns that are probably not zero.
    """
    full = normal.copy()
    full[np.diag_indices(len(full))] *= 1.0 + 1e-10
    active = np.ones(len(right), dtype=bool) if guess is None else guess.copy()
    small = 1e-8 * float(np.abs(right).max())
    for round_ in range(4 * len(right)):
        rows = np.flatnonzero(active)
        solution = np.zeros_like(right)
        solution[rows] = np.linalg.solve(full[np.ix_(rows, rows)], right[rows])
        negative = active & ~free & (solution < 0)
        if negative.any():
            # One at a time where all at once goes round in circles.
            if round_ > len(right):
                negative = np.arange(len(right)) == np.where(negative, solution, 0.0).argmin()
            active &= ~negative
            continue
        gradient = np.where(active, 0.0, right - full @ solution)
        if not (gradient > small).any():
            break
        active[gradient.argmax()] = True
    return np.asarray(np.maximum(solution, np.where(free, -np.inf, 0.0)))
