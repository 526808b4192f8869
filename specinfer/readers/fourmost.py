"""4MOST level-1 and ESO science data products: one table row of vectors.

Layout: ESO Science Data Products Standard, issue 8, section 12 (1-D spectra).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.fits_headers import (
    columns,
    described,
    is_air,
    noise,
    row_vector,
    text,
)
from specinfer.spectrum import Spectrum

NAME = "fourmost"
DESCRIPTION = "4MOST level-1 and ESO science data products (PHASE3SPECTRUM)"

_WAVE = ("wave", "lambda", "wavelength")
# FLUX_NOSS is not sky-subtracted, and is never used.
_FLUX = ("flux", "flux_reduced", "bgflux_reduced")
_ERROR = ("err_flux", "err", "err_reduced", "bgerr_reduced", "fluxerr")
KEPT = ("OBJ_UID", "OBJ_NME", "PRODCATG", "SPECSYS", "SPEC_RES", "SNR", "ORIGIN", "MODE")


def identify(source: Source) -> bool:
    """Whether a table of one row has WAVE and FLUX and the file says 4MOST or ESO."""
    return source.is_fits and _layout(source) is not None


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The spectrum of the file.

    The unit of the wavelengths is that of TUNIT; TUCD ``em.wl;obs.atmos`` means air.
    QUAL 0 is good. Flags: ``AIR_FROM_HEADER``.

    Raises
    ------
    ReadError
        ``no_unit`` if neither the file nor the options give the unit.
    """
    layout = _layout(source)
    if layout is None:
        raise ReadError(
            "wrong_format", "no table of one row with WAVE and FLUX; leave --format out"
        )
    hdu, wave, flux = layout
    names = columns(hdu)
    error, quality = _first(names, _ERROR), names.get("qual")
    unit = options.unit or _keyword(hdu, wave, "TUNIT")
    if not unit:
        raise ReadError(
            "no_unit", f"the column {wave} has no TUNIT; give the unit with --unit angstrom or nm"
        )
    wavelength = row_vector(hdu, wave, 0)
    # Vectors of fixed length may be padded at the end.
    there = np.isfinite(wavelength) & (wavelength > 0)
    in_air = "obs.atmos" in _keyword(hdu, wave, "TUCD").lower()
    sigma = row_vector(hdu, error, 0)[there] if error else None
    known = described(source, NAME, source.hdus[0].header, hdu.header, keep=KEPT)
    resolution = known["header"].get("SPEC_RES")
    yield Spectrum(
        wavelength=wavelength[there],
        flux=row_vector(hdu, flux, 0)[there],
        **noise(sigma, options.noise or "sigma"),
        mask=(row_vector(hdu, quality, 0)[there] != 0) if quality else None,
        unit=unit,
        air=is_air(options, in_air),
        resolution=float(resolution) if isinstance(resolution, (int, float)) else None,
        flags=(flag.AIR_FROM_HEADER,) if in_air and options.air is None else (),
        **known,
    )


def _layout(source: Source) -> tuple[Any, str, str] | None:
    """The table, and the names of its wavelength and flux columns."""
    primary = source.hdus[0].header
    declared = (
        str(text(primary, "PRODCATG")).upper().startswith("SCIENCE.SPECTRUM")
        or "4MOST" in str(text(primary, "INSTRUME")).upper()
    )
    for hdu in source.hdus[1:]:
        names = columns(hdu)
        wave, flux = _first(names, _WAVE), _first(names, _FLUX)
        if wave is None or flux is None or hdu.header["NAXIS2"] != 1:
            continue
        if declared or hdu.name == "PHASE3SPECTRUM":
            return hdu, wave, flux
    return None


def _first(names: Mapping[str, str], wanted: tuple[str, ...]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _keyword(hdu: Any, column: str, keyword: str) -> str:
    """A keyword such as TUNIT of a column, or nothing."""
    index = hdu.columns.names.index(column) + 1
    return text(hdu.header, f"{keyword}{index}") or ""
