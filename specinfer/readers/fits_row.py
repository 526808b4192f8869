"""The first row of a wide FITS table, without astropy's set-up of every column."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from specinfer.readers.base import Source
from specinfer.readers.fits_headers import plain

_TFORM = re.compile(r"\s*(\d*)([LXBIJKAEDCMPQ])")
# Bytes of one element, and the numpy type of those that are read.
_SIZES = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16}
_SIZES |= {"P": 8, "Q": 16}
_TYPES = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}


def first_row(source: Source, hdu: Any, wanted: Iterable[str]) -> dict[str, Any]:
    """Some scalar columns of the first row of a binary table.

    The catalogue rows that SDSS adds to each spectrum have sixty to two hundred
    columns; astropy takes longer to set them up than the rest of the file takes.

    Parameters
    ----------
    source : Source
        The file.
    hdu : astropy.io.fits.BinTableHDU
        One of its tables.
    wanted : iterable of str
        Upper-case names of columns.

    Returns
    -------
    dict
        Plain Python values by upper-case name. Columns that are absent, empty,
        vectors, or stored with a scale or an offset are left out.
    """
    info = hdu.fileinfo()
    raw, start = source.data[info["hdrLoc"] : info["datLoc"]], int(info["datLoc"])
    # Files of a survey have the same columns: a layout is worked out once.
    layout = _layouts.get(raw)
    if layout is None:
        layout = _layout(hdu.header)
        if len(_layouts) >= _MOST:
            _layouts.clear()
        _layouts[raw] = layout
    found: dict[str, Any] = {}
    for name in wanted:
        if name not in layout:
            continue
        offset, size, count, kind = layout[name]
        value = plain(_value(source.data[start + offset : start + offset + size], count, kind))
        if value is not None:
            found[name] = value
    return found


# Offset in the row, bytes, elements and FITS type by upper-case name.
_Layout = dict[str, tuple[int, int, int, str]]
_layouts: dict[bytes, _Layout] = {}
_MOST = 8


def _layout(header: Any) -> _Layout:
    """Where the columns without a scale or an offset lie in a row, as far as they are known."""
    made: _Layout = {}
    offset = 0
    if header.get("XTENSION", "").strip() != "BINTABLE" or header["NAXIS2"] < 1:
        return made
    for index in range(1, int(header["TFIELDS"]) + 1):
        match = _TFORM.match(header[f"TFORM{index}"])
        if match is None:
            return made
        count, kind = int(match.group(1) or 1), match.group(2)
        size = (count + 7) // 8 if kind == "X" else count * _SIZES[kind]
        name = str(header.get(f"TTYPE{index}", "")).strip().upper()
        if f"TZERO{index}" not in header and f"TSCAL{index}" not in header:
            made.setdefault(name, (offset, size, count, kind))
        offset += size
    return made


def _value(raw: bytes, count: int, kind: str) -> Any:
    if kind == "A":
        return raw.split(b"\0", 1)[0]
    if kind == "L" and count == 1:
        return raw == b"T"
    if kind in _TYPES and count == 1:
        return np.frombuffer(raw, dtype=_TYPES[kind])[0]
    return None
