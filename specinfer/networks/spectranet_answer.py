"""The answer of a SpectraNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.preprocess import Prepared

FloatArray = NDArray[np.float64]
# Ends of intervals by their nominal coverage in per cent, "68" and "95".
Intervals = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Candidate:
    """One hypothesis: `score` is P(class) times the share of p(z) in the mode at `redshift`."""

    class_name: str
    redshift: float
    score: float


@dataclass(frozen=True, eq=False)
class SpectraNetAnswer:
    """What SpectraNet says about one spectrum.

    Attributes
    ----------
    probabilities : dict of str to float
        Calibrated, over all classes, in the order of the card.
    subtype : str or None
        The most probable subtype, if the most probable class has any.
    subtype_probabilities : dict of str to float, or None
        P(subtype | class) for that class, in the order of the card.
    prediction_set : tuple of str
        Classes that together hold the true one with the card's coverage, by falling
        probability; at least one.
    prediction_set_by_class : tuple of str or None
        Classes that are probable enough for their own thresholds: for each true class by
        itself they hold it with the card's coverage. By falling probability; may be empty.
    redshift : float
        Median of p(z); or the redshift that was given.
    redshift_err : float or None
        1-sigma error; None if the redshift was given. Half the width of the 68 %
        interval where there is one.
    redshift_interval : dict or None
        Ends of the calibrated central intervals by "68" and "95"; None if the redshift
        was given or the card has no levels.
    phase, phase_err : float or None
        Rest-frame days from maximum light; None for classes without a phase.
    phase_interval : dict or None
        As `redshift_interval`, in days.
    host_share : float or None
        Estimated share of host light, 0 to 1.
    novelty : float or None
        How unlike the training spectra it is; the card has the limit.
    decision : {"auto", "review"} or None
        Whether it may be posted without a human; None if the card has no rule.
    candidates : tuple of Candidate
        The best three pairs of class and redshift.
    flags : tuple of str
        LOW_SNR, LITTLE_COVERAGE, Z_AMBIGUOUS, Z_GIVEN, Z_CONFLICT, NOVEL, HOST_DOMINATED.
    coverage : float
        Share of the network's wavelength grid with usable pixels.
    embedding : ndarray, shape (E,), float32
    ln1z : ndarray, shape (NZ,)
        Bin centres of `redshift_pdf` in ln(1+z).
    redshift_pdf : ndarray, shape (NZ,)
        Probability a bin; sums to 1.
    redshift_pdf_is_blind : bool
        Whether `redshift_pdf` is that of the spectrum as observed. Otherwise (a redshift
        was given and nothing was there to check it) it is that of the rest frame.
    shown_interval : tuple of float
        Central 68 % interval of `redshift_pdf`, as redshifts.
    wavelength : ndarray, shape (P,)
        The network's grid in Angstrom.
    prepared : Prepared
        One spectrum on that grid, in the rest frame if the redshift was given.
    """

    probabilities: dict[str, float]
    subtype: str | None
    subtype_probabilities: dict[str, float] | None
    prediction_set: tuple[str, ...]
    prediction_set_by_class: tuple[str, ...] | None
    redshift: float
    redshift_err: float | None
    redshift_interval: Intervals | None
    phase: float | None
    phase_err: float | None
    phase_interval: Intervals | None
    host_share: float | None
    novelty: float | None
    decision: str | None
    candidates: tuple[Candidate, ...]
    flags: tuple[str, ...]
    coverage: float
    embedding: NDArray[np.float32]
    ln1z: FloatArray
    redshift_pdf: FloatArray
    redshift_pdf_is_blind: bool
    shown_interval: tuple[float, float]
    wavelength: FloatArray
    prepared: Prepared

    @property
    def class_name(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def probability(self) -> float:
        """Probability of `class_name`."""
        return self.probabilities[self.class_name]

    def to_dict(self, version: str) -> dict[str, Any]:
        """The answer for the ``models`` block of a result."""
        by_class = self.prediction_set_by_class
        return {
            "version": version,
            "class": self.class_name,
            "probability": self.probability,
            "probabilities": self.probabilities,
            "subtype": self.subtype,
            "subtype_probabilities": self.subtype_probabilities,
            "prediction_set": list(self.prediction_set),
            "prediction_set_by_class": None if by_class is None else list(by_class),
            "redshift": self.redshift,
            "redshift_err": self.redshift_err,
            "redshift_interval": self.redshift_interval,
            "phase": self.phase,
            "phase_err": self.phase_err,
            "phase_interval": self.phase_interval,
            "host_share": self.host_share,
            "novelty": self.novelty,
            "decision": self.decision,
            "candidates": [
                {"class": c.class_name, "redshift": c.redshift, "score": c.score}
                for c in self.candidates
            ],
            "coverage": self.coverage,
            "flags": sorted(self.flags),
        }
