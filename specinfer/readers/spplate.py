"""SDSS spPlate files: every fibre of a plate, one row each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.fits_headers import (
    columns,
    described,
    first_image,
    is_air,
    loglam_axis,
    named,
    noise,
    number,
    plain,
    shape,
    wanted_rows,
)
from specinfer.readers.sdss_mask import unusable
from specinfer.spectrum import Spectrum

NAME = "spplate"
DESCRIPTION = "SDSS spPlate-PLATE-MJD.fits: all fibres of a plate"

# Columns of the plug map that are kept with each spectrum.
KEPT = ("FIBERID", "OBJTYPE", "RA", "DEC", "OBJID", "CATALOGID")


def identify(source: Source) -> bool:
    """Whether HDU 0 is (fibres, n) with COEFF0, and HDU 1 has its shape."""
    if not source.is_fits or len(source.hdus) < 2:
        return False
    hdu = first_image(source.hdus)
    rows = shape(hdu)
    return (
        len(rows) == 2
        and loglam_axis(hdu.header, 2) is not None
        and any(shape(other) == rows for other in source.hdus[1:] if other is not hdu)
    )


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The fibres of the plate; sky fibres only if the options ask for them.

    Flux is HDU 0, inverse variance HDU 1, the and-mask HDU 2; log10 of vacuum
    Angstrom by COEFF0 and COEFF1. Rows that are not wanted (``options.rows``) are not read.
    """
    main = first_image(source.hdus)
    images = [hdu for hdu in source.hdus if shape(hdu) == shape(main)]
    ivar = named(source.hdus, "IVAR") or images[1]
    mask = named(source.hdus, "ANDMASK") or (images[2] if len(images) > 2 else None)
    wavelength = loglam_axis(main.header, shape(main)[1])
    plugs = _plugmap(source, shape(main)[0])
    known = described(source, NAME, main.header, keep=("PLATEID", "FIELDID"))
    known["instrument"] = known["instrument"] or "SDSS"
    for key in ("RA", "DEC", "OBJECT", "NAME"):
        # Those of the plate.
        known["header"].pop(key, None)
    plate, night = number(main.header, "PLATEID", "FIELDID"), number(main.header, "MJD")
    rows = shape(main)[0]
    for row in range(*wanted_rows(options, rows)):
        plug = {name: plain(column[row]) for name, column in plugs.items()}
        if str(plug.get("OBJTYPE", "")).upper().startswith("SKY") and not options.sky:
            continue
        fibre = plug.get("FIBERID") or row + 1
        name = f"fibre {fibre}"
        if plate is not None and night is not None:
            name = f"{int(plate):04d}-{int(night)}-{int(fibre):04d}"
        facts = known["header"] | {key: value for key, value in plug.items() if value is not None}
        try:
            yield Spectrum(
                wavelength=wavelength,  # type: ignore[arg-type]
                flux=main.section[row],
                **noise(ivar.section[row], options.noise or "ivar"),
                mask=None if mask is None else unusable(mask.section[row]),
                air=is_air(options, False),
                row=row,
                rows=rows,
                **(known | {"object": name, "header": facts}),
            )
        except ReadError as error:
            yield ReadError(error.code, error.message, row=row, object=name)


def _plugmap(source: Source, rows: int) -> dict[str, Any]:
    """The kept columns of the plug map, by upper-case name."""
    for hdu in source.hdus[1:]:
        names = columns(hdu)
        if ("fiberid" in names or "objtype" in names) and hdu.header["NAXIS2"] == rows:
            table = hdu.data
            found = {key: table[names[key.lower()]] for key in KEPT if key.lower() in names}
            # OBJID is a vector of five numbers in the older files.
            return {key: column for key, column in found.items() if np.ndim(column) == 1}
    return {}
