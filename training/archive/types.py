"""`Entry`: one labelled rest-frame spectrum on its way into the library; names of objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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


def object_name(row: dict[str, Any]) -> str:
    """The name that the visits of one SDSS object share, from a row of the archive."""
    if row["thing_id"] != -1:
        return f"sdss-{row['thing_id']}"
    return f"sdss-{row['plate']}-{row['fiberid']}"
