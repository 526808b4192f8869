"""Texts whose columns have names: CSV, ECSV, VOTable, and rows under a line of names."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.columns import Layout, choose, to_spectrum
from specinfer.readers.fits_headers import plain, says_air
from specinfer.readers.text_lines import described_text, has_rows, header_facts, parse
from specinfer.spectrum import Spectrum
from specinfer.wavelengths import is_wavelength_unit

NAME = "table-text"
DESCRIPTION = "CSV, ECSV, VOTable or text with a line of column names"

# Columns of numbers that tell the spectra in one table apart.
_KEYS = ("spectrum_id", "spec_id", "obs_id", "epoch", "object_id", "obj_id", "instrument_id", "id")


def identify(source: Source) -> bool:
    """Whether the columns have names and those of a spectrum are among them."""
    if source.is_fits or not source.is_text:
        return False
    if _astropy_format(source) is not None:
        return True
    try:
        return has_rows(source) and bool(parse(source).names)
    except ReadError:
        # The next reader says what is wrong with the rows.
        return False


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The spectrum of the table, or one for each value of a column such as ``spectrum_id``.

    The unit of the wavelengths is that of the table or of the column's name; without
    any, values above 1500 are Angstrom and others an error. The noise is what its name
    says.

    Flags: ``SPLIT_BY_COLUMN`` and those of `specinfer.readers.columns`.

    Raises
    ------
    ReadError
        ``no_columns`` if the names are not those of a spectrum, ``bad_table`` if an
        ECSV or VOTable is damaged, ``no_unit``.
    """
    packed = _astropy_format(source)
    if packed is not None:
        pixels, header, unit = _astropy_columns(source, packed)
        air = says_air(header)
    else:
        table = parse(source)
        pixels = table.columns if table.names else {}
        header, unit, air = table.header, table.unit, table.air
    layout = choose(pixels)
    if layout is None:
        found = f"found {', '.join(list(pixels)[:8])}" if pixels else "the columns have no names"
        raise ReadError(
            "no_columns",
            f"no columns of wavelength and flux ({found}); rename them to wavelength and flux",
        )
    known = described_text(source, NAME, header)
    for row, part in _parts(pixels, layout):
        try:
            spectrum = to_spectrum(
                part,
                layout,
                options,
                known=known,
                unit=unit,
                air=layout.air if layout.air is not None else air,
                flags=[] if row is None else [flag.SPLIT_BY_COLUMN],
                sentinels=True,
                row=row,
            )
        except ReadError as error:
            if row is None:
                raise
            yield ReadError(error.code, error.message, row=row, object=known["object"])
        else:
            yield spectrum


def _astropy_format(source: Source) -> str | None:
    """The astropy name of a format that is better left to astropy, or None."""
    if source.head.startswith(b"# %ECSV"):
        return "ascii.ecsv"
    return "votable" if b"<VOTABLE" in source.head else None


def _astropy_columns(
    source: Source, packed: str
) -> tuple[dict[str, Any], dict[str, Any], str | None]:
    """The columns of numbers, the facts, and the unit of the wavelengths."""
    import warnings

    from astropy.table import Table

    content: Any = source.text if packed == "ascii.ecsv" else io.BytesIO(source.data)
    try:
        with warnings.catch_warnings():
            # Remarks about odd units and versions, which no reader depends on.
            warnings.simplefilter("ignore")
            table = Table.read(content, format=packed)
    except Exception as error:  # astropy's errors have no common base
        raise ReadError(
            "bad_table",
            f"the {packed.removeprefix('ascii.').upper()} table is damaged "
            f"({' '.join(str(error).split())[:120]}); write it again",
        ) from error
    pixels = {
        name: np.ma.filled(np.ma.asarray(table[name], dtype=np.float64), np.nan)
        for name in table.colnames
        if table[name].dtype.kind in "iuf" and table[name].ndim == 1
    }
    lines = (f"{key}: {plain(value)}" for key, value in table.meta.items() if plain(value))
    layout = choose(pixels)
    stated = None if layout is None else table[layout.wave].unit
    unit = None if stated is None else str(stated)
    if unit is not None and not is_wavelength_unit(unit):
        raise ReadError(
            "unknown_unit",
            f"the wavelengths are in {unit!r}, which is no unit of wavelength; "
            "convert them, or say the true one with --unit",
        )
    return pixels, header_facts(lines), unit


def _parts(pixels: dict[str, Any], layout: Layout) -> Iterator[tuple[int | None, dict[str, Any]]]:
    """The spectra in a table: all of it, or the rows of each value of a column of keys."""
    steps = np.diff(np.asarray(pixels[layout.wave], dtype=np.float64))
    keys = {name.lower(): name for name in pixels if name not in layout.used}
    key = next((keys[name] for name in _KEYS if name in keys), None)
    # One spectrum has its wavelengths in order, whatever the other columns hold.
    if key is None or np.all(steps > 0) or np.all(steps < 0):
        yield None, pixels
        return
    values, first = np.unique(pixels[key], return_index=True)
    for row, value in enumerate(values[np.argsort(first)]):
        chosen = pixels[key] == value
        yield row, {name: column[chosen] for name, column in pixels.items()}
