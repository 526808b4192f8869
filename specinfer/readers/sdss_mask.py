"""The pixel mask of SDSS spectra (SPPIXMASK)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Bits that make a pixel of a co-added spectrum unusable, of
# https://www.sdss.org/dr17/algorithms/bitmasks/#SPPIXMASK. The others either warn
# about a whole fibre, or mark single exposures that were already down-weighted.
UNUSABLE = {
    18: "FULLREJECT",
    22: "NOSKY",
    23: "BRIGHTSKY",
    24: "NODATA",
    26: "BADFLUXFACTOR",
    28: "REDMONSTER",
}
_BITS = sum(1 << bit for bit in UNUSABLE)


def unusable(and_mask: Any) -> NDArray[np.bool_]:
    """Pixels that are flagged in all exposures for a reason that makes them useless.

    Parameters
    ----------
    and_mask : array_like of int, shape (n,)
        The and-mask: bits that are set in every exposure. (The or-mask has those
        that are set in any, and would throw most pixels away.)

    Returns
    -------
    ndarray of bool, shape (n,)
        True where the pixel is unusable.
    """
    # spSpec files store the bits as floats.
    values = np.nan_to_num(np.asarray(and_mask, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray((values.astype(np.int64) & _BITS) != 0)
