"""Facts from FITS headers and tables: names, dates, noise, and where the pixels are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.readers.base import ReadOptions, Source

FloatArray = NDArray[np.float64]

# Header cards that later steps or people may want, kept where a file has them.
KEPT = (
    "TELESCOP",
    "EXPTIME",
    "AIRMASS",
    "RA",
    "DEC",
    "DATE-OBS",
    "BUNIT",
    "QUALITY",
    "FLUXCAL",
    "OBSERVER",
    "PROGRAM",
)
_OBJECT = ("OBJECT", "OBJNAME", "TARGET", "TARGNAME", "OBJ_NAME", "NAME", "DESIG")
_INSTRUMENT = ("INSTRUME", "INSTRUMENT", "PYP_SPEC", "SPECTROG")
_MJD = ("MJD-OBS", "MJD_OBS", "MJDOBS", "UTMJD", "MJD-AVG", "MJD_AVG", "MJD", "MJD-BEG")
_DATE = ("DATE-OBS", "DATE_OBS", "UTC", "OBSDATE", "DATE-BEG", "DATE-AVG")
_REDSHIFT = ("REDSHIFT", "Z_SPEC", "ZSPEC")
# Modified Julian date of 1970-01-01.
_MJD_OF_UNIX_EPOCH = 40587.0


def plain(value: Any) -> Any:
    """A header or table value as a Python str, bool, int or float; None if it is empty."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (bool, int, float)) else None


def card(header: Any, *names: str) -> Any:
    """The first of these cards that is there and not empty, as a plain value."""
    for name in names:
        try:
            value = plain(header.get(name))
        except Exception as error:
            # Only FITS headers raise, and texts must not wait for astropy.
            from astropy.io.fits import VerifyError

            if not isinstance(error, VerifyError):
                raise
            # A card that does not parse is as good as none.
            continue
        if value is not None:
            return value
    return None


def text(header: Any, *names: str) -> str | None:
    """The first of these cards as text, or None."""
    value = card(header, *names)
    return None if value is None else str(value)


def number(header: Any, *names: str) -> float | None:
    """The first of these cards that is a finite number, or None."""
    for name in names:
        value = card(header, name)
        if value is None or isinstance(value, bool):
            continue
        try:
            result = float(value)
        except ValueError:
            continue
        if math.isfinite(result):
            return result
    return None


def switch(header: Any, *names: str) -> bool | None:
    """The first of these cards as a truth value (T, "true", "yes", 1), or None."""
    value = card(header, *names)
    if value is None:
        return None
    if isinstance(value, str):
        return value.lower() in ("t", "true", "yes", "y", "1")
    return bool(value)


def mjd(*headers: Any) -> float | None:
    """Modified Julian date of the observation, from a number or an ISO date."""
    for header in headers:
        value = number(header, *_MJD)
        # A zero or a Julian date under the wrong name would be a wrong fact.
        if value is not None and 15000.0 < value < 100000.0:
            return value
        julian = number(header, "JD", "JD-OBS", "JD_OBS")
        if julian is not None and 2415000.0 < julian < 2500000.0:
            return julian - 2400000.5
        date = _iso_mjd(header)
        if date is not None:
            return date
    return None


def _iso_mjd(header: Any) -> float | None:
    for name in _DATE:
        value = text(header, name)
        if value is None:
            continue
        try:
            when = datetime.fromisoformat(value)
        except ValueError:
            continue
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return when.timestamp() / 86400.0 + _MJD_OF_UNIX_EPOCH
    return None


def facts(headers: Iterable[Any], names: Iterable[str] = ()) -> dict[str, Any]:
    """The cards `KEPT` and `names` that the headers have; the first header wins."""
    found: dict[str, Any] = {}
    for header in headers:
        for name in (*names, *KEPT):
            if name not in found:
                value = card(header, name)
                if value is not None:
                    found[name] = value
    return found


def described(source: Source, name: str, *headers: Any, keep: Iterable[str] = ()) -> dict[str, Any]:
    """What every reader says about a spectrum, as keyword arguments of `Spectrum`.

    Parameters
    ----------
    source : Source
        The file.
    name : str
        Name of the reader.
    *headers : astropy.io.fits.Header
        Where to look, in this order.
    keep : iterable of str, optional
        Cards to keep in ``header`` besides the usual ones.

    Returns
    -------
    dict
        ``file``, ``reader``, ``object``, ``instrument``, ``mjd``, ``redshift``, ``header``.
    """
    return {
        "file": source.name,
        "reader": name,
        "object": first(text(header, *_OBJECT) for header in headers),
        "instrument": first(text(header, *_INSTRUMENT) for header in headers),
        "mjd": mjd(*headers),
        "redshift": first(possible_redshift(number(header, *_REDSHIFT)) for header in headers),
        "header": facts(headers, keep),
    }


def possible_redshift(value: float | None) -> float | None:
    """A redshift, if it can be one: headers hold -1 and -999 for unknown."""
    return value if value is not None and -0.01 < value < 20.0 else None


def first(values: Iterable[Any]) -> Any:
    """The first value that is not None, or None."""
    return next((value for value in values if value is not None), None)


def is_air(options: ReadOptions, file_says: bool | None) -> bool:
    """Whether wavelengths are to be converted from air: the user, else the file, else no."""
    return bool(file_says) if options.air is None else options.air


def says_air(header: Any) -> bool | None:
    """True if a header says that wavelengths are in air, False for vacuum, else None."""
    stated = str(text(header, "AIRORVAC", "WAVEMED", "WAVETYPE") or "").lower()
    if stated.startswith(("air", "vac")):
        return stated.startswith("air")
    vacuum = switch(header, "VACUUM")
    if vacuum is not None:
        return not vacuum
    ctype = str(text(header, "CTYPE1") or "").upper()
    if ctype.startswith("AWAV"):
        return True
    return False if ctype.startswith("WAVE-") or ctype == "WAVE" else None


def noise(values: Any, kind: str) -> dict[str, Any]:
    """Keyword arguments of `Spectrum` for a noise array.

    Parameters
    ----------
    values : array_like or None
        The noise.
    kind : {"ivar", "var", "sigma", "none"}
        What it is.

    Returns
    -------
    dict
        ``{"ivar": ...}``, ``{"sigma": ...}`` or nothing.
    """
    if values is None or kind == "none":
        return {}
    array = np.asarray(values, dtype=np.float64)
    if kind == "ivar":
        return {"ivar": array}
    if kind == "sigma":
        return {"sigma": array}
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return {"ivar": np.where(array > 0, 1.0 / array, 0.0)}


def columns(hdu: Any, *, packed: bool = False) -> Mapping[str, str]:
    """Column names of a table by their lower-case names; empty if it is no table.

    A table compressed by fpack has the names of its columns but not their contents,
    and counts as none unless `packed`.
    """
    header = getattr(hdu, "header", {})
    if "TABLE" not in str(header.get("XTENSION", "")) or shape(hdu):
        return {}
    if header.get("ZTABLE", False) and not packed:
        return {}
    names: dict[str, str] = {}
    # From the cards: asking astropy for the columns sets all of them up.
    for index in range(1, int(header.get("TFIELDS", 0)) + 1):
        name = str(header.get(f"TTYPE{index}", "")).strip()
        if name:
            names.setdefault(name.lower(), name)
    return names


def vector(hdu: Any, column: str) -> FloatArray:
    """A column as a 1-D float64 array: of a table with a row a pixel, or one row of vectors."""
    return row_vector(hdu, column, 0) if hdu.header["NAXIS2"] == 1 else _column(hdu, column)


def row_vector(hdu: Any, column: str, row: int) -> FloatArray:
    """One row of a vector column as a 1-D float64 array."""
    return np.atleast_1d(np.asarray(hdu.data[column][row], dtype=np.float64))


def _column(hdu: Any, column: str) -> FloatArray:
    return np.asarray(hdu.data[column], dtype=np.float64)


def named(hdus: Any, *names: str) -> Any:
    """The first HDU with one of these names (any case), or None."""
    for hdu in hdus:
        if hdu.name.upper() in names:
            return hdu
    return None


def shape(hdu: Any) -> tuple[int, ...]:
    """Shape of the image in an HDU; empty for tables and for HDUs without data."""
    # Tables have no shape of their own.
    return tuple(getattr(hdu, "shape", None) or ())


def wanted_rows(options: ReadOptions, rows: int) -> tuple[int, int]:
    """First row that is wanted of so many, and the one after the last."""
    start, stop = options.rows or (0, rows)
    return max(start, 0), min(stop, rows)


def first_image(hdus: Any) -> Any:
    """The HDU that holds the main image: the primary, or its copy that fpack made."""
    if shape(hdus[0]):
        return hdus[0]
    if len(hdus) > 1 and type(hdus[1]).__name__ == "CompImageHDU":
        return hdus[1]
    return hdus[0]


def linear_axis(header: Any, n: int, axis: int = 1) -> FloatArray | None:
    """The values CRVAL + (pixel - CRPIX) CDELT of a header, by hand.

    A WCS object would refuse the celestial CTYPEs that spectra inherit from images.

    Parameters
    ----------
    header : astropy.io.fits.Header
        With CRVALn, CDELTn or CDn_n, and CRPIXn (1 if it is missing, as in IRAF).
    n : int
        Number of pixels.
    axis : int
        Number of the axis in the FITS sense.

    Returns
    -------
    ndarray of float64, shape (n,), or None
        None if the header has no such axis.
    """
    start = number(header, f"CRVAL{axis}")
    step = number(header, f"CDELT{axis}")
    matrix = number(header, f"CD{axis}_{axis}")
    # Many writers leave CDELT1 = 1 beside a true CD1_1.
    if matrix and (not step or step == 1.0):
        step = matrix
    if start is None or not step:
        return None
    reference = number(header, f"CRPIX{axis}")
    reference = 1.0 if reference is None else reference
    return start + (np.arange(1, n + 1, dtype=np.float64) - reference) * step


def loglam_axis(header: Any, n: int) -> FloatArray | None:
    """The wavelengths 10**(COEFF0 + COEFF1 pixel) of SDSS and LAMOST headers, or None."""
    start, step = number(header, "COEFF0"), number(header, "COEFF1")
    if start is None or not step:
        return None
    return np.asarray(10.0 ** (start + step * np.arange(n)))
