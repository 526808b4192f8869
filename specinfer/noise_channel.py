"""The fourth channel of a network that weighs its pixels: how much signal each has over noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.preprocess import N_CHANNELS, Prepared

# Channels with that of the noise.
CHANNELS = N_CHANNELS + 1
# A higher ratio than this is no better: calibration errors are larger.
_HIGHEST = 200.0


def with_noise(prepared: Prepared, known: NDArray[np.bool_] | bool = True) -> NDArray[np.float32]:
    """The channels of `Prepared.input`, and that of the noise.

    Parameters
    ----------
    prepared : Prepared
        Of one spectrum or a batch.
    known : bool or ndarray of bool, shape (...)
        Whether the noise was stated; where it was not the channel is 0.

    Returns
    -------
    ndarray, shape (..., 4, n_pixels), float32
        The fourth is ln(1 + continuum / sigma) of a grid pixel, at most ln(201); 0 where
        invalid.
    """
    ratio = prepared.continuum * np.sqrt(prepared.ivar)
    channel: NDArray[Any] = np.log1p(np.clip(ratio, 0.0, _HIGHEST))
    channel = np.where(prepared.valid & np.asarray(known)[..., None], channel, 0.0)
    return np.concatenate(
        [prepared.input, channel[..., None, :].astype(np.float32)], axis=-2, dtype=np.float32
    )
