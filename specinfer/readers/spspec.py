"""SDSS-I and II spSpec files: five rows in the primary image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.fits_headers import (
    card,
    described,
    first_image,
    is_air,
    linear_axis,
    loglam_axis,
    noise,
    number,
    possible_redshift,
    shape,
    text,
)
from specinfer.readers.sdss_mask import unusable
from specinfer.spectrum import Spectrum

NAME = "spspec"
DESCRIPTION = "SDSS-I and II spSpec-MJD-PLATE-FIBER.fit"


def identify(source: Source) -> bool:
    """Whether the primary is (3 to 5, n) with SDSS's log-linear axis and one fibre."""
    if not source.is_fits:
        return False
    hdu = first_image(source.hdus)
    rows = shape(hdu)
    if len(rows) != 2 or not 3 <= rows[0] <= 5 or loglam_axis(hdu.header, 2) is None:
        return False
    if "LAMOST" in str(text(hdu.header, "TELESCOP")).upper():
        return False
    # spPlate has its inverse variance in an image of the same shape.
    return number(hdu.header, "FIBERID") is not None and not any(
        shape(other) == rows for other in source.hdus[1:] if other is not hdu
    )


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The spectrum of the file.

    Rows are flux, continuum-subtracted flux, 1-sigma error and mask. The axis is
    log10 of vacuum Angstrom by COEFF0 and COEFF1, though CTYPE1 and WAT1 say linear.
    """
    hdu = first_image(source.hdus)
    data, header = hdu.data, hdu.header
    n = data.shape[1]
    wavelength = loglam_axis(header, n)
    unit = "angstrom"
    if options.unit is not None:
        # The user does not believe the header: its linear axis in the user's unit.
        wavelength, unit = linear_axis(header, n), options.unit
    known = described(source, NAME, header, keep=("PLATEID", "FIBERID", "SPEC_CLN", "Z_CONF"))
    known["redshift"] = possible_redshift(number(header, "Z"))
    # RA and DEC of the header are those of the plate.
    for key, own in (("RA", "RAOBJ"), ("DEC", "DECOBJ")):
        known["header"].pop(key, None)
        if (value := number(header, own)) is not None:
            known["header"][key] = value
    plate, night, fibre = (number(header, key) for key in ("PLATEID", "MJD", "FIBERID"))
    if plate is not None and night is not None and fibre is not None:
        known["object"] = f"{int(plate):04d}-{int(night)}-{int(fibre):04d}"
    known["instrument"] = card(header, "INSTRUME") or "SDSS"
    mask = unusable(data[3]) if data.shape[0] > 3 else np.zeros(n, dtype=bool)
    yield Spectrum(
        wavelength=wavelength,  # type: ignore[arg-type]
        flux=data[0],
        **noise(data[2], options.noise or "sigma"),
        mask=mask,
        unit=unit,
        air=is_air(options, False),
        **known,
    )
