"""Numbers from binned probability distributions: p(ln(1+z)), p(phase), p(class).

Pure numpy, vectorised over a batch; calibration and evaluation use the same
functions as the runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

# Half width, in ln(1+z), of what counts as one mode of p(z): 9000 km/s.
MODE_HALF_WIDTH = 0.03
# A mode with this share of p(z) is the answer; below it the alternatives count, too.
CLEAR_MODE = 0.8
_TINY = float(np.finfo(np.float64).tiny)


class Modes(NamedTuple):
    """Modes of a distribution, heaviest first: `centre` and `mass`, both (..., count)."""

    centre: FloatArray
    mass: FloatArray


def softmax(logits: ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Probabilities from logits over the last axis, in float64.

    Parameters
    ----------
    logits : array_like, shape (..., n)
    temperature : float
        Logits are divided by it first (Guo et al. 2017, arXiv:1706.04599).

    Returns
    -------
    ndarray, shape (..., n)
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(scaled / scaled.sum(axis=-1, keepdims=True))


def logistic(logit: ArrayLike) -> FloatArray:
    """Probabilities from logits, one each, in float64; large ones do not overflow."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * np.asarray(logit, dtype=np.float64)))


def log_odds(logits: ArrayLike, index: int, temperature: float = 1.0) -> FloatArray:
    """ln(p / (1 - p)) of one of several classes, also where p rounds to 0 or 1.

    Parameters
    ----------
    logits : array_like, shape (..., n)
        At least two classes.
    index : int
        Of the class.
    temperature : float
        Logits are divided by it first, as in `softmax`.

    Returns
    -------
    ndarray, shape (...)
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    others = np.delete(scaled, index, axis=-1)
    top = others.max(axis=-1)
    return np.asarray(
        scaled[..., index] - top - np.log(np.exp(others - top[..., None]).sum(axis=-1))
    )


def modes(
    p: FloatArray, grid: FloatArray, count: int = 3, half_width: float = MODE_HALF_WIDTH
) -> Modes:
    """The heaviest modes of binned distributions.

    A mode is a window of ``2 * half_width``; the heaviest one is taken, its mass is
    removed, and so on. Its centre is the mean of p inside the window, re-centred once.

    Parameters
    ----------
    p : ndarray, shape (..., n)
        Probabilities that sum to 1.
    grid : ndarray, shape (n,)
        Equally spaced bin centres.
    count : int
        Number of modes.
    half_width : float
        In the units of `grid`.

    Returns
    -------
    Modes
        Masses below 0 never occur; a mode without mass has the centre of an empty
        window and mass 0.
    """
    p = np.asarray(p, dtype=np.float64)
    step = float(grid[1] - grid[0])
    reach = max(round(half_width / step), 1)
    # Windows that reach beyond the ends find nothing there.
    rest = np.zeros((p.size // grid.size, grid.size + 2 * reach))
    rest[:, reach:-reach] = p.reshape(-1, grid.size)
    row, window = np.arange(len(rest))[:, None], np.arange(2 * reach + 1)
    distance = (window - reach).astype(np.float64)
    centres, masses = [], []
    for _ in range(count):
        heavy = _window_sums(rest, reach).argmax(axis=-1)
        for _ in range(2):
            inside = heavy[:, None] + window
            part = rest[row, inside]
            mass = part.sum(axis=-1)
            # From the middle of the window, in bins; an empty window is its own centre.
            lean = (part @ distance) / np.maximum(mass, _TINY)
            at, moved = heavy, heavy + np.rint(lean).astype(np.intp)
            heavy = np.minimum(np.maximum(moved, 0), grid.size - 1)
        centre = grid[at] + step * lean
        rest[row, inside] = 0.0
        centres.append(centre)
        masses.append(mass)
    shape = (*p.shape[:-1], count)
    return Modes(
        np.stack(centres, axis=-1).reshape(shape), np.stack(masses, axis=-1).reshape(shape)
    )


def quantile(p: FloatArray, grid: FloatArray, q: float) -> FloatArray:
    """Quantile of binned distributions, linear inside each bin; shape (...)."""
    return np.asarray(quantiles(p, grid, (q,))[..., 0])


def quantiles(p: FloatArray, grid: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Several quantiles of binned distributions, linear inside each bin.

    Parameters
    ----------
    p : ndarray, shape (..., n)
        Probabilities that sum to 1.
    grid : ndarray, shape (n,)
        Equally spaced bin centres.
    levels : sequence of float
        Q of them, between 0 and 1.

    Returns
    -------
    ndarray, shape (..., Q)
    """
    step, wanted = float(grid[1] - grid[0]), np.asarray(levels, dtype=np.float64)
    rows = p.reshape(-1, grid.size)
    below = np.zeros((len(rows), grid.size + 1))
    rows.cumsum(axis=-1, out=below[:, 1:])
    index = (below[:, None, 1:] < wanted[:, None]).sum(axis=-1)
    index = np.minimum(index, grid.size - 1)
    row = np.arange(len(rows))[:, None]
    inside = rows[row, index]
    part = (wanted - below[row, index]) / np.where(inside > 0, inside, 1.0)
    part = np.minimum(np.maximum(part, 0.0), 1.0)
    return np.asarray(grid[index] + (part - 0.5) * step).reshape(*p.shape[:-1], wanted.size)


class Interval(NamedTuple):
    """The ends of an interval, `low` and `high`, both (...)."""

    low: FloatArray
    high: FloatArray


def central_interval(p: FloatArray, grid: FloatArray, mass: float) -> Interval:
    """Equal-tailed interval of binned distributions: as much below it as above it.

    Parameters
    ----------
    p : ndarray, shape (..., n)
        Probabilities that sum to 1.
    grid : ndarray, shape (n,)
        Equally spaced bin centres.
    mass : float
        Probability inside, between 0 and 1.

    Returns
    -------
    Interval
        In the units of `grid`; the cumulative sum is linear inside each bin.
    """
    ends = central_intervals(p, grid, (mass,))
    return Interval(ends[..., 0, 0], ends[..., 0, 1])


def central_intervals(p: FloatArray, grid: FloatArray, masses: Sequence[float]) -> FloatArray:
    """Several equal-tailed intervals at once; see `central_interval`.

    Parameters
    ----------
    p : ndarray, shape (..., n)
    grid : ndarray, shape (n,)
    masses : sequence of float
        M of them.

    Returns
    -------
    ndarray, shape (..., M, 2)
        Low and high end, in the units of `grid`.
    """
    tails = [0.5 * (1.0 - mass) for mass in masses]
    levels = [level for tail in tails for level in (tail, 1.0 - tail)]
    return quantiles(p, grid, levels).reshape(*p.shape[:-1], len(masses), 2)


def central_mass(p: FloatArray, grid: FloatArray, value: ArrayLike) -> FloatArray:
    """Mass of the smallest central interval that contains a value.

    The inverse of `central_interval`: intervals of mass q contain the values whose
    central mass is at most q, so the quantiles of this over held-out objects are the
    masses that cover.

    Parameters
    ----------
    p : ndarray, shape (..., n)
        Probabilities that sum to 1.
    grid : ndarray, shape (n,)
        Equally spaced bin centres.
    value : array_like, shape (...)
        In the units of `grid`.

    Returns
    -------
    ndarray, shape (...)
        Between 0 (the median) and 1 (outside the grid).
    """
    step = float(grid[1] - grid[0])
    position = (np.asarray(value, dtype=np.float64) - grid[0]) / step + 0.5
    position = np.clip(position, 0.0, grid.size)
    index = np.minimum(position.astype(np.intp), grid.size - 1)
    cumulative = np.cumsum(p, axis=-1)
    inside = np.take_along_axis(p, index[..., None], axis=-1)[..., 0]
    up_to = np.take_along_axis(cumulative, index[..., None], axis=-1)[..., 0]
    below = up_to - inside * (1.0 - (position - index))
    return np.asarray(np.clip(np.abs(2.0 * below - 1.0), 0.0, 1.0))


def highest_density_mass(p: FloatArray, grid: FloatArray, value: ArrayLike) -> FloatArray:
    """Mass of the smallest highest-density region that contains a value.

    The region holds every point that is denser than the value (Hyndman 1996, The
    American Statistician 50, 120), and may be several intervals. The density is linear
    between the bin centres: with steps instead, a value in the one bin of a sharp
    distribution would count as excluded.

    Parameters
    ----------
    p : ndarray, shape (..., n)
        Probabilities that sum to 1.
    grid : ndarray, shape (n,)
        Equally spaced bin centres.
    value : array_like, shape (...)
        In the units of `grid`.

    Returns
    -------
    ndarray, shape (...)
        Between 0 (the densest point) and 1 (outside the grid, or without density).
    """
    step = float(grid[1] - grid[0])
    position = (np.asarray(value, dtype=np.float64) - grid[0]) / step
    outside = (position < -0.5) | (position > grid.size - 0.5)
    position = np.clip(position, 0.0, grid.size - 1.0)
    index = np.minimum(position.astype(np.intp), grid.size - 2)
    part = position - index
    left = np.take_along_axis(p, index[..., None], axis=-1)[..., 0]
    right = np.take_along_axis(p, index[..., None] + 1, axis=-1)[..., 0]
    level = ((1.0 - part) * left + part * right)[..., None]

    first, second = p[..., :-1], p[..., 1:]
    high, low = np.maximum(first, second), np.minimum(first, second)
    # Of each piece between two centres, the part that is denser than the level.
    crossed = (high > level) & (low < level)
    share = np.where(crossed, (high - level) / np.where(crossed, high - low, 1.0), high > level)
    mass = (share * 0.5 * (high + np.maximum(low, level))).sum(axis=-1)
    # Half a bin at either end, as dense as its centre.
    ends = p[..., [0, -1]]
    mass += 0.5 * np.where(ends > level, ends, 0.0).sum(axis=-1)
    empty = level[..., 0] <= 0.0
    return np.where(outside | empty, 1.0, np.clip(mass, 0.0, 1.0))


def is_clear(found: Modes) -> NDArray[np.bool_]:
    """Whether the heaviest mode holds enough of p to be the answer by itself, shape (...)."""
    return np.asarray(found.mass[..., 0] >= CLEAR_MODE)


def point_estimate(p: FloatArray, grid: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Best value and its error.

    Parameters
    ----------
    p : ndarray, shape (..., n)
        Probabilities that sum to 1.
    grid : ndarray, shape (n,)
        Equally spaced bin centres.

    Returns
    -------
    value : ndarray, shape (...)
        Median of p. It lies inside a mode that holds more than half of p, wherever the rest
        is; the mean of such a p lies between its modes, where the truth is not.
    sigma : ndarray, shape (...)
        Half the central 68.27 % interval of the whole p, so that a second mode widens
        it; at least a quarter of a bin.
    """
    found = quantiles(p, grid, (0.15865, 0.5, 0.84135))
    sigma = 0.5 * (found[..., 2] - found[..., 0])
    return found[..., 1], np.maximum(sigma, 0.25 * float(grid[1] - grid[0]))


def mean_and_sigma(p: FloatArray, grid: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of binned distributions, shape (...) each."""
    mean = p @ grid
    variance = p @ grid**2 - mean**2
    step = float(grid[1] - grid[0])
    return mean, np.sqrt(np.maximum(variance, (0.25 * step) ** 2))


def _window_sums(padded: FloatArray, reach: int) -> FloatArray:
    """Sums over windows of ``2 * reach + 1`` bins, of rows with `reach` more at either end."""
    below = np.zeros((len(padded), padded.shape[1] + 1))
    np.cumsum(padded, axis=-1, out=below[:, 1:])
    return np.asarray(below[:, 2 * reach + 1 :] - below[:, : -2 * reach - 1])
