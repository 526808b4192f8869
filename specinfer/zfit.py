"""One redshift at a time: the fit of a family around a minimum of the scan, below a pixel."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from specinfer.zgrid import LN_STEP, Gridded
from specinfer.zscan import Scanner

FloatArray = NDArray[np.float64]

# Nodes of the interpolation between template pixels: lines are two pixels wide, a cubic
# would smooth them.
_NODES = np.arange(-2, 4)
_DEGREE = np.arange(_NODES.size)
_TO_POLYNOMIAL = np.linalg.inv(np.vander(_NODES.astype(np.float64), increasing=True))
ITERATIONS = 4
# A step below so many pixels is the last, and is taken without solving anew: the next would
# be below a hundredth of a pixel, 0.7 km/s.
_LAST_STEP = 0.02
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
    start = math.log1p(redshift) / width
    ends = math.log1p(family.redshift_min) / width, math.log1p(family.redshift_max) / width
    low, high = max(start - _REACH, ends[0]), min(start + _REACH, ends[1])
    if among is None or not among.any():
        among = np.ones(len(family.spectra), dtype=bool)
    solver = _Solver(scanner, data, resolution, among, start)
    best = solver.at(start)
    position, chi2 = start, best.chi2
    for _ in range(iterations - 1):
        step = min(max(solver.step(best), -1.0), 1.0)
        moved = min(max(best.position + step, low), high)
        if abs(moved - best.position) < _LAST_STEP:
            # chi2 is a parabola here.
            gain = step**2 - (moved - best.position - step) ** 2
            position, chi2 = moved, best.chi2 - gain / solver.sigma(best) ** 2
            break
        made = solver.at(moved)
        if made.chi2 > best.chi2:
            break
        best, position, chi2 = made, moved, made.chi2
    found = math.expm1(position * width)
    coefficients = np.zeros(among.size)
    coefficients[among] = best.weights[solver.k]
    model, continuum = solver.model(best)
    return Fit(
        family.name,
        found,
        float((1.0 + found) * width * solver.sigma(best)),
        min(abs(position - end) for end in ends) < 1.0,
        chi2,
        int(np.count_nonzero(data.weight)),
        coefficients,
        model,
        continuum,
    )


def rough(
    scanner: Scanner, data: Gridded, redshift: float, resolution: float | None = None
) -> tuple[float, NDArray[np.bool_]]:
    """chi2 at a redshift, as that of `fit` with one iteration, and no more than that.

    Parameters
    ----------
    scanner, data, redshift, resolution
        As for `fit`.

    Returns
    -------
    chi2 : float
    among : ndarray of bool, shape (K,)
        The eigen-spectra that take part.
    """
    every = np.ones(len(scanner.family.spectra), dtype=bool)
    position = math.log1p(redshift) / (data.binning * LN_STEP)
    solver = _Solver(scanner, data, resolution, every, position)
    made = solver.at(position)
    return made.chi2, made.weights[solver.k] > 0


class _Solution(NamedTuple):
    """The linear unknowns at one position, in pixels."""

    position: float
    chi2: float
    weights: FloatArray
    active: NDArray[np.bool_]  # not zero
    moved: FloatArray  # eigen-spectra and the typical spectrum on the data's pixels
    weighted: FloatArray  # all that the weights belong to, over sigma
    residual: FloatArray  # over sigma
    normal: FloatArray


class _Solver:
    """Solves for the linear unknowns at one position after the other, near one of them."""

    def __init__(
        self,
        scanner: Scanner,
        data: Gridded,
        resolution: float | None,
        among: NDArray[np.bool_],
        start: float,
    ) -> None:
        self.basis, self.times = scanner.polynomials(data.flux.size)
        self.data = data
        self.root = np.sqrt(data.weight)
        self.target = self.root * data.flux
        n_j, n_k = len(self.basis), int(np.count_nonzero(among))
        self.k = slice(n_j, n_j + n_k)
        self.m = slice(n_j + n_k, n_j + n_k + len(self.times))
        every = np.ones(len(scanner.penalty), dtype=bool)
        every[n_j : n_j + among.size] = among
        self.penalty = scanner.penalty[every][:, every]
        self.free = np.ones(len(self.penalty), dtype=bool)
        self.free[self.k] = False
        self.floor = np.where(self.free, -np.inf, 0.0)
        self.fixed = self.basis * self.root
        self.fixed_normal = self.fixed @ self.fixed.T
        self.fixed_right = self.fixed @ self.target
        self.active: NDArray[np.bool_] | None = None
        self._cut(scanner, resolution, among, start)
        self._sloped: tuple[_Solution, float, float] | None = None

    def _cut(
        self,
        scanner: Scanner,
        resolution: float | None,
        among: NDArray[np.bool_],
        start: float,
    ) -> None:
        """Keep the part of the spectra that can come under the data, one row after the other.

        The typical spectrum is one more row: it is moved with the others.
        """
        first, spectra = scanner.templates(self.data.binning, resolution)
        typical = scanner.typical(self.data.binning, resolution)
        # Where the first data pixel lies on the spectra, at position 0.
        self.place = self.data.first + self.data.offset - first
        self.begin = math.floor(self.place - start - _REACH) + int(_NODES[0])
        self.length = spectra.shape[1]
        stop = math.floor(self.place - start + _REACH) + self.data.flux.size + int(_NODES[-1])
        low, high = max(self.begin, 0), min(stop, self.length)
        rows, width = self.k.stop - self.k.start + 1, stop - self.begin
        # Some more, for the nodes of the last pixel of all.
        self.flat = np.zeros(rows * width + _NODES.size - 1)
        self.near = self.flat[: rows * width].reshape(rows, width)
        if high > low:
            inside = slice(low - self.begin, high - self.begin)
            self.near[:-1, inside] = spectra[among, low:high]
            self.near[-1:, inside] = typical[:, low:high]

    def at(self, position: float) -> _Solution:
        """All linear unknowns at a position within `_REACH` of the start."""
        moved = self._moved(self.flat, position, slopes=False)
        n_j, n = self.k.start, self.m.stop
        rows = np.empty((n + 1, self.root.size))
        rows[:n_j], rows[n] = self.fixed, self.target
        np.multiply(moved[:-1], self.root, out=rows[self.k])
        np.multiply(self.times, moved[-1] * self.root, out=rows[self.m])
        weighted = rows[:n]
        # What does not move is not multiplied anew; all others with all in one product.
        made = weighted[n_j:] @ rows.T
        normal, right = self.penalty.copy(), np.concatenate([self.fixed_right, made[:, n]])
        normal[:n_j, :n_j] += self.fixed_normal
        normal[:n_j, n_j:] += made[:, :n_j].T
        normal[n_j:] += made[:, :n]
        weights = _bounded(normal * (1.0 + 1e-10 * _eye(n)), right, self.floor, self.active)
        self.active = self.free | (weights > 0)
        residual = self.target - weights @ weighted
        chi2 = float(residual @ residual)
        return _Solution(position, chi2, weights, self.active, moved, weighted, residual, normal)

    def step(self, at: _Solution) -> float:
        """From a solution to the minimum, in pixels."""
        return self._derivatives(at)[0]

    def sigma(self, at: _Solution) -> float:
        """The error of the position, in pixels."""
        return self._derivatives(at)[1]

    def model(self, at: _Solution) -> tuple[FloatArray, FloatArray]:
        """The model, and the additive polynomial in it."""
        weights = at.weights
        continuum = weights[: self.k.start] @ self.basis
        tilt = (weights[self.m] @ self.times) * at.moved[-1]
        return continuum + weights[self.k] @ at.moved[:-1] + tilt, continuum

    def _derivatives(self, at: _Solution) -> tuple[float, float]:
        if self._sloped is not None and self._sloped[0] is at:
            return self._sloped[1:]
        # The model's slope, less what the linear unknowns can do about it.
        pair = np.zeros(2 * self.near.shape[1] + _NODES.size - 1)
        rows = pair[: 2 * self.near.shape[1]].reshape(2, -1)
        np.dot(at.weights[self.k], self.near[:-1], out=rows[0])
        rows[1] = self.near[-1]
        rise = self._moved(pair, at.position, slopes=True)
        slope = (rise[0] + (at.weights[self.m] @ self.times) * rise[1]) * self.root
        use = at.active.nonzero()[0]
        small = at.normal[use[:, None], use] + 1e-9 * _eye(use.size)
        cross = (at.weighted @ slope)[use]
        curvature = max(float(slope @ slope - cross @ np.linalg.solve(small, cross)), 1e-12)
        self._sloped = (at, float(slope @ at.residual) / curvature, 1.0 / math.sqrt(curvature))
        return self._sloped[1:]

    def _moved(self, flat: FloatArray, position: float, *, slopes: bool) -> FloatArray:
        """Rows like those of `near` at the data's pixels, or their derivative in the shift.

        Lagrange interpolation; 0 where the spectra end.
        """
        place = self.place - position
        whole, count = math.floor(place), self.data.flux.size
        # One pass over all rows: what runs from one into the next is cut away.
        made = np.correlate(flat, _lagrange(place - whole, slopes=slopes), "valid")
        skip = whole + int(_NODES[0]) - self.begin
        moved = made.reshape(-1, self.near.shape[1])[:, skip : skip + count]
        low = max(0, -whole - int(_NODES[0]))
        high = max(low, min(count, self.length - whole - int(_NODES[-1])))
        moved[:, :low] = 0.0
        moved[:, high:] = 0.0
        return moved


@lru_cache(maxsize=64)
def _eye(count: int) -> FloatArray:
    return np.eye(count)


def _lagrange(x: float, *, slopes: bool) -> FloatArray:
    """Weights of the nodes for the value at x, or for minus the derivative there."""
    if not slopes:
        return np.asarray(x**_DEGREE @ _TO_POLYNOMIAL)
    powers = np.zeros(_NODES.size)
    powers[1:] = _DEGREE[1:] * x ** _DEGREE[:-1]
    return np.asarray(-(powers @ _TO_POLYNOMIAL))


def _bounded(
    normal: FloatArray,
    right: FloatArray,
    floor: FloatArray,
    guess: NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Least squares in which unknowns stay at or above a floor, 0 or minus infinity.

    The active-set method of Lawson & Hanson (1974, Solving Least Squares Problems, ch. 23),
    on the normal equations; all unknowns that are negative leave the set at once.
    `guess` are the unknowns that are probably not zero.
    """
    active = np.ones(len(right), dtype=bool) if guess is None else guess.copy()
    if active.all():
        solution = np.linalg.solve(normal, right)
        negative = solution < floor
        if not negative.any():
            return np.asarray(solution)
        active &= ~negative
    small = 1e-8 * float(np.abs(right).max())
    for round_ in range(1, 4 * len(right)):
        rows = active.nonzero()[0]
        solution = np.zeros_like(right)
        solution[rows] = np.linalg.solve(normal[rows[:, None], rows], right[rows])
        # Those that are not active are 0.
        negative = solution < floor
        if negative.any():
            # One at a time where all at once goes round in circles.
            if round_ > len(right):
                negative = np.arange(len(right)) == np.where(negative, solution, 0.0).argmin()
            active &= ~negative
            continue
        if rows.size == len(right):
            break
        gradient = np.where(active, 0.0, right - normal @ solution)
        if not (gradient > small).any():
            break
        active[gradient.argmax()] = True
    return np.asarray(np.maximum(solution, floor))
