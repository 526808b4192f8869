"""The answer of SpecPT: that of a survey network, and the spectrum without its noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.line_fluxes import Denoised
from specinfer.networks.gasnet2_answer import SubclassAnswer

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SpecPTAnswer(SubclassAnswer):
    """What SpecPT says about one spectrum; see `SubclassAnswer` for the rest.

    Attributes
    ----------
    reconstructed : ndarray, shape (P,)
        The flux without noise on the network's grid, in the spectrum's unit; 0 where there
        was no usable pixel.
    misfit : float or None
        Of the spectrum to it (`specinfer.networks.specpt.misfit`); None without errors.
    anomaly : float
        0 (usual) to 1, of misfit and novelty.
    anomaly_reasons : tuple of str
    """

    reconstructed: FloatArray = field(default_factory=lambda: np.zeros(0))
    misfit: float | None = None
    anomaly: float = 0.0
    anomaly_reasons: tuple[str, ...] = ()

    @property
    def denoised(self) -> Denoised:
        """The reconstruction where the spectrum has usable pixels."""
        valid = self.prepared.valid
        return Denoised(self.wavelength[valid], self.reconstructed[valid])

    def to_dict(self, version: str) -> dict[str, Any]:
        """The answer for the ``models`` block of a result."""
        return super().to_dict(version) | {
            "misfit": self.misfit,
            "anomaly": self.anomaly,
            "anomaly_reasons": list(self.anomaly_reasons),
        }
