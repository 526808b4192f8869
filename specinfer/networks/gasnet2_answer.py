"""The answer of GaSNet-II: class, subclass and p(z | family) of a survey spectrum."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer import pdf
from specinfer.networks.spectranet_answer import Candidate, Intervals
from specinfer.preprocess import Prepared
from specinfer.subclass_card import NO_SIGNAL

FloatArray = NDArray[np.float64]
# Half width of a mode of p(z | family), in ln(1+z).
MODE_WIDTH = 0.01


@dataclass(frozen=True, eq=False)
class SubclassAnswer:
    """What GaSNet-II says about one spectrum.

    Attributes
    ----------
    probabilities : dict of str to float
        Of the families, and of NO_SIGNAL.
    prediction_set : tuple of str
        Families that together hold the true one with the card's coverage.
    redshift, redshift_err : float or None
        Median of p(z | family), half its 68 % interval; None for NO_SIGNAL.
    redshift_interval : dict or None
    candidates : tuple of Candidate
        The best pairs of family and mode of its p(z).
    flags : tuple of str
    embedding : ndarray, shape (E,), float32
    novelty : float or None
        Minus ln of the evidence for all classes together (Liu et al. 2020, NeurIPS 33, 21464).
    class_probabilities : dict of str to float
        Of every subclass, and of NO_SIGNAL, as the card names them.
    ln1z : ndarray, shape (NZ,)
    family_pdfs : dict of str to ndarray, shape (NZ,)
        p(z | family), a probability a bin.
    still_families : tuple of str
        Families whose redshift is always close to 0.
    wavelength : ndarray, shape (P,)
        The network's grid.
    prepared : Prepared
    family_modes : dict of str to Modes
        The heaviest modes of p(z | family), of the families that have candidates.
    """

    probabilities: dict[str, float]
    prediction_set: tuple[str, ...]
    redshift: float | None
    redshift_err: float | None
    redshift_interval: Intervals | None
    candidates: tuple[Candidate, ...]
    flags: tuple[str, ...]
    embedding: NDArray[np.float32]
    novelty: float
    class_probabilities: dict[str, float]
    ln1z: FloatArray
    family_pdfs: dict[str, FloatArray]
    still_families: tuple[str, ...]
    wavelength: FloatArray
    prepared: Prepared
    family_modes: dict[str, pdf.Modes] = field(default_factory=dict)

    @property
    def class_name(self) -> str:
        """The most probable family."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def probability(self) -> float:
        """Probability of `class_name`."""
        return self.probabilities[self.class_name]

    @property
    def subtype(self) -> str | None:
        """The most probable subclass of the family; None for NO_SIGNAL."""
        of_class = self.subtype_probabilities
        return max(of_class, key=of_class.__getitem__) if of_class else None

    @property
    def subtype_probabilities(self) -> dict[str, float] | None:
        """P(subclass | family); None for NO_SIGNAL."""
        return None if self.class_name == NO_SIGNAL else self.subtypes(self.class_name)

    def subtypes(self, family: str) -> dict[str, float]:
        """P(subclass | family)."""
        start = f"{family} "
        inside = {
            name.removeprefix(start): p
            for name, p in self.class_probabilities.items()
            if name.startswith(start)
        }
        total = max(sum(inside.values()), 1e-300)
        return {name: p / total for name, p in inside.items()}

    def modes(self, family: str, count: int) -> pdf.Modes:
        """The heaviest modes of p(z | family), `count` of them."""
        known = self.family_modes.get(family)
        if known is None or len(known.mass) < count:
            return pdf.modes(self.family_pdfs[family], self.ln1z, count, MODE_WIDTH)
        return pdf.Modes(known.centre[:count], known.mass[:count])

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
            "redshift_interval": self.redshift_interval,
            "class_probabilities": self.class_probabilities,
            "novelty": self.novelty,
            "flags": sorted(self.flags),
            "candidates": [
                {"class": c.class_name, "redshift": c.redshift, "score": c.score}
                for c in self.candidates
            ],
        }
