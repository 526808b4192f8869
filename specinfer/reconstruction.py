"""Between the units of a network's denoised spectrum and those of the flux."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.preprocess import Prepared, feature_spread

FloatArray = NDArray[np.float64]


def compressed(flux: FloatArray, prepared: Prepared, clip: float) -> FloatArray:
    """A flux in the units of the first channel of `Prepared.input`.

    Parameters
    ----------
    flux : ndarray, shape (..., n_pixels)
        On the grid, in the units of `Prepared.flux`.
    prepared : Prepared
        Of the spectrum whose continuum and spread are taken.
    clip : float
        `Preprocessing.clip`.

    Returns
    -------
    ndarray, shape (..., n_pixels)
        0 where `prepared` is invalid.
    """
    contrast = flux / _continuum(prepared) - 1.0
    values = clip * np.arcsinh(contrast / (spread_of(prepared) * clip))
    return np.asarray(np.where(prepared.valid, values, 0.0))


def restored(values: NDArray[Any], prepared: Prepared, clip: float) -> FloatArray:
    """A network's denoised spectrum in the units of the flux: the inverse of `compressed`.

    Parameters
    ----------
    values : ndarray, shape (..., n_pixels)
        In the units of the first channel.
    prepared : Prepared
        Of the spectrum that was denoised.
    clip : float
        `Preprocessing.clip`.

    Returns
    -------
    ndarray, shape (..., n_pixels)
        On the network's grid; 0 where there was no usable pixel.
    """
    contrast = spread_of(prepared) * clip * np.sinh(np.asarray(values, np.float64) / clip)
    return np.asarray(np.where(prepared.valid, _continuum(prepared) * (1.0 + contrast), 0.0))


def spread_of(prepared: Prepared) -> FloatArray:
    """The robust standard deviation that the normalisation divided by, (..., 1)."""
    contrast = np.where(prepared.valid, prepared.flux / _continuum(prepared) - 1.0, 0.0)
    return feature_spread(contrast, prepared.valid)


def _continuum(prepared: Prepared) -> FloatArray:
    """Positive, also for a spectrum without a usable pixel."""
    return np.where(prepared.continuum > 0, prepared.continuum, 1.0)
