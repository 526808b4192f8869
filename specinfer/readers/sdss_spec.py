"""SDSS spec and spec-lite files, data releases 8 to 17, and SDSS-V.

Layout: https://data.sdss.org/datamodel, ``spec-PLATE-MJD-FIBER.fits`` and
``spec-FIELD-MJD-CATALOGID.fits``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.fits_headers import (
    card,
    columns,
    facts,
    is_air,
    mjd,
    noise,
    number,
)
from specinfer.readers.fits_row import first_row
from specinfer.readers.sdss_mask import unusable
from specinfer.spectrum import Spectrum

NAME = "sdss-spec"
DESCRIPTION = "SDSS spec-*.fits and spec-lite, DR8 to DR17, and SDSS-V"

# First night of the BOSS spectrographs.
FIRST_BOSS_MJD = 55170
# Columns of the catalogue row that are kept as facts.
KEPT = ("CLASS", "SUBCLASS", "ZWARNING", "Z_ERR", "OBJTYPE", "OBJID")


def identify(source: Source) -> bool:
    """Whether HDU 1 is a table with flux, loglam and ivar, one row a pixel."""
    if not source.is_fits or len(source.hdus) < 2:
        return False
    return {"flux", "loglam", "ivar"} <= columns(source.hdus[1]).keys()


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The co-added spectrum of the file.

    Wavelengths are 10**loglam in vacuum, heliocentric. Pixels that the and-mask
    calls unusable get ivar 0. The class and redshift that the SDSS pipeline found
    are kept as facts.
    """
    coadd = source.hdus[1]
    names = columns(coadd)
    table, primary = coadd.data, source.hdus[0].header
    row = _catalogue_row(source)
    night = number(primary, "MJD")
    header = facts(
        [primary], ("PLATEID", "FIELDID", "FIBERID", "RUN2D", "PLATEQUALITY", "HELIO_RV")
    )
    header |= {key: row[key] for key in KEPT if key in row}
    # RA and DEC of the header are those of the plate.
    for key in ("RA", "DEC"):
        header.pop(key, None)
        own = row.get(f"PLUG_{key}", number(primary, f"PLUG_{key}"))
        if own is not None:
            header[key] = own
    mask = table[names["and_mask"]] if "and_mask" in names else None
    yield Spectrum(
        wavelength=np.asarray(table[names["loglam"]], dtype=np.float64),
        flux=table[names["flux"]],
        **noise(table[names["ivar"]], options.noise or "ivar"),
        mask=None if mask is None else unusable(mask),
        unit=options.unit or "log10",
        air=is_air(options, False),
        resolution=_resolution(table, names),
        object=_identity(primary, row, night),
        instrument=card(primary, "INSTRUME")
        or ("BOSS" if (night or 0) >= FIRST_BOSS_MJD else "SDSS"),
        mjd=mjd(primary),
        redshift=row.get("Z"),
        header=header,
        file=source.name,
        reader=NAME,
    )


def _catalogue_row(source: Source) -> dict[str, Any]:
    """The row of HDU 2 (SPECOBJ, SPALL or nameless) under upper-case names."""
    if len(source.hdus) < 3:
        return {}
    names = columns(source.hdus[2])
    if not {"class", "z"} <= names.keys():
        return {}
    wanted = (
        *KEPT,
        "PLUG_RA",
        "PLUG_DEC",
        "Z",
        "PLATE",
        "FIELD",
        "MJD",
        "FIBERID",
        "CATALOGID",
        "SDSS_ID",
    )
    return first_row(source, source.hdus[2], wanted)


def _identity(primary: Any, row: dict[str, Any], night: float | None) -> str | None:
    """PLATE-MJD-FIBER, or FIELD-MJD-CATALOGID in SDSS-V, as in the name of the file."""
    date = row.get("MJD") or night
    if date is None:
        return None
    catalogid = row.get("CATALOGID") or card(primary, "CATALOGID")
    field = row.get("FIELD") or card(primary, "FIELDID", "FIELD")
    if catalogid and field:
        return f"{field}-{int(date)}-{catalogid}"
    plate = row.get("PLATE") or card(primary, "PLATEID", "PLATE")
    fibre = row.get("FIBERID") or card(primary, "FIBERID")
    if plate is None or fibre is None:
        return None
    return f"{int(plate):04d}-{int(date)}-{int(fibre):04d}"


def _resolution(table: Any, names: Any) -> float | None:
    """Median resolving power from the dispersion, which is in pixels of 1e-4 dex."""
    column = names.get("wdisp")
    if column is None:
        return None
    width = np.asarray(table[column], dtype=np.float64)
    width = width[np.isfinite(width) & (width > 0)]
    if width.size == 0:
        return None
    return float(1.0 / (2.3548 * np.median(width) * 1e-4 * np.log(10.0)))
