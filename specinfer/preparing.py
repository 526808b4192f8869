"""Spectra of a batch on a network's grid, those on the same pixels together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from specinfer.preprocess import Prepared, Preprocessing, prepare
from specinfer.spectrum import Spectrum

# Pixels of spectra that are prepared at once: 16 spectra of DESI, hundreds of SEDM. Of more, the
# arrays between the steps no longer fit the processor's cache, and two workers wait for the same
# memory (docs/scale.md).
_PIXELS = 2**17


def prepare_many(spectra: Sequence[Spectrum], config: Preprocessing) -> list[Prepared]:
    """As `specinfer.preprocess.prepare` gives one by one, in half to two thirds of the time.

    Parameters
    ----------
    spectra : sequence of Spectrum
        Any; those of one survey or instrument mostly share their pixels.
    config : Preprocessing

    Returns
    -------
    list of Prepared
        In the order of `spectra`; a spectrum's does not depend on what else is in the list.
    """
    axes: dict[bytes, list[int]] = {}
    for index, spectrum in enumerate(spectra):
        axes.setdefault(spectrum.wavelength.tobytes(), []).append(index)
    made: dict[int, Prepared] = {}
    for sharing in axes.values():
        wavelength = spectra[sharing[0]].wavelength
        count = max(1, _PIXELS // wavelength.size)
        for start in range(0, len(sharing), count):
            members = sharing[start : start + count]
            together = prepare(
                wavelength,
                np.stack([spectra[index].flux for index in members]),
                np.stack([spectra[index].ivar for index in members]),
                config,
            )
            for row, index in enumerate(members):
                made[index] = Prepared(*(part[row] for part in together))
    return [made[index] for index in range(len(spectra))]
