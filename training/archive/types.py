"""`Entry`: one labelled rest-frame spectrum on its way into the library."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Entry:
    """One labelled spectrum; `wavelength` (Angstrom) is in the rest frame."""

    object: str
    label: str
    wavelength: NDArray[np.float64]
    flux: NDArray[np.float64]
    redshift: float
    phase: float
    flattened: bool
    subtype: str
    source: str
