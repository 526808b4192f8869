"""FITS tables that call their columns wavelength and flux, whoever wrote them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.columns import Layout, choose, to_spectrum
from specinfer.readers.fits_headers import columns, described, first, plain, says_air, text
from specinfer.spectrum import Spectrum

NAME = "table-fits"
DESCRIPTION = "FITS table with columns of wavelength, flux and (optionally) noise"

_OBJECTS = ("object", "objname", "name", "target", "targetid", "objid", "source_id", "id")
# Of several tables, one of these is the final spectrum.
_FINAL = ("SPECTRUM", "COADD", "SPLICED", "COMBINED", "FINAL")


@dataclass(frozen=True, eq=False)
class _Table:
    """A table and the columns in it."""

    hdu: Any
    layout: Layout
    several: bool = False


def identify(source: Source) -> bool:
    """Whether a table has a column of wavelengths and one of fluxes."""
    return source.is_fits and _table(source) is not None


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The spectrum of the table, or one a row if its columns hold vectors.

    The unit of the wavelengths is that of TUNIT, of the column's name, or of the
    header; without any, values above 1500 are Angstrom and others an error. The
    noise is what its name says. Mask columns mark bad pixels, unless most pixels
    are marked.

    Flags: ``FIRST_OF_SEVERAL_TABLES`` and those of `specinfer.readers.columns`.

    Raises
    ------
    ReadError
        ``no_unit``, or ``compressed_table`` for tables that fpack compressed.
    """
    table = _table(source)
    if table is None:
        raise ReadError(
            "wrong_format",
            "no table of the file has a column of wavelengths and one of fluxes; "
            "rename them to wavelength and flux, or leave --format out",
        )
    hdu, layout = table.hdu, table.layout
    if hdu.header.get("ZTABLE", False):
        raise ReadError(
            "compressed_table", "the table is compressed by fpack; run funpack on the file first"
        )
    known = described(source, NAME, source.hdus[0].header, hdu.header)
    known["header"]["TABLE"] = hdu.name
    for row, pixels in _rows(table):
        name = known["object"] if row is None else _object(hdu, row) or known["object"]
        try:
            spectrum = to_spectrum(
                pixels,
                layout,
                options,
                known=known | {"object": name, "rows": None if row is None else len(hdu.data)},
                unit=_unit(table),
                air=_air(source, table),
                flags=[flag.FIRST_OF_SEVERAL_TABLES] if table.several else [],
                row=row,
            )
        except ReadError as error:
            if row is None:
                raise
            yield ReadError(error.code, error.message, row=row, object=name)
        else:
            yield spectrum


def _table(source: Source) -> _Table | None:
    found = []
    for hdu in source.hdus[1:]:
        layout = choose(columns(hdu, packed=True).values())
        if layout is not None:
            found.append(_Table(hdu, layout))
    if not found:
        return None
    chosen = next((table for table in found if table.hdu.name in _FINAL), None)
    if chosen is not None or len(found) == 1:
        return chosen or found[0]
    return _Table(found[0].hdu, found[0].layout, several=True)


def _unit(table: _Table) -> str | None:
    """The unit by TUNIT; by the header only if the column's name has none either."""
    stated = _keyword(table, "TUNIT")
    if stated is None and table.layout.suffix is None:
        stated = text(table.hdu.header, "WAVEUNIT", "WAVUNIT", "WUNIT", "CUNIT1")
    return stated


def _keyword(table: _Table, keyword: str) -> str | None:
    """A card of the column of wavelengths."""
    header = table.hdu.header
    for index in range(1, int(header["TFIELDS"]) + 1):
        if text(header, f"TTYPE{index}") == table.layout.wave:
            return text(header, f"{keyword}{index}")
    return None


def _air(source: Source, table: _Table) -> bool | None:
    """True for air, False for vacuum, None if nothing says."""
    if "obs.atmos" in str(_keyword(table, "TUCD")).lower():
        return True
    if table.layout.air is not None:
        return table.layout.air
    said: bool | None = first(says_air(hdu.header) for hdu in (table.hdu, source.hdus[0]))
    return said


def _rows(table: _Table) -> Iterator[tuple[int | None, dict[str, Any]]]:
    """Arrays of each spectrum by column: all rows of scalars, or one row of vectors each."""
    data, layout = table.hdu.data, table.layout
    if np.ndim(data[layout.flux]) == 1 and data[layout.flux].dtype != object:
        yield None, _unpadded(layout, {name: np.asarray(data[name]) for name in layout.used})
        return
    for row in range(len(data)):
        pixels = {name: np.atleast_1d(np.asarray(data[name][row])) for name in layout.used}
        yield (row if len(data) > 1 else None, _unpadded(layout, pixels))


def _unpadded(layout: Layout, pixels: dict[str, Any]) -> dict[str, Any]:
    """The pixels that have a wavelength: fixed lengths are padded with zeros or NaN."""
    wavelength = np.asarray(pixels[layout.wave], dtype=np.float64)
    there = np.isfinite(wavelength) & (wavelength > 0)
    return {name: values[there] for name, values in pixels.items()}


def _object(hdu: Any, row: int) -> str | None:
    names = columns(hdu)
    for key in _OBJECTS:
        if key in names and (value := plain(hdu.data[names[key]][row])) is not None:
            return str(value)
    return None
