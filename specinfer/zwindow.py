"""The scan of a few shifts, as in a window of redshift, by matrix products.

For thousands of shifts the FFT of `specinfer.zscan` gives the normal equations of least
squares; for some dozen of them it is quicker to lay the spectrum's pixels under the
eigen-spectra once a shift, and to multiply. The equations are the same.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Up to so many shifts matrix products beat the FFT.
FEW = 128
# An unknown of which the others explain all but this share is left out.
COLLINEAR = 1e-10


class Products(NamedTuple):
    """What the normal equations need of a family besides the spectrum.

    Attributes
    ----------
    first : int
        Number of the first pixel.
    single : ndarray, shape (K, n)
        The eigen-spectra T_k, turned to the axes of the prior.
    pairs : ndarray, shape (K (K + 1) / 2, n)
        T_k T_l for k <= l, in the order of `numpy.triu_indices`.
    tilted : ndarray, shape (1, n)
        The typical spectrum M.
    tilted_pairs : ndarray, shape (K, n)
        M T_k.
    """

    first: int
    single: FloatArray
    pairs: FloatArray
    tilted: FloatArray
    tilted_pairs: FloatArray


class Rows(NamedTuple):
    """A spectrum as the normal equations want it; without what the polynomial explains.

    Attributes
    ----------
    first : int
        Number of the first pixel.
    weight, flux : ndarray, shape (n,)
    basis : ndarray, shape (J, n)
        The additive polynomials; the first is 1.
    times : ndarray, shape (M, n)
        The factors of the multiplicative ones.
    """

    first: int
    weight: FloatArray
    flux: FloatArray
    basis: FloatArray
    times: FloatArray

    @property
    def left(self) -> FloatArray:
        """Polynomials and flux times the weight, shape (J + 1, n)."""
        return np.concatenate([self.basis, self.flux[None]]) * self.weight


def gains(rows: Rows, products: Products, low: int, high: int) -> FloatArray:
    """How much eigen-spectra and tilts lower chi2 at the shifts from `low` to `high`.

    Parameters
    ----------
    rows : Rows
    products : Products
    low, high : int
        The shifts, both included.

    Returns
    -------
    ndarray, shape (high - low + 1,)
    """
    normal, right = equations(rows, products, low, high)
    n_null = len(rows.basis)
    made = _by_cholesky(normal, right, n_null)
    if made is None:
        made = careful_gains(normal.transpose(1, 2, 0).copy(), right.T.copy(), n_null)
    return made


def equations(rows: Rows, products: Products, low: int, high: int) -> tuple[FloatArray, FloatArray]:
    """The lower triangles of the normal matrices, (S, n, n), and their right sides, (S, n)."""
    n_j, n_k, n_m = len(rows.basis), len(products.single), len(rows.times)
    n, count, size = n_j + n_k + n_m, high - low + 1, rows.weight.size
    k, m = slice(n_j, n_j + n_k), slice(n_j + n_k, n)
    normal, right = np.zeros((count, n, n)), np.empty((count, n))
    left = rows.left
    # polynomial x polynomial, x data: over the pixels that the eigen-spectra reach
    length = products.single.shape[1]
    offset = products.first - rows.first
    reach = offset + np.arange(low, high + 1)[:, None] + np.array([0, length])
    reach = np.minimum(np.maximum(reach, 0), size)
    j, i = _pairs(n_j)
    sums = _sums(np.concatenate([left[i] * rows.basis[j], left[:n_j] * rows.flux]), reach)
    normal[:, i, j] = sums[:, : i.size]
    right[:, :n_j] = sums[:, i.size :]
    # The pixels of the eigen-spectra that any shift lays on the data.
    start = max(0, -offset - high)
    stop = max(start, min(length, size - offset - low))
    if stop == start:
        normal[:, range(n_j, n), range(n_j, n)] = 1.0
        right[:, n_j:] = 0.0
        return normal, right
    single, place = products.single[:, start:stop], start + offset + low
    # eigen-spectrum x polynomial, x data, x eigen-spectrum
    for row, values in enumerate(left):
        under = _moved(values, place, count, stop - start)
        made = under @ single.T
        if row < n_j:
            normal[:, k, row] = made
        else:
            right[:, k] = made
        if row == 0:
            j, i = _pairs(n_k)
            normal[:, n_j + i, n_j + j] = under @ products.pairs[:, start:stop].T
    # tilt x polynomial, x data, x eigen-spectrum, x tilt
    if n_m:
        # Here the one typical spectrum is laid on the data.
        typical = _moved(products.tilted[0], -offset - high, count, size)[::-1]
        made = typical @ (left[None] * rows.times[:, None]).reshape(-1, size).T
        made = made.reshape(count, n_m, n_j + 1)
        normal[:, m, :n_j], right[:, m] = made[..., :n_j], made[..., n_j]
        j, i = _pairs(n_m)
        tilts = typical**2 @ (rows.weight * rows.times[i] * rows.times[j]).T
        normal[:, n_j + n_k + i, n_j + n_k + j] = tilts
    for row, factor in enumerate(rows.times):
        under = _moved(rows.weight * factor, place, count, stop - start)
        normal[:, m.start + row, k] = under @ products.tilted_pairs[:, start:stop].T
    diagonal = np.arange(n_j, n)
    normal[:, diagonal, diagonal] += 1.0
    return normal, right


@lru_cache(maxsize=64)
def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the upper triangle."""
    return np.triu_indices(count)


def _moved(values: FloatArray, place: int, count: int, length: int) -> FloatArray:
    """Row r holds `length` values from number `place` + r on, shape (count, length).

    0 beyond the ends of the values.
    """
    padded = np.zeros(count + length - 1)
    low, high = max(0, place), min(values.size, place + padded.size)
    if high > low:
        padded[low - place : high - place] = values[low:high]
    rows = np.ndarray((count, length), np.float64, padded, strides=2 * padded.strides)
    # A copy: BLAS knows no rows that overlap.
    return rows.copy()


def _sums(values: FloatArray, reach: NDArray[np.intp]) -> FloatArray:
    """Sums over the pixels from reach[:, 0] to before reach[:, 1]: (S, n)."""
    inner, outer = int(reach[:, 0].max()), int(reach[:, 1].min())
    if inner >= outer:
        below = np.zeros((len(values), values.shape[1] + 1))
        np.cumsum(values, axis=1, out=below[:, 1:])
        return (below[:, reach[:, 1]] - below[:, reach[:, 0]]).T
    made = np.tile(values[:, inner:outer].sum(axis=1), (len(reach), 1))
    # Shifts differ by a few pixels at either end.
    for row, (low, high) in enumerate(reach):
        if low < inner:
            made[row] += values[:, low:inner].sum(axis=1)
        if high > outer:
            made[row] += values[:, outer:high].sum(axis=1)
    return made


def _by_cholesky(normal: FloatArray, right: FloatArray, n_null: int) -> FloatArray | None:
    """The gains by LAPACK; None where an unknown is collinear with others."""
    count, n = right.shape
    # The factor of a matrix with the right side as one more row holds its solution there.
    whole = np.zeros((count, n + 1, n + 1))
    whole[:, :n, :n] = normal
    whole[:, n, :n] = right
    diagonal = np.einsum("skk->sk", normal)
    with np.errstate(divide="ignore", invalid="ignore"):
        # More than can be gained: else the last row would have no factor.
        whole[:, n, n] = 1.0 + (right**2 / diagonal).sum(axis=1) / COLLINEAR
    try:
        factor = np.linalg.cholesky(whole)
    except np.linalg.LinAlgError:
        return None
    pivots = np.einsum("skk->sk", factor)[:, :n] ** 2
    if not (pivots > COLLINEAR * diagonal).all():
        return None
    return np.asarray((factor[:, n, n_null:n] ** 2).sum(axis=1))


def careful_gains(normal: FloatArray, right: FloatArray, n_null: int) -> FloatArray:
    """How much the unknowns after the first `n_null` lower chi2, at every shift.

    Cholesky factors of all matrices at once: the loops run over unknowns, numpy over the
    shifts. Only the lower triangle of `normal`, shape (n, n, S), is used; both are overwritten.
    """
    n = len(right)
    gain = np.zeros(right.shape[1])
    diagonal = np.arange(n)
    least = COLLINEAR * normal[diagonal, diagonal]
    for k in range(n):
        # A pivot that vanished belongs to an unknown that the others already explain.
        pivot = normal[k, k]
        usable = pivot > least[k]
        inverse = np.where(usable, 1.0 / np.where(usable, pivot, 1.0), 0.0)
        if k >= n_null:
            gain += right[k] ** 2 * inverse
        for row in range(k + 1, n):
            factor = normal[row, k] * inverse
            right[row] -= factor * right[k]
            normal[row, k + 1 : row + 1] -= factor * normal[k + 1 : row + 1, k]
    return gain
