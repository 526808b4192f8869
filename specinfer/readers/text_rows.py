"""Rows of numbers in text, whatever stands above them, and the facts in that header."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ReadError
from specinfer.readers.base import Source
from specinfer.readers.fits_headers import described, number, says_air, text
from specinfer.wavelengths import is_wavelength_unit

FloatArray = NDArray[np.float64]

MAX_COLUMNS = 40
_COMMENT = ("#", "%", ";", "!", "//", "/", "\\", '"', "'", "*", "|")
_MISSING = {"", "-", "--", "---", "null", "none", "indef", "n/a", "na", "masked", "...", "nodata"}
# Fortran leaves the E out of exponents with three digits, and fills what does not fit.
_NO_E = re.compile(r"([+-]?\d*\.\d+)([+-]\d{3})")
_DECIMAL_COMMA = re.compile(
    r"\s*[+-]?\d+,\d+(?:[ED][+-]?\d+)?(?:[\s;]+[+-]?\d+,\d+(?:[ED][+-]?\d+)?)+\s*", re.I
)
# A header that was put before the numbers without a line break.
_GLUED = re.compile(r"(#.*(?:flux|err|error|sigma|var))(\d+\.\d*\s+[-+.\deE\s]+)")
# `KEY = 'value' / comment`, `KEY: value`, and `KEY value` in capitals.
_EQUALS = re.compile(r"([A-Za-z][\w .-]*?)\s*=\s*(.*)")
_COLON = re.compile(r"([A-Za-z][\w .-]*?)\s*:\s+(.*)")
_CAPITALS = re.compile(r"([A-Z][A-Z0-9_-]+|Z)\s+(.*)")
_QUOTED = re.compile(r"'((?:[^']|'')*)'")
_ALIASES = {
    "SNID": "OBJECT",
    "OBJECT_NAME": "OBJECT",
    "OBS_DATE": "DATE-OBS",
    "OBSDATE": "DATE-OBS",
    "Z": "REDSHIFT",
    "TELESCOPE": "TELESCOP",
    "EXPOSURE": "EXPTIME",
    "JDATE_OF_OBSERVATION": "JD",
}
_UNITS = (
    *("WAVEUNIT", "WAVUNIT", "WUNIT", "CUNIT1", "WAVE_UNIT", "WAVELENGTH_UNIT", "XUNIT"),
    *("WAVELENGTH_UNITS", "WAVE_UNITS", "XUNITS", "X_UNIT", "X_UNITS", "UNITS_X"),
)
_UNIT_WORD = re.compile(
    r"\b(angstroms?|nm|nanomet(?:er|re)s?|microns?|log10\(angstrom\))(?![\w/])", re.I
)
# Names that stay text even if they are all digits.
_NAMES = ("OBJECT", "NAME", "REQ_ID", "P60PRID", "PYSEDMV", "PROGRAM", "OBSERVER", "TELESCOP")


@dataclass(frozen=True, eq=False)
class Rows:
    """The numbers of a text, and what stands around them.

    Parameters
    ----------
    values : ndarray, shape (columns, rows)
        NaN where a field is empty or no number.
    header : tuple of str
        The other lines above the numbers, without comment signs, in order.
    keys : dict of str to str
        ``KEY: value`` and the like among them, keys in upper case.
    """

    values: FloatArray
    header: tuple[str, ...]
    keys: dict[str, str]


def parse(content: str) -> Rows:
    """The rows of numbers in a text.

    Comment signs are ``# % ; ! //`` and quotes; columns are separated by blanks, commas,
    semicolons or bars; exponents may be written with D, decimal points as commas.

    Parameters
    ----------
    content : str
        With newlines of one kind.

    Returns
    -------
    Rows

    Raises
    ------
    ReadError
        ``no_numbers`` without two or more numbers in any line, ``bad_row`` and
        ``ragged_table`` if lines between the numbers are something else.
    """
    lines = content.split("\n")
    rows: list[list[float]] = []
    numbers: list[int] = []
    others: list[tuple[int, str]] = []
    for index, line in enumerate(lines, start=1):
        row = _row(line)
        if len(row) >= 2:
            rows.append(row)
            numbers.append(index)
        elif line and (line := line.strip()):
            others.append((index, line))
    if not rows:
        first = next((line for _, line in others), "")
        raise ReadError(
            "no_numbers",
            f"no line holds two or more numbers, the first is {first[:40]!r}; "
            "give a file with columns of wavelength and flux",
        )
    columns = Counter(map(len, rows)).most_common(1)[0][0]
    start = next(place for place, row in enumerate(rows) if len(row) == columns)
    others += [(numbers[place], lines[numbers[place] - 1].strip()) for place in range(start)]
    rows, numbers = rows[start:], numbers[start:]
    header = sorted(entry for entry in others if entry[0] < numbers[0])
    if header and (glued := _GLUED.fullmatch(header[-1][1])):
        row = _slow_row(glued.group(2))
        if len(row) == columns:
            header[-1] = (header[-1][0], glued.group(1))
            rows.insert(0, row)
            numbers.insert(0, header[-1][0])
    _check(rows, numbers, columns, others)
    stripped = tuple(line.lstrip("#%;!/\\*|\"' \t").rstrip() for _, line in header)
    return Rows(np.array(rows, dtype=np.float64).T, stripped, header_keys(stripped))


def _row(line: str) -> list[float]:
    """The numbers of a line; empty if it is none of numbers. The usual ways come first."""
    try:
        return [float(field) for field in (line.split(",") if "," in line else line.split())]
    except ValueError:
        pass
    try:
        return [float(field) for field in line.replace("D", "E").split()]
    except ValueError:
        return _slow_row(line)


def _slow_row(line: str) -> list[float]:
    """The numbers of a line that plain blanks and floats do not explain; empty if none."""
    line = line.strip()
    if not line or line.startswith(_COMMENT):
        return []
    if "," in line:
        if _DECIMAL_COMMA.fullmatch(line):
            fields = line.replace(",", ".").replace(";", " ").split()
        else:
            fields = [field.strip() for field in line.split(",")]
            if any(len(field.split()) > 1 and _number(field.split()[0]) for field in fields):
                # Commas and blanks mixed.
                fields = line.replace(",", " ").split()
    else:
        fields = re.split(r"\s*[;|]\s*|\s+", line.strip("; |"))
    values = [_number(field) for field in fields]
    known = [value for value in values if value is not None]
    # Beside numbers, comma-separated tables may hold names.
    if len(known) < 2 or (len(known) < len(values) and "," not in line):
        return []
    return [np.nan if value is None else value for value in values]


def _number(field: str) -> float | None:
    """A number in any of the ways it is written; NaN for missing ones; None for words."""
    field = field.strip("\"'")
    if field.lower() in _MISSING or (field and not field.strip("*")):
        return np.nan
    try:
        return float(field)
    except ValueError:
        pass
    field = field.upper().replace("D", "E")
    if match := _NO_E.fullmatch(field):
        field = f"{match.group(1)}E{match.group(2)}"
    try:
        return float(field)
    except ValueError:
        return None


def _check(
    rows: list[list[float]], numbers: list[int], columns: int, others: list[tuple[int, str]]
) -> None:
    """Refuse what stands between the rows and is neither a row nor a comment."""
    for number_, row in zip(numbers, rows, strict=True):
        if len(row) != columns:
            raise ReadError(
                "ragged_table",
                f"line {number_} has {len(row)} numbers where the others have {columns}; "
                "the file may be cut off: fetch it again, or remove the line",
            )
    for number_, line in others:
        if numbers[0] < number_ < numbers[-1] and not line.startswith(_COMMENT):
            raise ReadError(
                "bad_row",
                f"line {number_} is no row of numbers ({line[:40]!r}); correct it or remove it",
            )
    if columns > MAX_COLUMNS:
        raise ReadError(
            "not_a_spectrum",
            f"the rows have {columns} columns; give a table with columns of wavelength and flux",
        )


def header_keys(lines: tuple[str, ...]) -> dict[str, str]:
    """``KEY: value``, ``KEY = value`` and ``KEY value`` of header lines.

    Parameters
    ----------
    lines : tuple of str
        Without comment signs.

    Returns
    -------
    dict
        Keys in upper case with underscores for blanks; the first of its name wins.
    """
    keys: dict[str, str] = {}
    for line in lines:
        if line.upper().startswith(("COMMENT", "HISTORY")):
            continue
        if (match := _EQUALS.fullmatch(line)) and ":" not in match.group(1):
            quoted = _QUOTED.match(match.group(2))
            value = quoted.group(1) if quoted else re.split(r"(?:^|\s)/(?:\s|$)", match.group(2))[0]
        elif match := _COLON.fullmatch(line) or _CAPITALS.fullmatch(line):
            value = match.group(2)
        else:
            continue
        value = value.strip().strip("\"'").strip()
        if value:
            keys.setdefault(re.sub(r"\s+", "_", match.group(1).strip()).upper(), value)
    for alias, key in _ALIASES.items():
        if alias in keys:
            keys.setdefault(key, keys[alias])
    return keys


def facts(source: Source, name: str, keys: dict[str, str], **more: Any) -> dict[str, Any]:
    """What a text header says about a spectrum, as arguments of `Spectrum`.

    Parameters
    ----------
    source : Source
        The file.
    name : str
        Name of the reader.
    keys : dict
        Of `header_keys`.
    **more
        Facts for ``header``.

    Returns
    -------
    dict
        See `specinfer.readers.fits_headers.described`; numbers and truth values in
        ``header`` are numbers and truth values, as from FITS.
    """
    known = described(source, name, keys)
    known["header"] = literals(known["header"]) | more
    return known


def literals(header: dict[str, Any]) -> dict[str, Any]:
    """Header texts as the numbers and truth values that FITS would give."""
    return {
        key: value if key in _NAMES or not isinstance(value, str) else _literal(value)
        for key, value in header.items()
    }


def _literal(value: str) -> Any:
    if value in ("True", "False", "T", "F"):
        return value[0] == "T"
    for kind in (int, float):
        try:
            result = kind(value)
        except ValueError:
            continue
        return result if np.isfinite(result) else value
    return value


def stated_unit(rows: Rows) -> str | None:
    """The unit of the wavelengths by the header, or None."""
    unit = text(rows.keys, *_UNITS)
    if unit is not None and is_wavelength_unit(unit):
        return unit
    for line in rows.header:
        # "# [A] [erg/s/cm2/A]": a line of units under the names.
        if (match := re.match(r"[\[(]\s*([\w.]+)\s*[\])]", line)) and is_wavelength_unit(match[1]):
            return match[1]
        if re.search(r"\b(wavelength|lambda)", line, re.I) and (match := _UNIT_WORD.search(line)):
            return match[1]
    return None


def stated_air(rows: Rows) -> bool | None:
    """True if the header says that wavelengths are in air, False for vacuum, else None."""
    said = says_air(rows.keys)
    if said is not None:
        return said
    for line in rows.header:
        words = line.lower()
        if re.search(r"\b(wave|lambda)", words):
            if re.search(r"\bvac(uum)?\b", words):
                return False
            if re.search(r"\bair\b", words):
                return True
    return None


def count_columns(source: Source) -> int:
    """How many fields the first line of two or more numbers has; 0 if there is none."""
    if not source.is_text or source.is_fits or source.head.lstrip()[:1] in (b"<", b"{"):
        return 0
    lines = (line for line in source.text.split("\n") if not line.startswith("#"))
    return next((len(row) for row in map(_row, lines) if len(row) >= 2), 0)


def phase(keys: dict[str, str]) -> float | None:
    """Days from maximum light, if the header says so."""
    return number(keys, "EPOCH", "PHASE")
