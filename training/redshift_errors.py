"""How large the errors of redshifts are: what the curvature of chi2 does not know."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Where the floor of a family changes, in redshift: below the first it is that of what is nearer
# than their middle, beyond the last that of the others, between them in proportion. Quasars:
# [O III] leaves the spectra (at 9200 to 10300 Angstrom) there, and with it the last strong
# narrow line; broad lines are at velocities of their own.
RAMPS = {"QSO": (0.85, 1.25)}
# Fewer redshifts do not tell how large errors are.
FEWEST = 10
# Quantiles of |dz / error| whose mean is the scale: more of the sample than the median alone,
# and nothing of the largest fifth.
_QUANTILES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_OF_NORMAL = float(np.mean([NormalDist().inv_cdf(0.5 + q / 2) for q in _QUANTILES]))
_LARGEST = 0.01
_HALVINGS = 30
_DRAWS = 400
_SEED = 20261121


def robust_scale(values: FloatArray) -> FloatArray:
    """Standard deviation about 0 of normal values, of which a fifth may be anything.

    Parameters
    ----------
    values : ndarray, shape (..., n)

    Returns
    -------
    ndarray, shape (...)
    """
    ordered = np.sort(np.abs(values), axis=-1)
    place = np.array(_QUANTILES) * (ordered.shape[-1] - 1)
    below = place.astype(np.intp)
    above = np.minimum(below + 1, ordered.shape[-1] - 1)
    part = place - below
    quantiles = ordered[..., below] * (1.0 - part) + ordered[..., above] * part
    return np.asarray(quantiles.mean(axis=-1) / _OF_NORMAL)


def quadrature_floor(dz: FloatArray, raw: FloatArray, scale: float) -> FloatArray:
    """What makes the robust scale of dz / hypot(scale raw, floor) 1; 0 if it is less without.

    Parameters
    ----------
    dz, raw : ndarray, shape (..., n)
        Offsets and the curvature's errors, over 1 + z.
    scale : float

    Returns
    -------
    ndarray, shape (...)
    """
    low = np.zeros(dz.shape[:-1])
    high = np.full(dz.shape[:-1], _LARGEST)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        more = robust_scale(dz / np.hypot(scale * raw, middle[..., None])) > 1.0
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    return np.where(robust_scale(dz / (scale * raw)) > 1.0, high, 0.0)


def expected_floor(dz: FloatArray, raw: FloatArray, scale: float) -> tuple[float, FloatArray]:
    """The floor that other spectra of the kind are to be expected to need.

    A few spectra do not say exactly how large it is. The variance to be expected is the mean
    of those that are possible: the square of the floor is the mean of the squares of those
    of bootstrap samples.

    Parameters
    ----------
    dz, raw : ndarray, shape (n,)
    scale : float

    Returns
    -------
    floor : float
        0 if there are fewer than `FEWEST`.
    limits : ndarray, shape (2,)
        16 and 84 % of the floors of the samples.
    """
    if len(dz) < FEWEST:
        return 0.0, np.zeros(2)
    rng = np.random.default_rng(_SEED)
    rows = rng.integers(0, len(dz), (_DRAWS, len(dz)))
    floors = quadrature_floor(dz[rows], raw[rows], scale)
    return float(np.sqrt(np.mean(floors**2))), np.quantile(floors, [0.16, 0.84])


def error_floors(
    family: str, redshift: FloatArray, dz: FloatArray, raw: FloatArray, scale: float
) -> list[list[float]]:
    """The floor of a family at redshifts, as a card states it.

    Parameters
    ----------
    family : str
    redshift : ndarray, shape (n,)
        True ones.
    dz, raw : ndarray, shape (n,)
    scale : float

    Returns
    -------
    list of [redshift, floor]
        One for all redshifts, or two between which it changes.
    """
    ramp = RAMPS.get(family)
    if ramp is None:
        return [[0.0, _digits(expected_floor(dz, raw, scale)[0])]]
    near = redshift < 0.5 * (ramp[0] + ramp[1])
    if min(near.sum(), (~near).sum()) < FEWEST:
        return [[ramp[0], _digits(expected_floor(dz, raw, scale)[0])]]
    parts = [expected_floor(dz[use], raw[use], scale)[0] for use in (near, ~near)]
    return [[z, _digits(floor)] for z, floor in zip(ramp, parts, strict=True)]


def _digits(value: float) -> float:
    return float(f"{value:.3g}")
