"""Facts about SEDM spectra that its FITS and text readers share.

The pipeline (pysedm) writes a spectrum twice, in FITS and in text, on a linear vacuum
axis. Neither is to be taken at its word: the FITS header may hold the first wavelength
before the edges were cut, the text is rounded to 0.1 Angstrom.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.fits_headers import described, number, text

FloatArray = NDArray[np.float64]

RESOLUTION = 100.0
# The grid of the cubes, and how many pixels are cut at each end of a spectrum.
GRID = (3700.0, 9300.0, 220)
EDGE = 3
# Header facts that the pipeline's gates and the portal need.
KEPT = (
    *("OBJECT", "NAME", "OBJRA", "OBJDEC", "OBSDATE", "UTC", "REQ_ID", "RA_RATE", "DEC_RATE"),
    *("QUALITY", "POSOK", "SRCPOS", "PSFFWHM", "EXTRTYPE", "FLUXCAL", "CALSRC", "IMGTYPE"),
    *("PYSEDMV", "P60PRID", "JD", "EDGECUT", "EDGECUTL"),
)
# pysedm's unit parses as erg/s/ampere/cm2 and worse: by table, never by a parser.
_BUNITS = {
    "erg/s/a/cm^2": "erg / (s cm2 Angstrom)",
    "erg/s/cm2/aa": "erg / (s cm2 Angstrom)",
    "erg/s/cm^2/aa": "erg / (s cm2 Angstrom)",
    "erg/s/cm2/a": "erg / (s cm2 Angstrom)",
    "erg/s/cm^2/a": "erg / (s cm2 Angstrom)",
    "electron": "electron",
    "adu": "adu",
}
# Half of the last digit of the text's wavelengths, and what the fit of a line adds.
_ROUNDING = 0.06


def is_sedm(header: Any) -> bool:
    """Whether a header (FITS, or a mapping of upper-case keys) is one of SEDM."""
    return str(text(header, "INSTRUME")).upper().startswith("SEDM") or any(
        text(header, key) is not None for key in ("PYSEDMV", "EXTRTYPE")
    )


def facts(source: Any, name: str, header: Any) -> dict[str, Any]:
    """What an SEDM header says about a spectrum: arguments of `Spectrum`.

    Parameters
    ----------
    source : Source
        The file.
    name : str
        Name of the reader.
    header : astropy.io.fits.Header or mapping
        Its header.

    Returns
    -------
    dict
        See `specinfer.readers.fits_headers.described`.
    """
    known = described(source, name, header, keep=KEPT)
    if known["object"] is not None:
        # "ZTF20abwdwoa [A]": the letter is the slot of the observing queue.
        known["object"] = re.sub(r"\s*\[\w\]$", "", known["object"])
    known["instrument"] = known["instrument"] or "SEDM-P60"
    unit = known["header"].get("BUNIT")
    if unit is not None:
        known["header"]["BUNIT"] = _BUNITS.get(str(unit).replace(" ", "").lower(), unit)
    return known


def refuse_empty(flux: FloatArray, header: Any) -> None:
    """Say why there is no flux, if there is none.

    Raises
    ------
    ReadError
        Code ``no_good_pixels``.
    """
    if not np.isfinite(flux).any():
        quality = number(header, "QUALITY")
        why = " (QUALITY 3: the target was outside the IFU)" if quality == 3 else ""
        raise ReadError("no_good_pixels", f"the flux is NaN everywhere{why}; extract it again")


def variance_flags(variance: FloatArray) -> list[str]:
    """``CONSTANT_VARIANCE`` if the variance says nothing about the pixels."""
    finite = variance[np.isfinite(variance)]
    return [flag.CONSTANT_VARIANCE] if finite.size and np.ptp(finite) == 0 else []


def header_axis(header: Any, n: int) -> FloatArray | None:
    """The axis CRVAL1 + CDELT1 i of a header, in the unit it has; None if it has none.

    CRPIX1 and CTYPE1 are left over from the raw image, so they are not looked at.
    """
    start, step = number(header, "CRVAL1"), number(header, "CDELT1")
    if start is None or step is None:
        return None
    return start + step * np.arange(n, dtype=np.float64)


def trusted_header_axis(header: Any, n: int) -> tuple[FloatArray, list[str]] | None:
    """The axis of the header in Angstrom, with flags, if it fits the number of pixels.

    pysedm 0.42 and later may write the CRVAL1 of the uncut grid, 76.7 Angstrom too
    blue, beside the number of pixels of the cut one. An axis that starts below 50 is
    ln(lambda).
    """
    axis = header_axis(header, n)
    if axis is None or n < 2:
        return None
    start, step = float(axis[0]), float(axis[1] - axis[0])
    if 0 < start < 50.0 and step > 0:
        return np.exp(axis), [flag.AXIS_LN]
    whole = n == GRID[2] or start >= 3750.0
    return (axis, []) if 3600.0 < start < 4000.0 and 20.0 < step < 30.0 and whole else None


def standard_axis(n: int) -> FloatArray | None:
    """The standard grid, or that with its edges cut, whichever has `n` pixels; else None."""
    grid = np.linspace(*GRID)
    return {grid.size: grid, grid.size - 2 * EDGE: grid[EDGE:-EDGE]}.get(n)


def relinearised(rounded: FloatArray, header: Any = None) -> tuple[FloatArray, list[str]]:
    """The linear axis that was rounded to 0.1 Angstrom in a text file.

    Parameters
    ----------
    rounded : ndarray, shape (n,)
        Wavelengths in Angstrom, as written.
    header : mapping, optional
        Its header: CRVAL1 and CDELT1 give the axis exactly, if they agree.

    Returns
    -------
    tuple of ndarray and list of str
        The axis and the flag that says whence it is: ``AXIS_FROM_HEADER``,
        ``AXIS_FROM_STANDARD_GRID``, ``AXIS_RELINEARISED``; without a flag what came
        in, if that is no rounded straight line.
    """
    n = rounded.size
    if n < 2 or not np.all(np.isfinite(rounded)):
        return rounded, []
    # A straight line through points that are rounded is good to 0.01 Angstrom.
    slope, start = np.polyfit(np.arange(n), rounded, 1)
    candidates = (
        (header_axis(header, n) if header is not None else None, flag.AXIS_FROM_HEADER),
        (standard_axis(n), flag.AXIS_FROM_STANDARD_GRID),
        (np.asarray(start + slope * np.arange(n)), flag.AXIS_RELINEARISED),
    )
    for axis, name in candidates:
        if axis is not None and np.max(np.abs(axis - rounded)) <= _ROUNDING:
            return axis, [name]
    return rounded, []
