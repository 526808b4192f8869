"""Which redshift of a scan is right: its fits, weighed with what a network says.

A conditional logit (McFadden 1974, in Frontiers in Econometrics) over the fits of a scan
and "none of them", fitted on held-out spectra. Its probabilities are those of class and redshift
together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from specinfer.survey_card import FIT_CLUES, Weights
from specinfer.zfind import Found
from specinfer.zgrid import LN_STEP, Gridded

FloatArray = NDArray[np.float64]

# Agreement in ln(1+z): what a survey network can resolve.
_NEAR = 0.006
_LEAST = 1e-6
# A network that is sure is still wrong now and then where spectra are not as it learned: its
# probabilities of a family, and of redshifts, are taken to be no less.
_LEAST_FAMILY, _LEAST_NEAR = 0.01, 1e-3
# A fit that is worse by so many times the scatter is not the right one, whatever a network says.
_HOPELESS = 150.0


class Opinion(NamedTuple):
    """What a network says of a spectrum.

    Attributes
    ----------
    families : mapping of str to float
        Probabilities.
    no_signal : float
        Probability of no signal.
    ln1z : ndarray, shape (NZ,)
    pdfs : mapping of str to ndarray, shape (NZ,)
        p(z | family); families without one stand still.
    """

    families: Mapping[str, float]
    no_signal: float
    ln1z: FloatArray
    pdfs: Mapping[str, FloatArray]

    def near(self, family: str, redshift: float) -> float:
        """Probability of a redshift about this one, if the family is right."""
        if family not in self.pdfs:
            return 1.0
        close = np.abs(self.ln1z - np.log1p(redshift)) < _NEAR
        return float(self.pdfs[family][close].sum())


def clues(
    found: Found, data: Gridded, opinion: Opinion, snr: float
) -> tuple[FloatArray, FloatArray]:
    """What speaks for each fit, as `FIT_CLUES`, and for none of them, as `NONE_CLUES`.

    Parameters
    ----------
    found : Found
    data : Gridded
    opinion : Opinion
    snr : float
        Median signal-to-noise ratio a pixel.

    Returns
    -------
    fits : ndarray, shape (n_fits, 3)
    none : ndarray, shape (6,)
    """
    chi2 = np.array([one.chi2 for one in found.fits])
    reduced = float(chi2.min()) / max(found.fits[0].n_pixels, 1)
    # Where no model is good, differences between models mean less.
    scatter = max(reduced, 1.0)
    worse = (chi2 - chi2.min()) / scatter
    fits = np.array(
        [
            [
                np.log(max(opinion.families.get(one.family, 0.0), _LEAST_FAMILY)),
                np.log(max(opinion.near(one.family, one.redshift), _LEAST_NEAR)),
                -np.log1p(d),
            ]
            for one, d in zip(found.fits, worse, strict=True)
        ]
    )
    gain = max(found.null_chi2 - float(chi2.min()), 0.0) / scatter
    usable = float((data.weight > 0).sum()) * data.binning * LN_STEP
    none = np.array(
        [
            1.0,
            np.log(max(opinion.no_signal, _LEAST)),
            -np.log1p(gain),
            np.log(max(reduced, 0.1)),
            np.log(max(usable, 1e-3)),
            np.log(np.clip(snr, 0.1, 100.0)) if np.isfinite(snr) else 0.0,
        ]
    )
    return fits, none


def hopeless(fits: FloatArray) -> NDArray[np.bool_]:
    """Fits, as rows of `clues`, that are far worse than the best."""
    return np.asarray(-fits[:, FIT_CLUES.index("misfit")] > np.log1p(_HOPELESS))


def chances(
    weights: Weights, found: Found, data: Gridded, opinion: Opinion, snr: float
) -> tuple[FloatArray, float]:
    """The probability that a fit has the right class and redshift, (n_fits,), and of none.

    Parameters
    ----------
    weights : Weights
    found, data, opinion, snr
        As for `clues`.
    """
    fits, none = clues(found, data, opinion, snr)
    return weigh(weights, fits, none, [one.family for one in found.fits])


def weigh(
    weights: Weights, fits: FloatArray, none: FloatArray, families: Sequence[str]
) -> tuple[FloatArray, float]:
    """`chances` from the clues and the families of the fits."""
    score = fits @ np.array(weights.fit)
    score += [weights.bias.get(family, 0.0) for family in families]
    score[hopeless(fits)] = -np.inf
    every = np.append(score, none @ np.array(weights.none))
    p = np.exp(every - every.max())
    p /= p.sum()
    return p[:-1], float(p[-1])
