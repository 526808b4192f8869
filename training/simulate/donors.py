"""The shapes of the noise of real survey spectra."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from specinfer.continuum import masked_median
from specinfer.zgrid import STEP
from training.archive.sdss import SdssSpectrum
from training.simulate.axis import COUNT, FIRST

FloatArray = NDArray[np.float32]

# Noise, over its median, of pixels that no donor has.
_UNSEEN_NOISE = 3.0


class Donors:
    """Shapes of the noise of real spectra on the observed axis.

    Parameters
    ----------
    spectra : sequence of SdssSpectrum

    Attributes
    ----------
    sigma, filled, sky : ndarray, shape (n, COUNT)
        Noise over its median (0 where unknown), the same with that of the others in gaps, and
        how much of it is sky lines.
    star_snr : ndarray
        Signal-to-noise ratios of the stars among them whose redshift is sure.
    """

    def __init__(self, spectra: Sequence[SdssSpectrum]) -> None:
        sure = [one for one in spectra if one.family == "STAR" and one.zwarning == 0]
        self.star_snr = np.array([one.snr for one in sure])
        sigma = np.zeros((len(spectra), COUNT), dtype=np.float32)
        for row, one in enumerate(spectra):
            pixel = np.rint(np.log10(one.wavelength) / STEP).astype(np.intp) - FIRST
            good = (one.ivar > 0) & (pixel >= 0) & (pixel < COUNT)
            sigma[row, pixel[good]] = 1.0 / np.sqrt(one.ivar[good])
            sigma[row] /= np.median(sigma[row, pixel[good]])
        self.sigma = sigma
        # Beyond the ends of a donor, and in its gaps, that of the others.
        typical = masked_median(sigma.T, sigma.T > 0)
        typical = np.where(typical > 0, typical, _UNSEEN_NOISE).astype(np.float32)
        self.filled = np.where(sigma > 0, sigma, typical)
        # Peaks that stand out of their neighbourhood are sky lines.
        smooth = np.array([_running_median(one, 75) for one in self.filled])
        self.sky = np.clip(self.filled / smooth - 1.2, 0.0, 5.0).astype(np.float32)

    def __len__(self) -> int:
        return len(self.sigma)


def _running_median(values: FloatArray, width: int) -> FloatArray:
    half = width // 2
    padded = np.pad(values, half, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)
