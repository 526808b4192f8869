"""Emission-line sets of star-forming galaxies, for continua of real ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from specinfer.zgrid import LN_STEP, STEP
from training.archive.rest import RESOLUTION

FloatArray = NDArray[np.float64]

_C = 299792.458
# SDSS calls a galaxy a starburst if the equivalent width of H-alpha exceeds 50 Angstrom; ours
# are well beyond it, whatever the continuum brought.
_WIDTHS = (60.0, 400.0)
# Standard deviation of the lines, km/s.
_DISPERSIONS = (30.0, 180.0)


def line_ratios(rng: np.random.Generator) -> dict[float, float]:
    """Fluxes over that of H-alpha by vacuum wavelength, Angstrom, before reddening.

    [N II]/H-alpha is drawn, [O III]/H-beta follows the sequence of star-forming galaxies
    (Kewley et al. 2013, ApJ 774, 100) with its scatter; Balmer lines are those of case B
    (Osterbrock & Ferland 2006); doublets have their fixed ratios, or those of densities of
    10 to 1000 per cubic centimetre.
    """
    nitrogen = rng.uniform(-1.6, -0.35)
    oxygen = 0.61 / (nitrogen + 0.08) + 1.1 + rng.normal(0.0, 0.1)
    h_beta = 1.0 / 2.86
    oiii = h_beta * 10.0**oxygen
    oii = h_beta * 10.0 ** rng.uniform(0.2, 0.7)
    sii = 10.0 ** rng.uniform(-1.0, -0.4)
    nii = 10.0**nitrogen
    dense, sulphur = rng.uniform(1.0, 1.45), rng.uniform(1.0, 1.4)
    return {
        6564.61: 1.0,
        4862.68: h_beta,
        4341.68: 0.468 * h_beta,
        4102.89: 0.259 * h_beta,
        5877.25: 0.12 * h_beta,
        5008.24: oiii,
        4960.30: oiii / 2.98,
        6585.27: nii,
        6549.86: nii / 3.05,
        3729.88: oii * dense / (1.0 + dense),
        3727.09: oii / (1.0 + dense),
        6718.29: sii * sulphur / (1.0 + sulphur),
        6732.67: sii / (1.0 + sulphur),
        3869.86: rng.uniform(0.06, 0.12) * oiii,
        6302.05: rng.uniform(0.01, 0.06),
    }


def with_lines(flux: FloatArray, first: int, rng: np.random.Generator) -> FloatArray:
    """A rest-frame spectrum with a set of emission lines.

    Parameters
    ----------
    flux : ndarray, shape (n,)
        On the grid of `specinfer.zgrid`.
    first : int
        Number of its first pixel.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n,)
    """
    pixel = first + np.arange(flux.size)
    wavelength = 10.0 ** (pixel * STEP)
    near = np.abs(wavelength - 6564.61) < 100.0
    continuum = max(float(np.median(flux[near])), 0.0)
    alpha = continuum * np.exp(rng.uniform(*np.log(_WIDTHS)))
    velocity = np.exp(rng.uniform(*np.log(_DISPERSIONS)))
    sigma = np.hypot(velocity / _C, 1.0 / RESOLUTION / 2.3548) / LN_STEP
    a_v = rng.exponential(0.5)
    made = flux.copy()
    for line, ratio in line_ratios(rng).items():
        reddened = ratio * 10.0 ** (
            -0.4 * a_v * ((line / 5500.0) ** -1.3 - (6564.61 / 5500.0) ** -1.3)
        )
        shape = np.exp(-0.5 * ((pixel - np.log10(line) / STEP) / sigma) ** 2)
        # A flux in Angstrom of continuum over the area of the profile in Angstrom.
        made += alpha * reddened * shape / (np.sqrt(2.0 * np.pi) * sigma * LN_STEP * line)
    return made
