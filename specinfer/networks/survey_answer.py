"""The answer of the survey models: class, redshift, best-fit model and its warnings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer import zwarn
from specinfer.line_fluxes import Denoised
from specinfer.networks.spectranet_answer import Candidate
from specinfer.zfind import Found
from specinfer.zgrid import Gridded
from specinfer.zscan import Curve

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SurveyAnswer:
    """What a redshift scan says about one spectrum.

    Attributes
    ----------
    probabilities : dict of str to float
        Of the families, in the order of the card.
    prediction_set : tuple of str
        Families that together hold the true one with the card's coverage, by falling
        probability; at least one.
    subtype : str or None
        The most probable subclass of the family, where a network gives it.
    subtype_probabilities : dict of str to float, or None
    redshift, redshift_err : float
        Of the best fit; the error is calibrated. None for a redshift that was given.
    zwarning : int
        See `specinfer.zwarn`.
    anomaly : float
        0 (usual) to 1.
    anomaly_reasons : tuple of str
        What makes it unusual.
    flags : tuple of str
        The names of the bits of `zwarning`, LOW_SNR, and Z_GIVEN.
    candidates : tuple of Candidate
        The best three fits; `score` is the share of the likelihood.
    found : Found
        Fits, and chi2(z) of every family.
    data : Gridded
        The spectrum on the grid of the scan.
    embedding : ndarray, shape (E,), float32
        Coefficients of all eigen-spectra, as the encoders guess them.
    given : float or None
        The redshift, if it was given.
    reliability : float or None
        Probability that class and redshift are right, where a network was asked, too.
    novelty : float or None
        Of the network, where one was asked.
    searched : {"everywhere", "windows"}
        Where the scan looked.
    parts : dict
        The full answers of the models behind it, by name, for the ``models`` block.
    evidence : Evidence or None
        What the warnings were made of.
    scan_everywhere : callable or None
        Makes the chi2(z) that was not needed for the answer.
    """

    probabilities: dict[str, float]
    prediction_set: tuple[str, ...]
    subtype: str | None
    subtype_probabilities: dict[str, float] | None
    redshift: float
    redshift_err: float | None
    zwarning: int
    anomaly: float
    anomaly_reasons: tuple[str, ...]
    flags: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    found: Found
    data: Gridded
    embedding: NDArray[np.float32]
    given: float | None
    reliability: float | None = None
    novelty: float | None = None
    searched: str = "everywhere"
    parts: Mapping[str, Any] = field(default_factory=dict)
    evidence: zwarn.Evidence | None = None
    scan_everywhere: Callable[[], Mapping[str, Curve]] | None = field(default=None, repr=False)

    @property
    def class_name(self) -> str:
        """The most probable family."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def probability(self) -> float:
        """Probability of `class_name`."""
        return self.probabilities[self.class_name]

    def curves(self) -> Mapping[str, Curve]:
        """chi2(z) of every family everywhere; scanned now, where the answer took windows."""
        return self.found.curves if self.scan_everywhere is None else self.scan_everywhere()

    @property
    def denoised(self) -> Denoised:
        """The best fit, in the unit of the spectrum."""
        return Denoised(10.0**self.data.centres, self.found.fits[0].model * self.data.scale)

    @property
    def delta_chi2(self) -> float | None:
        """chi2 of the second best fit less that of the best; None if there is one alone."""
        return self.found.delta_chi2 if len(self.found.fits) > 1 else None

    @property
    def reduced_chi2(self) -> float:
        """chi2 of the best fit a pixel."""
        best = self.found.fits[0]
        return best.chi2 / max(best.n_pixels, 1)

    def to_dict(self, version: str) -> dict[str, Any]:
        """The answer for the ``models`` block of a result."""
        return {
            "version": version,
            "class": self.class_name,
            "probability": self.probability,
            "probabilities": self.probabilities,
            "prediction_set": list(self.prediction_set),
            "subtype": self.subtype,
            "subtype_probabilities": self.subtype_probabilities,
            "redshift": self.redshift,
            "redshift_err": self.redshift_err,
            "reliability": self.reliability,
            "searched": self.searched,
            "delta_chi2": self.delta_chi2,
            "degeneracy": self.found.degeneracy if len(self.found.fits) > 1 else None,
            "reduced_chi2": self.reduced_chi2,
            "zwarning": self.zwarning,
            "warnings": list(zwarn.names(self.zwarning)),
            "anomaly": self.anomaly,
            "anomaly_reasons": list(self.anomaly_reasons),
            "coefficients": [float(x) for x in self.found.fits[0].coefficients],
            "flags": list(self.flags),
            "candidates": [
                {"class": c.class_name, "redshift": c.redshift, "score": c.score}
                for c in self.candidates
            ],
        }
