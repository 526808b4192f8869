"""Lines of a spectrum at its redshift, with their signal-to-noise ratios."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from specinfer.lines import lines_of
from specinfer.zgrid import LN_STEP, Gridded

FloatArray = NDArray[np.float64]

_C = 299792.458
# Standard deviation of a line in km/s, by family.
WIDTHS = {"GALAXY": 140.0, "QSO": 1800.0, "STAR": 150.0}
# The continuum under a line: from so many widths away to so many.
_FROM, _TO = 3.0, 15.0
_MIN_PIXELS = 6


class FoundLine(NamedTuple):
    """A line that may be in a spectrum.

    Attributes
    ----------
    name : str
    wavelength : float
        Where it stands in the spectrum, vacuum Angstrom.
    snr : float
        Flux over its error; negative for absorption.
    """

    name: str
    wavelength: float
    snr: float


def measure_lines(data: Gridded, family: str, redshift: float) -> tuple[FoundLine, ...]:
    """Signal-to-noise ratios of the main lines of a family.

    A Gaussian of the family's typical width at the line's place, over a straight continuum
    fitted beside it (a matched filter).

    Parameters
    ----------
    data : Gridded
    family : str
    redshift : float

    Returns
    -------
    tuple of FoundLine
        Those inside the spectrum, by wavelength.
    """
    ln = data.centres * np.log(10.0)
    pixel = data.binning * LN_STEP
    sigma = max(WIDTHS.get(family, 150.0) / _C, 1.2 * pixel)
    found = []
    good = data.weight > 0
    lines = lines_of(family)
    distances = [(ln - np.log(line.wavelength * (1.0 + redshift))) / sigma for line in lines]
    # The continuum keeps away from all of them.
    free = good & (np.abs(distances).min(axis=0) >= _FROM)
    for line, distance in zip(lines, distances, strict=True):
        near = good & (np.abs(distance) < _FROM)
        beside = free & (np.abs(distance) < _TO)
        left, right = beside & (distance < 0), beside & (distance > 0)
        if near.sum() < 3 or left.sum() < _MIN_PIXELS or right.sum() < _MIN_PIXELS:
            continue
        slope, level = np.polyfit(distance[beside], data.flux[beside], 1)
        excess = data.flux[near] - level - slope * distance[near]
        shape = np.exp(-0.5 * distance[near] ** 2)
        weight = data.weight[near]
        error = float(np.sqrt((weight * shape**2).sum()))
        snr = float((weight * shape * excess).sum()) / error
        found.append(FoundLine(line.name, line.wavelength * (1.0 + redshift), snr))
    return tuple(found)
