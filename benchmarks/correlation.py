"""Cross-correlation with templates as SNID does it, for comparison of its time only.

After Tonry & Davis (1979, AJ 84, 1511) and Blondin & Tonry (2007, ApJ 666, 1024): the spectrum
without its continuum is correlated with every template by fast Fourier transforms; the height
of the peak over the scatter of the antisymmetric part is r, and r is weighted by the overlap.
The templates are smooth noise: their numbers make no difference to the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from specinfer.preprocess import Prepared

Complex = NDArray[np.complex64]
Float = NDArray[np.float32]

# Half width of a Gaussian, in pixels, that makes white noise as smooth as a supernova.
_SMOOTH = 8.0


class Templates:
    """Spectra of a bank on the grid of the prepared ones, transformed once.

    Parameters
    ----------
    count : int
        M templates.
    n_pixels : int
    largest : int
        Shifts in pixels that are looked at, from 0.
    """

    def __init__(self, count: int, n_pixels: int, largest: int) -> None:
        self.length = 2 * n_pixels
        self.largest = largest
        rng = np.random.default_rng(0)
        frequency = np.fft.rfftfreq(n_pixels)
        damped = np.exp(-2.0 * (np.pi * _SMOOTH * frequency) ** 2)
        white = np.fft.rfft(rng.standard_normal((count, n_pixels)))
        bank = np.fft.irfft(white * damped, n_pixels).astype(np.float32)
        bank /= bank.std(axis=1, keepdims=True)
        # Templates of unequal coverage, as those of a library are.
        first = rng.integers(0, n_pixels // 4, count)
        last = rng.integers(3 * n_pixels // 4, n_pixels, count)
        pixel = np.arange(n_pixels)
        self._first, self._last = first, last
        bank[(pixel < first[:, None]) | (pixel >= last[:, None])] = 0.0
        self._bank = np.conj(np.fft.rfft(bank, self.length)).astype(np.complex64)
        self._norm = np.sqrt((bank**2).sum(axis=1))

    def best(self, prepared: Prepared) -> tuple[int, int, float]:
        """The best template of a spectrum.

        Parameters
        ----------
        prepared : Prepared
            Of one spectrum.

        Returns
        -------
        template, shift : int
        weight : float
            r times the overlap in pixels.
        """
        flux: Float = np.where(prepared.valid, prepared.input[0], 0.0).astype(np.float32)
        spectrum: Complex = np.fft.rfft(flux, self.length).astype(np.complex64)
        value = np.fft.irfft(spectrum * self._bank, self.length)
        value /= self._norm[:, None] * max(float(np.sqrt((flux**2).sum())), 1e-9)
        peak = value[:, : self.largest].argmax(axis=1)
        each = np.arange(len(value))
        height = value[each, peak]
        # The antisymmetric part about the peak is what chance makes of the correlation.
        offset = np.arange(1, self.largest // 2)
        after = value[each[:, None], (peak[:, None] + offset) % self.length]
        before = value[each[:, None], (peak[:, None] - offset) % self.length]
        scatter = np.sqrt(np.mean((after - before) ** 2, axis=1) / 2.0)
        seen = np.flatnonzero(prepared.valid)
        start = np.maximum(self._first + peak, seen[0])
        stop = np.minimum(self._last + peak, seen[-1] + 1)
        weight = height / (np.sqrt(2.0) * np.maximum(scatter, 1e-6)) * np.maximum(stop - start, 0)
        winner = int(weight.argmax())
        return winner, int(peak[winner]), float(weight[winner])
