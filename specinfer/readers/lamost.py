"""LAMOST spectra: the image of DR1 to DR7 and the tables since DR8.

Layout: http://www.lamost.org/dr8/v1.0/doc/data-production-description
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.fits_headers import (
    columns,
    described,
    first_image,
    is_air,
    loglam_axis,
    noise,
    number,
    possible_redshift,
    row_vector,
    shape,
    text,
)
from specinfer.readers.join import Arm, merge
from specinfer.spectrum import Spectrum

NAME = "lamost"
DESCRIPTION = "LAMOST low and medium resolution spectra, old images and DR8+ tables"

FloatArray = NDArray[np.float64]

KEPT = ("OBSID", "PLANID", "SPID", "FIBERID", "DESIG", "CLASS", "SUBCLASS", "OBJTYPE", "HELIO_RV")
# The and-mask is trusted only if it leaves at least this part of the pixels.
MIN_UNMASKED = 0.5


def identify(source: Source) -> bool:
    """Whether the file has LAMOST's image of rows or its one-row tables."""
    if not source.is_fits:
        return False
    return _is_image(source) or bool(_tables(source))


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The spectrum of the file: relative flux, inverse variance, vacuum wavelengths.

    The blue and red arms of medium resolution files (COADD_B, COADD_R) are joined.

    Flags: ``MASK_IGNORED`` if the and-mask would leave less than half of the pixels.
    """
    header = first_image(source.hdus).header
    flags: list[str] = []
    if _is_image(source):
        arms = [_from_image(source, flags)]
        known = described(source, NAME, header, keep=KEPT)
    else:
        arms = [_from_table(hdu, flags) for hdu in _tables(source)]
        known = described(source, NAME, header, *(h.header for h in _tables(source)), keep=KEPT)
    whole, _ = merge(arms, match_scale=False)
    known["object"] = text(header, "DESIG", "OBJECT", "OBSID") or known["object"]
    known["instrument"] = "LAMOST"
    known["redshift"] = possible_redshift(number(header, "Z"))
    yield Spectrum(
        wavelength=whole.wavelength,
        flux=whole.flux,
        **noise(whole.ivar, options.noise or "ivar"),
        mask=~(whole.ivar > 0),
        unit=options.unit or "angstrom",
        air=is_air(options, False),
        flags=tuple(flags),
        **known,
    )


def _is_image(source: Source) -> bool:
    hdu = first_image(source.hdus)
    rows = shape(hdu)
    return (
        len(rows) == 2
        and 3 <= rows[0] <= 5
        and "LAMOST" in str(text(hdu.header, "TELESCOP")).upper()
    )


def _tables(source: Source) -> list[Any]:
    """Tables of one row of vectors: those of the co-added spectrum if there are several."""
    primary = source.hdus[0].header
    found = [
        hdu
        for hdu in source.hdus[1:]
        if {"flux", "ivar", "wavelength"} <= columns(hdu).keys() and hdu.header["NAXIS2"] == 1
    ]
    lamost = "LAMOST" in str(text(primary, "TELESCOP")).upper() or "andmask" in (
        columns(found[0]) if found else {}
    )
    if not lamost:
        return []
    return [hdu for hdu in found if hdu.name.startswith("COADD")] or found[:1]


def _from_image(source: Source, flags: list[str]) -> Arm:
    hdu = first_image(source.hdus)
    data = np.asarray(hdu.data, dtype=np.float64)
    # The third row repeats the axis in single precision.
    wavelength = loglam_axis(hdu.header, data.shape[1])
    return _arm(
        data[2] if wavelength is None else wavelength,
        data[0],
        data[1],
        data[3] if data.shape[0] > 3 else None,
        flags,
    )


def _from_table(hdu: Any, flags: list[str]) -> Arm:
    names = columns(hdu)
    mask = row_vector(hdu, names["andmask"], 0) if "andmask" in names else None
    wavelength, flux, ivar = (row_vector(hdu, names[n], 0) for n in ("wavelength", "flux", "ivar"))
    return _arm(wavelength, flux, ivar, mask, flags)


def _arm(
    wavelength: FloatArray,
    flux: FloatArray,
    ivar: FloatArray,
    mask: FloatArray | None,
    flags: list[str],
) -> Arm:
    # Padding of the vectors has no wavelength.
    there = np.isfinite(wavelength) & (wavelength > 0)
    good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
    if mask is not None:
        unmasked = good & ~(mask > 0)
        if unmasked.sum() >= MIN_UNMASKED * good.sum():
            good = unmasked
        else:
            flags.append(flag.MASK_IGNORED)
    flux, ivar = np.where(good, flux, 0.0), np.where(good, ivar, 0.0)
    return Arm(wavelength[there], flux[there], ivar[there])
