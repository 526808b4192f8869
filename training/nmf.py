"""Where eigen-spectra start: non-negative factors of a library."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from specinfer.zgrid import STEP
from training.archive.rest import SEEN, RestLibrary

# What an object's own spectrum did not show counts this much.
_UNSEEN = 0.03
_LARGEST = 60.0


def factors(
    library: RestLibrary,
    rows: NDArray[np.intp],
    count: int,
    iterations: int,
    seed: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Eigen-spectra of which all rows are mixtures with positive coefficients.

    Weighted multiplicative updates (Lee & Seung 2001, NIPS 13, 556). Subclasses with few
    rows count more than their share.

    Parameters
    ----------
    library : RestLibrary
    rows : ndarray of int
    count : int
    iterations : int
    seed : int

    Returns
    -------
    spectra : ndarray, shape (count, n)
        Of mean 1.
    coefficients : ndarray, shape (n_rows, count)
    """
    flux = torch.from_numpy(np.clip(library.flux[rows], 0.0, _LARGEST))
    weight = torch.ones_like(flux)
    pixel = library.first + np.arange(flux.shape[1])
    for row, z in enumerate(library.redshift[rows]):
        if np.isfinite(z):
            low = SEEN[0] - np.log10(1.0 + z) / STEP
            unseen = (pixel < low) | (pixel >= low + SEEN[1])
            weight[row, torch.from_numpy(unseen)] = _UNSEEN
    label = library.subclass[rows] + 1
    rarity = np.sqrt(1.0 / np.bincount(label)[label])
    weight *= torch.from_numpy((rarity / rarity.mean()).astype(np.float32))[:, None]
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(rows), generator=generator)[:count]
    spectra = flux[chosen] + 0.05
    coefficients = torch.rand(len(rows), count, generator=generator) / count
    target = weight * flux
    for _ in track(range(iterations), description=f"{library.family.lower()} factors"):
        fitted = weight * (coefficients @ spectra)
        coefficients *= (target @ spectra.T) / (fitted @ spectra.T + 1e-9)
        fitted = weight * (coefficients @ spectra)
        spectra *= (coefficients.T @ target) / (coefficients.T @ fitted + 1e-9)
    level = spectra.mean(dim=1, keepdim=True)
    return (spectra / level).numpy(), (coefficients * level.T).numpy()
