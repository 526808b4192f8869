"""ZWARNING: a bit mask of why a redshift of the scan may be wrong.

Bits up to 15 that mean the same as in redrock (github.com/desihub/redrock, `zwarning.py`)
have its names and numbers; those from 16 on are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from specinfer.zfind import Found
from specinfer.zgrid import LN_STEP, Gridded

FloatArray = NDArray[np.float64]

BITS = {
    "LITTLE_COVERAGE": 1,
    "SMALL_DELTA_CHI2": 2,
    "Z_FITLIMIT": 5,
    "NO_SIGNAL": 16,
    "SKYLINE_DRIVEN": 17,
    "SINGLE_LINE": 18,
    "OUT_OF_DOMAIN": 19,
    "UNRELIABLE": 20,
}
MEANINGS = {
    "LITTLE_COVERAGE": "too little of the spectrum is usable",
    "SMALL_DELTA_CHI2": "another redshift fits almost as well",
    "Z_FITLIMIT": "the redshift is at the end of the range that was searched",
    "NO_SIGNAL": "the fit is hardly better than a smooth continuum",
    "SKYLINE_DRIVEN": "most of what speaks for the redshift lies on night-sky lines",
    "SINGLE_LINE": "a single line decides the redshift",
    "OUT_OF_DOMAIN": "the spectrum is not of a kind that the eigen-spectra were made for",
    "UNRELIABLE": "network and scan together do not trust class and redshift",
}

# Strong night-sky lines, vacuum Angstrom (Osterbrock et al. 1996, PASP 108, 277), and the
# bands of OH beyond 7200 Angstrom, which are too many to name.
SKY_LINES = (5578.9, 5891.6, 5897.6, 6302.0, 6365.5, 6865.0)
_NEAR_SKY = 6.0
_SKY_EDGES = np.log10(np.array(SKY_LINES) + _NEAR_SKY * np.array([[-1.0], [1.0]]))
# Half the width of what counts as one line, in ln(wavelength): 900 km/s.
_LINE = 0.003


@dataclass(frozen=True)
class Limits:
    """Where a warning begins.

    Parameters
    ----------
    delta_chi2 : float
        Least difference to the next redshift.
    gain : float
        Least improvement over a smooth continuum, in chi2.
    coverage : float
        Least usable range, in ln(wavelength).
    sky_share, line_share : float
        Largest share of that improvement on sky lines, and in one line.
    resolution : float
        Least resolving power.
    """

    delta_chi2: float = 9.0
    gain: float = 30.0
    coverage: float = 0.15
    sky_share: float = 0.5
    line_share: float = 0.8
    resolution: float = 100.0


def names(mask: int) -> tuple[str, ...]:
    """The names of the bits that are set, by number."""
    return tuple(name for name, bit in BITS.items() if mask >> bit & 1)


def mask(*which: str) -> int:
    """The bit mask of names."""
    return sum(1 << BITS[name] for name in set(which))


# Bits that mean nothing where the redshift was given.
OF_A_SEARCH = mask("SMALL_DELTA_CHI2", "Z_FITLIMIT")


def gains(found: Found, data: Gridded) -> FloatArray:
    """How much each pixel's chi2 falls from the smooth continuum to the best fit, shape (n,)."""
    best = found.fits[0].model
    return np.asarray(data.weight * ((data.flux - found.null) ** 2 - (data.flux - best) ** 2))


class Evidence(NamedTuple):
    """What warnings are made of.

    Attributes
    ----------
    coverage : float
        Usable range, in ln(wavelength).
    gain : float
        Improvement over a smooth continuum, in chi2.
    sky, line : float
        The parts of it on sky lines, and in one line.
    """

    coverage: float
    gain: float
    sky: float
    line: float


def evidence_of(found: Found, data: Gridded) -> Evidence:
    """What `zwarning` needs to know of the best fit and the spectrum."""
    pixel = data.binning * LN_STEP
    gain = gains(found, data)
    return Evidence(
        float(np.count_nonzero(data.weight)) * pixel,
        float(gain.sum()),
        float(gain[_on_sky(data.centres)].sum()),
        _best_window(gain, pixel),
    )


def zwarning(
    found: Found,
    data: Gridded,
    limits: Limits | None = None,
    resolution: float | None = None,
    evidence: Evidence | None = None,
) -> int:
    """The bit mask of a search.

    Parameters
    ----------
    found : Found
    data : Gridded
    limits : Limits, optional
    resolution : float, optional
        Resolving power of the spectrum, if it is known.
    evidence : Evidence, optional
        If it is known already.

    Returns
    -------
    int
    """
    limits = limits or Limits()
    known = evidence or evidence_of(found, data)
    total = known.gain
    raised = {
        "LITTLE_COVERAGE": known.coverage < limits.coverage,
        "SMALL_DELTA_CHI2": found.delta_chi2 < limits.delta_chi2,
        "Z_FITLIMIT": found.fits[0].at_limit,
        "NO_SIGNAL": total < limits.gain,
        "SKYLINE_DRIVEN": total > 0 and known.sky > limits.sky_share * total,
        "SINGLE_LINE": total > 0 and known.line > limits.line_share * total,
        "OUT_OF_DOMAIN": resolution is not None and resolution < limits.resolution,
    }
    return mask(*(name for name, is_set in raised.items() if is_set))


def _on_sky(centres: FloatArray) -> NDArray[np.bool_]:
    """Pixels on sky lines, from their rising log10(wavelength)."""
    on = np.zeros(centres.size, dtype=bool)
    low, high = centres.searchsorted(_SKY_EDGES)
    for start, stop in zip(low, high, strict=True):
        on[start:stop] = True
    return on


def _best_window(gain: FloatArray, pixel: float) -> float:
    """The largest sum of gains within one line's width."""
    width = max(3, round(2 * _LINE / pixel))
    if gain.size < width:
        return float(gain.max())
    below = np.concatenate([[0.0], np.cumsum(gain)])
    return float((below[width:] - below[:-width]).max())
