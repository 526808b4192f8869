"""When the targets of a DESI file were observed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.readers.fits_headers import columns, named


class TargetDates:
    """Dates of targets, from EXP_FIBERMAP or else FIBERMAP.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        Of the file; the tables are read once, when the first date is asked for.
    """

    def __init__(self, hdus: Any) -> None:
        self._hdus = hdus
        self._tables: list[tuple[NDArray[Any], NDArray[np.float64]]] | None = None

    def mean(self, targetid: Any) -> float | None:
        """Mean modified Julian date of a target's exposures, or None."""
        if targetid is None:
            return None
        if self._tables is None:
            self._tables = [self._sorted(name) for name in ("EXP_FIBERMAP", "FIBERMAP")]
        for targets, dates in self._tables:
            first, last = np.searchsorted(targets, [targetid, targetid + 1])
            if last > first:
                return float(np.mean(dates[first:last]))
        return None

    def _sorted(self, name: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Targets in order, and the dates of their exposures that are known."""
        hdu = named(self._hdus, name)
        known = columns(hdu)
        if "mjd" not in known or "targetid" not in known:
            return np.empty(0, dtype=np.int64), np.empty(0)
        targets = np.asarray(hdu.data[known["targetid"]])
        dates = np.asarray(hdu.data[known["mjd"]], dtype=float)
        targets, dates = targets[dates > 0], dates[dates > 0]
        order = np.argsort(targets, kind="stable")
        return targets[order], dates[order]
