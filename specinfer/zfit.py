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
    solver = _Solver(scanner, data, resolution, among, start)
    best = solver.at(start)
    for _ in range(iterations - 1):
        step = float(np.clip(solver.step(best), -1.0, 1.0))
        moved = float(np.clip(best.position + step, low, high))
        if abs(moved - best.position) < _CONVERGED:
            break
        made = solver.at(moved)
        if made.chi2 > best.chi2:
            break
        best = made
    found = float(np.expm1(best.position * width))
    coefficients = np.zeros(among.size)
    coefficients[among] = best.weights[solver.k]
    model, continuum = solver.model(best)
    return Fit(
        family.name,
        found,
        float((1.0 + found) * width * solver.sigma(best)),
        bool(np.abs(best.position - ends).min() < 1.0),
        best.chi2,
        int(np.count_nonzero(data.weight)),
        coefficients,
        model,
        continuum,
    )


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
        self.fixed = self.basis * self.root
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
        self.begin = int(np.floor(self.place - start - _REACH)) + int(_NODES[0])
        self.length = spectra.shape[1]
        stop = int(np.floor(self.place - start + _REACH)) + self.data.flux.size + int(_NODES[-1])
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
        n_j = self.k.start
        weighted = np.empty((self.m.stop, self.root.size))
        weighted[:n_j] = self.fixed
        np.multiply(moved[:-1], self.root, out=weighted[self.k])
        np.multiply(self.times, moved[-1] * self.root, out=weighted[self.m])
        normal, right = weighted @ weighted.T + self.penalty, weighted @ self.target
        weights = _bounded(normal, right, self.free, self.active)
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
        use = np.flatnonzero(at.active)
        small = at.normal[use[:, None], use] + 1e-9 * np.eye(use.size)
        cross = (at.weighted @ slope)[use]
        curvature = max(float(slope @ slope - cross @ np.linalg.solve(small, cross)), 1e-12)
        self._sloped = (at, float(slope @ at.residual) / curvature, 1.0 / np.sqrt(curvature))
        return self._sloped[1:]

    def _moved(self, flat: FloatArray, position: float, *, slopes: bool) -> FloatArray:
        """Rows like those of `near` at the data's pixels, or their derivative in the shift.

        Lagrange interpolation; 0 where the spectra end.
        """
        place = self.place - position
        whole, count = int(np.floor(place)), self.data.flux.size
        # One pass over all rows: what runs from one into the next is cut away.
        made = np.correlate(flat, _lagrange(place - whole, slopes=slopes), "valid")
        skip = whole + int(_NODES[0]) - self.begin
        moved = made.reshape(-1, self.near.shape[1])[:, skip : skip + count]
        low = max(0, -whole - int(_NODES[0]))
        high = max(low, min(count, self.length - whole - int(_NODES[-1])))
        moved[:, :low] = 0.0
        moved[:, high:] = 0.0
        return moved


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
    full.flat[:: len(full) + 1] *= 1.0 + 1e-10
    active = np.ones(len(right), dtype=bool) if guess is None else guess.copy()
    small = 1e-8 * float(np.abs(right).max())
    for round_ in range(4 * len(right)):
        rows = np.flatnonzero(active)
        solution = np.zeros_like(right)
        solution[rows] = np.linalg.solve(full[rows[:, None], rows], right[rows])
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
