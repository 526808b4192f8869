"""One redshift at a time: the fit of a family around a minimum of the scan, below a pixel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from specinfer.zscan import LN_STEP, Gridded, Scanner

FloatArray = NDArray[np.float64]

# Points of the interpolation between template pixels: lines are two pixels wide, cubic
# interpolation would smooth them.
_POINTS = 6
_ITERATIONS = 4


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


def fit(scanner: Scanner, data: Gridded, redshift: float, resolution: float | None = None) -> Fit:
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

    Returns
    -------
    Fit
    """
    family = scanner.family
    width = data.binning * LN_STEP
    start = np.log1p(redshift) / width
    ends = np.log1p([family.redshift_min, family.redshift_max]) / width
    low, high = max(start - 1.5, ends[0]), min(start + 1.5, ends[1])
    first, spectra = scanner.templates(data.binning, resolution)
    basis, times = scanner.polynomials(data)
    n_j, n_k = len(basis), len(spectra)
    use = np.flatnonzero(data.weight > 0)
    root = np.sqrt(data.weight[use])
    target = root * data.flux[use]
    pixel = data.first + np.arange(data.flux.size) - first
    ridge = np.concatenate(
        [np.zeros(n_j), family.precision, np.full(len(times), family.precision[0])]
    )
    free_sign = np.ones(ridge.size, dtype=bool)
    free_sign[n_j : n_j + n_k] = False

    position = start
    best: tuple[float, float, FloatArray, FloatArray, FloatArray] | None = None
    for _ in range(_ITERATIONS):
        shifted, slope = _shifted(spectra, pixel, position - data.offset)
        design = np.concatenate([basis, shifted, times * shifted[0]])
        weighted = design[:, use] * root
        normal = weighted @ weighted.T
        right = weighted @ target
        coefficients = _bounded(normal, right, ridge, free_sign)
        residual = target - coefficients @ weighted
        chi2 = float(residual @ residual)
        # The model's slope, less what the linear unknowns can do about it.
        derivative = coefficients[n_j : n_j + n_k] @ slope
        derivative = (derivative + (coefficients[n_j + n_k :] @ times) * slope[0])[use] * root
        active = free_sign | (coefficients > 0)
        rows = weighted[active]
        small = normal[np.ix_(active, active)] + np.diag(ridge[active] + 1e-9)
        alone = derivative - np.linalg.solve(small, rows @ derivative) @ rows
        curvature = max(float(alone @ alone), 1e-12)
        if best is None or chi2 < best[0]:
            best = (chi2, position, coefficients, design, np.array(curvature))
        step = float(np.clip(alone @ residual / curvature, -1.0, 1.0))
        moved = float(np.clip(position + step, low, high))
        if abs(moved - position) < 2e-3:
            break
        position = moved
    assert best is not None
    chi2, position, coefficients, design, curvature_at = best
    found = float(np.expm1(position * width))
    return Fit(
        family.name,
        found,
        float((1.0 + found) * width / np.sqrt(curvature_at)),
        bool(np.abs(position - ends).min() < 1.0),
        chi2,
        use.size,
        coefficients[n_j : n_j + n_k],
        coefficients @ design,
        coefficients[:n_j] @ basis,
    )


def _shifted(
    spectra: FloatArray, pixel: NDArray[np.intp], position: float
) -> tuple[FloatArray, FloatArray]:
    """Templates at pixels less a fractional shift, and their derivative in the shift."""
    whole = int(np.floor(position))
    part = 1.0 - (position - whole)
    # The value at pixel - position = (pixel - whole - 1) + part.
    base = pixel - whole - 1
    nodes = np.arange(_POINTS) - (_POINTS // 2 - 1)
    weights, slopes = _lagrange(part, nodes)
    n = spectra.shape[1]
    inside = (base + nodes[0] >= 0) & (base + nodes[-1] < n)
    low = int(np.argmax(inside))
    count = int(inside.sum())
    value = np.zeros((len(spectra), pixel.size))
    slope = np.zeros_like(value)
    if count:
        begin = int(base[low])
        for node, weight, rise in zip(nodes, weights, slopes, strict=True):
            piece = spectra[:, begin + node : begin + node + count]
            value[:, low : low + count] += weight * piece
            slope[:, low : low + count] -= rise * piece
    return value, slope


def _lagrange(x: float, nodes: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
    """Weights of Lagrange interpolation at x, and their derivatives."""
    # Polynomials through the nodes, as coefficients: exact and tiny.
    powers = np.vander(nodes.astype(np.float64), increasing=True)
    inverse = np.linalg.inv(powers)
    degree = np.arange(nodes.size)
    value = x**degree @ inverse
    slope = np.concatenate([[0.0], degree[1:] * x ** (degree[1:] - 1.0)]) @ inverse
    return value, slope


def _bounded(
    normal: FloatArray, right: FloatArray, ridge: FloatArray, free: NDArray[np.bool_]
) -> FloatArray:
    """Least squares in which the unknowns that are not free stay at or above zero.

    The active-set method of Lawson & Hanson (1974, Solving Least Squares Problems, ch. 23),
    on the normal equations.
    """
    full = normal + np.diag(ridge)
    full[np.diag_indices(len(full))] *= 1.0 + 1e-10
    active = np.ones(len(right), dtype=bool)
    solution = np.linalg.solve(full, right)
    for _ in range(3 * len(right)):
        negative = active & ~free & (solution < 0)
        if not negative.any():
            gradient = right - full @ solution
            waiting = ~active & (gradient > 1e-8 * np.abs(right).max())
            if not waiting.any():
                break
            active[np.argmax(np.where(waiting, gradient, -np.inf))] = True
        else:
            active[np.argmin(np.where(negative, solution, np.inf))] = False
        solution = np.zeros_like(right)
        solution[active] = np.linalg.solve(full[np.ix_(active, active)], right[active])
    return np.asarray(np.maximum(solution, np.where(free, -np.inf, 0.0)))
