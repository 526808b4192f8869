"""Text files of numbers: what their headers state, and their rows as one array.

The rows begin where two lines of as many numbers follow each other. All that stands
before is header, and so is every line after that which does not begin with a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ReadError
from specinfer.readers.base import Source
from specinfer.readers.columns import choose
from specinfer.readers.fits_headers import described, says_air, text
from specinfer.wavelengths import is_wavelength_unit

FloatArray = NDArray[np.float64]

# How many lines a header may have.
_LONGEST_HEADER = 5000
_COMMENT = re.compile(r"^[\s#%;!]+")
_FORTRAN = re.compile(r"(?<=[\d.])[dD](?=[+-]?\d)")
_FACT = re.compile(r"([A-Za-z][\w.-]*)\s*[:=]\s*(.*)$")
# Without a colon only capitals are a key: sentences are none.
_PLAIN_FACT = re.compile(r"([A-Z][A-Z0-9_-]*)\s+(\S.*)$")
_INTEGER = re.compile(r"[+-]?\d+$")
# With a decimal point: 2021E10 is the name of a supernova.
_DECIMAL = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?$")
_NAME = re.compile(r"[^\s,|\[(]+(?:[\[(][^\])]*[\])])?")
_BRACKETS = re.compile(r"[\[(]\s*([^\])]*?)\s*[\])]")
_AIR = re.compile(r"\b(?:in (air|vacuum)\b|(air|vacuum)[ _]wavelengths?\b)", re.IGNORECASE)
# What stands for a missing number.
_MISSING = ("", "--", "-", "null", "none", "indef", "n/a", "na", "masked", "...")
# Other spellings of the cards that `specinfer.readers.fits_headers` looks for.
_ALIASES = {
    "TELESCOPE": "TELESCOP",
    "SNID": "NAME",
    "SNNAME": "NAME",
    "OBJ": "NAME",
    "OBS_DATE": "DATE_OBS",
    "OBS-DATE": "DATE_OBS",
    "DATE": "DATE_OBS",
    "EXPOSURE": "EXPTIME",
    "Z": "REDSHIFT",
}
# Names that stay text even if they are all digits.
_TEXT = ("OBJECT", "NAME", "TELESCOP", "REQ_ID", "OBJ_ID", "P60PRID", "PYSEDMV", "LPIPEVER")
_KEPT = ("REQ_ID", "SNID", "GROUPS", "OBS_GROUP")


@dataclass(frozen=True, eq=False)
class TextTable:
    """A text file taken apart.

    Parameters
    ----------
    header : dict
        Facts by upper-case key: str, int, float or bool.
    names : tuple of str
        Names of the columns, if a line of the header has them; else empty.
    unit : str or None
        Unit of the wavelengths, if the header states a known one.
    air : bool or None
        True if the header says air, False for vacuum.
    values : ndarray, shape (rows, columns)
        The numbers; NaN where there is none.
    """

    header: dict[str, Any]
    names: tuple[str, ...]
    unit: str | None
    air: bool | None
    values: FloatArray

    @property
    def columns(self) -> dict[str, FloatArray]:
        """The columns by name."""
        return dict(zip(self.names, self.values.T, strict=True))


# Several readers ask for the same file one after the other.
_PARSED: WeakKeyDictionary[Source, TextTable] = WeakKeyDictionary()
_HEADERS: WeakKeyDictionary[Source, tuple[list[str], int | None]] = WeakKeyDictionary()


def has_rows(source: Source) -> bool:
    """Whether the file is text with rows of numbers."""
    return not source.is_fits and source.is_text and _lines(source)[1] is not None


def header_lines(source: Source) -> list[str]:
    """The lines before the first row of numbers; none if the file has no such rows."""
    lines, start = _lines(source)
    return lines[:start] if start is not None else []


def header_facts(lines: Iterable[str]) -> dict[str, Any]:
    """Facts of lines like ``# KEY: value``, ``# KEY = 'value' / remark``, ``# KEY value``.

    Parameters
    ----------
    lines : iterable of str
        Lines of a header.

    Returns
    -------
    dict
        Values by upper-case key; the first line with a key wins.
    """
    facts: dict[str, Any] = {}
    for line in lines:
        bare = _COMMENT.sub("", line).rstrip()
        match = _FACT.match(bare) or _PLAIN_FACT.match(bare)
        if match is None or match.group(1).upper() in ("HISTORY", "COMMENT", "END"):
            continue
        key = match.group(1).upper()
        value = _value(match.group(2), key in _TEXT)
        if value is not None:
            facts.setdefault(key, value)
    for other, name in _ALIASES.items():
        if other in facts:
            facts.setdefault(name, facts[other])
    return facts


def parse(source: Source) -> TextTable:
    """Take a text file apart.

    Parameters
    ----------
    source : Source
        The file.

    Returns
    -------
    TextTable

    Raises
    ------
    ReadError
        ``no_numbers`` if no rows of numbers are found, ``ragged_rows`` if a row has
        more or fewer numbers than the first.
    """
    if source not in _PARSED:
        _PARSED[source] = _parse(source)
    return _PARSED[source]


def described_text(source: Source, name: str, header: dict[str, Any]) -> dict[str, Any]:
    """What the header says about the spectrum, as arguments of `Spectrum`."""
    return described(source, name, header, keep=_KEPT)


def column_names(line: str) -> list[str]:
    """The names in a line of column names, units in brackets left on them."""
    bare = _COMMENT.sub("", line).replace('"', "")
    for mark in ",;":
        if mark in bare:
            # pandas leaves the name of its row numbers empty.
            return [name.strip() or "index" for name in bare.split(mark)]
    return _NAME.findall(re.sub(r"\s+(?=[\[(])", "", bare))


def _lines(source: Source) -> tuple[list[str], int | None]:
    if source not in _HEADERS:
        lines = source.text.split("\n")
        _HEADERS[source] = (lines, _first_row(lines))
    return _HEADERS[source]


def _first_row(lines: list[str]) -> int | None:
    """Where the rows begin; None if there are none."""
    previous, at = 0, 0
    for index, line in enumerate(lines[:_LONGEST_HEADER]):
        if not line.strip():
            continue
        n = _width(line)
        if n and n == previous:
            return at
        previous, at = n, index
    return None


def _cells(line: str) -> list[str]:
    """The cells of a row that is separated by commas, semicolons, bars or white space."""
    for mark in ",;|":
        if mark in line:
            return [cell.strip() for cell in line.strip().strip("|").split(mark)]
    return line.split()


def _width(line: str) -> int:
    """How many cells a row has; 0 if the line is none: its first two must be numbers."""
    cells = _cells(line)
    if len(cells) < 2 or not math.isfinite(_number(cells[0])):
        return 0
    known = cells[1].lower() in ("nan", "inf", "-inf", *_MISSING)
    return len(cells) if known or math.isfinite(_number(cells[1])) else 0


def _number(cell: str) -> float:
    try:
        return float(_FORTRAN.sub("E", cell.strip("\"'")))
    except ValueError:
        return math.nan


def _parse(source: Source) -> TextTable:
    lines, start = _lines(source)
    if start is None:
        raise ReadError(
            "no_numbers",
            "the text holds no rows of numbers; give a file with columns of wavelength and flux",
        )
    values = _values(lines, start)
    header = header_facts(lines[:start])
    names, unit = _names(lines[:start], values.shape[1])
    if unit is None:
        unit = text(header, "WAVEUNIT", "WAVE_UNIT", "WAVELENGTH_UNIT", "WUNIT", "CUNIT1")
    known = unit is not None and is_wavelength_unit(unit)
    air = says_air(header)
    if air is None:
        said = _AIR.search("\n".join(lines[:start]))
        air = None if said is None else (said.group(1) or said.group(2)).lower() == "air"
    return TextTable(header, names, unit if known else None, air, values)


def _values(lines: list[str], start: int) -> FloatArray:
    """The rows as an array: in one go if all lines are alike, else line by line."""
    width = _width(lines[start])
    body = "\n".join(lines[start:])
    if "|" not in body and '"' not in body:
        rows = body.replace(",", " ").split("\n")
        cells = [row.split() for row in rows if row and not row.isspace()]
        # An empty cell between commas makes a row shorter, so it ends up below.
        if all(len(row) == width for row in cells):
            flat = [cell for row in cells for cell in row]
            try:
                return _reshaped(list(map(float, flat)), width)
            except ValueError:
                pass
    numbers: list[float] = []
    for index, line in enumerate(lines[start:], start + 1):
        row = _cells(line)
        if not row or not math.isfinite(_number(row[0])):
            continue
        if len(row) != width:
            raise ReadError(
                "ragged_rows",
                f"line {index} has {len(row)} values and line {start + 1} has {width}; "
                "the file is incomplete or has two tables, so mend it or write it again",
            )
        numbers += map(_number, row)
    return _reshaped(numbers, width)


def _reshaped(numbers: list[float], width: int) -> FloatArray:
    return np.array(numbers, dtype=np.float64).reshape(-1, width)


def _names(header: list[str], width: int) -> tuple[tuple[str, ...], str | None]:
    """Names of the columns, and the unit of the wavelengths from a line of units."""
    for index in range(len(header) - 1, -1, -1):
        names = column_names(header[index])
        if len(names) != width or len(set(names)) != width:
            continue
        layout = choose(names)
        if layout is None:
            continue
        following = header[index + 1] if index + 1 < len(header) else ""
        units = _BRACKETS.findall(following)
        unit = units[names.index(layout.wave)] if len(units) == width else None
        return tuple(names), unit or None
    return (), None


def _value(written: str, as_text: bool) -> Any:
    """A header value as a Python value, or as text; None if it is empty."""
    if written.startswith("'") and "'" in written[1:]:
        # Quoted in the way of FITS: what follows is a remark, and the text stays text.
        return written[1 : written.index("'", 1)].strip() or None
    value = written.split(" / ", 1)[0].removesuffix(" /").strip().strip('"')
    if not value or value == "/":
        return None
    if as_text:
        return value
    if _INTEGER.match(value):
        return int(value)
    if _DECIMAL.match(value):
        return float(value)
    return {"True": True, "False": False}.get(value, value)
