"""Wavelengths of IRAF's multispec format, one axis a row.

The world coordinates of a multispec image stand in the cards WAT2_001, WAT2_002...
See "The IRAF/NOAO Spectral World Coordinate Systems" (F. Valdes 1993, ADASS II,
ASPC 52, 467) and the IRAF help page ``specwcs``.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev, legendre
from numpy.typing import NDArray

from specinfer.errors import ReadError

FloatArray = NDArray[np.float64]

_SPEC = re.compile(r'spec(\d+)\s*=\s*"([^"]*)"')
# FITS cards hold 68 characters of text; the blanks at the end of one are lost.
_CARD_TEXT = 68
_FUNCTIONS = {3: "cubic spline", 4: "linear spline", 5: "pixel list", 6: "sampled list"}


def multispec(header: Any) -> dict[int, str]:
    """The text of each spectrum's dispersion, by its row (from 1); empty if there is none.

    Parameters
    ----------
    header : astropy.io.fits.Header
        With the cards WAT2_nnn.

    Returns
    -------
    dict of int to str
    """
    text, number = "", 1
    while (part := header.get(f"WAT2_{number:03d}")) is not None:
        text += str(part).ljust(_CARD_TEXT)
        number += 1
    return {int(row): value for row, value in _SPEC.findall(text)}


def dispersion(text: str, n: int) -> FloatArray:
    """Wavelengths of one row.

    Parameters
    ----------
    text : str
        ``aperture beam type w1 dw nw z low high [function ...]``.
    n : int
        Number of pixels of the image.

    Returns
    -------
    ndarray, shape (n,)
        In the unit of the header (usually Angstrom). NaN after the `nw` pixels
        that the row has.

    Raises
    ------
    ReadError
        ``no_wavelengths`` if the row has no dispersion, is damaged, or uses a
        spline or a list.
    """
    try:
        values = [float(field) for field in text.split()]
        kind, start, step = int(values[2]), values[3], values[4]
        pixels, doppler = int(values[5]), 1.0 + values[6]
    except (ValueError, IndexError):
        raise ReadError(
            "no_wavelengths",
            f"the dispersion {text[:40]!r} in WAT2 is damaged; fetch the file again",
        ) from None
    index = np.arange(n, dtype=np.float64)
    if kind == 0:
        result = start + step * index
    elif kind == 1:
        with np.errstate(over="ignore"):
            result = 10.0 ** (start + step * index)
    elif kind == 2:
        result = _nonlinear(values[9:], index + 1.0)
    else:
        raise ReadError(
            "no_wavelengths",
            "the axis counts pixels (IRAF dispersion type -1); run dispcor on the spectrum first",
        )
    return np.where(index < pixels, result / doppler, np.nan)


def _nonlinear(fields: list[float], pixel: FloatArray) -> FloatArray:
    """Sum of weighted polynomials: ``weight shift type order low high c1 c2 ...`` each."""
    total = np.zeros(pixel.shape)
    if not fields:
        raise ReadError("no_wavelengths", "WAT2 announces a function but gives none")
    while fields:
        if len(fields) < 6:
            raise ReadError("no_wavelengths", "the dispersion function in WAT2 is cut short")
        weight, shift, kind, order = fields[0], fields[1], int(fields[2]), int(fields[3])
        low, high = fields[4], fields[5]
        if kind not in (1, 2):
            name = _FUNCTIONS.get(kind, f"type {kind}")
            raise ReadError(
                "no_wavelengths",
                f"the dispersion is a {name} function, which is not read; "
                "linearise the spectrum with IRAF's dispcor first",
            )
        coefficients, fields = fields[6 : 6 + order], fields[6 + order :]
        if len(coefficients) < order or high == low:
            raise ReadError("no_wavelengths", "the dispersion function in WAT2 is cut short")
        x = (2.0 * pixel - (high + low)) / (high - low)
        series = chebyshev.chebval if kind == 1 else legendre.legval
        total += weight * (shift + series(x, coefficients))
    return total
