"""Spectra of nothing: what a novelty score learns to tell from real ones.

Outlier exposure (Hendrycks et al. 2019, arXiv:1812.04606): a network that has seen spectra
which are certainly of no class also doubts others of a kind that it was not shown.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

KINDS = ("reversed", "negated", "spliced", "smooth noise", "random lines", "mixed")
_MAD_TO_SIGMA = 1.4826


def outliers(
    inputs: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Distort prepared spectra, each in one of six ways.

    Turned around; upside down; continued by another spectrum; smooth noise in its place;
    random lines in its place; mixed with another one that is shifted.

    Parameters
    ----------
    inputs : ndarray, shape (n, 3, P), float32
        As `specinfer.preprocess.Prepared.input`; not changed.
    rng : numpy.random.Generator

    Returns
    -------
    distorted : ndarray, shape (n, 3, P), float32
        The same pixels are valid.
    kind : ndarray of int, shape (n,)
        Index into `KINDS`.
    """
    made = inputs.copy()
    count, _, size = inputs.shape
    kind = rng.integers(0, len(KINDS), count)
    partner = rng.permutation(count)
    for i in range(count):
        valid = inputs[i, 1] > 0
        flux, other = inputs[i, 0], inputs[partner[i], 0]
        match KINDS[kind[i]]:
            case "reversed":
                made[i, 0, valid] = flux[valid][::-1]
            case "negated":
                made[i, 0] = -flux
            case "spliced":
                cut = rng.integers(round(0.3 * size), round(0.7 * size))
                made[i, 0, cut:] = np.where(valid, other, 0.0)[cut:]
            case "smooth noise":
                made[i, 0] = np.where(valid, _smooth_noise(size, rng), 0.0)
            case "random lines":
                made[i, 0] = np.where(valid, _random_lines(size, rng), 0.0)
            case _:
                share = rng.uniform(0.35, 0.65)
                moved = np.roll(other, rng.integers(size // 50, size // 8))
                made[i, 0] = np.where(valid, share * flux + (1.0 - share) * moved, 0.0)
    return made, kind


def _smooth_noise(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise with the widths of supernova features, of robust standard deviation 1."""
    width = rng.uniform(4.0, 20.0) * size / 1024
    reach = int(3 * width) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    noise = np.convolve(rng.normal(size=size + 2 * reach), kernel, "valid")
    return np.asarray(noise / (_MAD_TO_SIGMA * np.median(np.abs(noise))))


def _random_lines(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Lines at random places, two in three of them in emission, and noise."""
    pixel = np.arange(size)
    flux = rng.normal(size=size) * rng.uniform(0.1, 1.0)
    for _ in range(rng.integers(3, 15)):
        height = rng.uniform(1.0, 8.0) * rng.choice([1.0, 1.0, -1.0])
        width = rng.uniform(3.0, 12.0) * size / 1024
        flux += height * np.exp(-0.5 * ((pixel - rng.uniform(0, size)) / width) ** 2)
    return flux
