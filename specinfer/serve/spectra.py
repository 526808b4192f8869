"""From what a client sends to spectra: files, compressed or not, and JSON arrays."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import math
import zlib
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from specinfer import result
from specinfer.errors import ReadError
from specinfer.readers import ReadOptions, iter_spectra
from specinfer.result import Classification
from specinfer.serve.failures import RequestFailure
from specinfer.spectrum import Spectrum
from specinfer.wavelengths import UNIT_CHOICES

# A request is answered as a whole: survey files with thousands of rows are for the command line.
MAX_SPECTRA = 64
# What xz may take for its dictionary, which the file chooses.
_XZ_MEMORY = 128 * 2**20
_ARRAYS = ("wavelength", "flux", "ivar", "sigma", "variance", "mask")
_TEXTS = ("object", "instrument", "unit")
_NUMBERS = ("resolution", "mjd", "redshift")
JSON_KEYS = (*_ARRAYS, *_TEXTS, *_NUMBERS, "air")


@dataclass(frozen=True)
class Item:
    """One spectrum to classify, or why it cannot be.

    Parameters
    ----------
    spectrum : Spectrum or None
    failed : Classification or None
        The answer, where there is no spectrum.
    redshift : float or None
        Known redshift.
    """

    spectrum: Spectrum | None = None
    failed: Classification | None = None
    redshift: float | None = None


def items_of_file(
    data: bytes,
    name: str,
    options: ReadOptions,
    redshift: float | None = None,
    *,
    max_unpacked: int,
) -> list[Item]:
    """The spectra of an uploaded file.

    Parameters
    ----------
    data : bytes
        Its contents.
    name : str
        Its name, as the client gives it.
    options : ReadOptions
    redshift : float, optional
        Known redshift of all its spectra.
    max_unpacked : int
        Bytes that compressed contents may have.

    Returns
    -------
    list of Item

    Raises
    ------
    ReadError
        If nothing in the file can be used.
    RequestFailure
        413 if it unpacks to too much, or holds too many spectra.
    """
    name = clean_name(name)
    data = unpacked(data, max_unpacked)
    if data.startswith(b"SIMPLE  =") and b"ZIMAGE  =" in data:
        # Its header alone says how large the image in it is.
        raise ReadError(
            "bad_content", "the file holds a compressed image; unpack it with funpack first"
        )
    items: list[Item] = []
    for found in iter_spectra(data, options, name=name):
        if len(items) == MAX_SPECTRA:
            raise too_many_spectra("the file holds")
        if isinstance(found, ReadError):
            failed = result.failed(found, file=name, row=found.row, object=found.object)
            items.append(Item(failed=failed))
        else:
            items.append(Item(found, redshift=redshift))
    return items


def too_many_spectra(what: str) -> RequestFailure:
    """413: `what`, such as "the file holds", and more than one request may have."""
    return RequestFailure(
        413,
        "too_many_spectra",
        f"{what} more than {MAX_SPECTRA} spectra; use `specinfer classify` for it, or send parts",
    )


def clean_name(name: str) -> str:
    """The last part of a path without anything that could disturb a log or a page."""
    last = PurePath(name.replace("\\", "/")).name
    return "".join(c for c in last if c.isprintable())[-200:] or "upload"


def unpacked(data: bytes, limit: int) -> bytes:
    """Contents without gzip, bzip2 or xz, if they are not too large.

    A few kilobytes can unpack to any size, so never more than `limit` is unpacked.

    Raises
    ------
    ReadError
        Code ``bad_compression``.
    RequestFailure
        413, code ``too_large``.
    """
    try:
        if data.startswith(b"\x1f\x8b"):
            with gzip.open(io.BytesIO(data)) as handle:
                content = handle.read(limit + 1)
        elif data.startswith(b"BZh"):
            with bz2.open(io.BytesIO(data)) as handle:
                content = handle.read(limit + 1)
        elif data.startswith(b"\xfd7zXZ"):
            content = lzma.LZMADecompressor(memlimit=_XZ_MEMORY).decompress(data, limit + 1)
        else:
            return data
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise ReadError(
            "bad_compression", f"the compressed file is damaged: {error}; send it again"
        ) from None
    if len(content) > limit:
        raise RequestFailure(
            413, "too_large", f"the compressed file unpacks to more than {limit} bytes"
        )
    if content.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")):
        raise ReadError("bad_compression", "the file is compressed twice; send it unpacked")
    return content


def items_of_json(body: bytes, redshift: float | None = None) -> list[Item]:
    """The spectra of a JSON body: one object of arrays, or ``{"spectra": [objects]}``.

    Parameters
    ----------
    body : bytes
    redshift : float, optional
        Known redshift of those that give none themselves.

    Returns
    -------
    list of Item

    Raises
    ------
    RequestFailure
        400 if the body is no such JSON; 413 for too many spectra.
    """
    document = parse_json(body)
    if not isinstance(document, dict):
        raise _bad("the body must be an object with wavelength and flux")
    several = document.get("spectra")
    if several is None:
        return [_item(document, redshift)]
    if not isinstance(several, list) or not several or set(document) != {"spectra"}:
        raise _bad("spectra must be a list of at least one object, with nothing beside it")
    if len(several) > MAX_SPECTRA:
        raise too_many_spectra("the body holds")
    return [_item(one, redshift, f"spectra[{place}]: ") for place, one in enumerate(several)]


def parse_json(body: bytes) -> Any:
    """The value of a JSON text; NaN and Infinity, which Python writes, are taken.

    Raises
    ------
    RequestFailure
        400, code ``bad_json``.
    """
    try:
        # Whole numbers as floats, too: one of a million digits is then just infinite.
        return json.loads(body, parse_int=float)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RequestFailure(400, "bad_json", f"the body is not JSON: {reason}") from None


def check_redshift(value: float) -> float:
    """A redshift that can be.

    Raises
    ------
    RequestFailure
        400, code ``bad_request``.
    """
    if not -1.0 < value < 100.0:
        raise _bad(f"redshift {value:g}: give a number between -1 and 100")
    return value


def _item(one: Any, redshift: float | None, where: str = "") -> Item:
    if not isinstance(one, dict):
        raise _bad(f"{where}a spectrum must be an object with wavelength and flux")
    unknown = sorted(set(one) - set(JSON_KEYS))
    if unknown:
        raise _bad(f"{where}unknown {unknown[0][:60]!r}; known are {', '.join(JSON_KEYS)}")
    for name in ("wavelength", "flux"):
        if one.get(name) is None:
            raise _bad(f"{where}{name} is missing; give a list of numbers")
    arrays: dict[str, Any] = {
        name: _array(one[name], where + name) for name in _ARRAYS if one.get(name) is not None
    }
    noises = [name for name in ("ivar", "sigma", "variance") if name in arrays]
    if len(noises) > 1:
        raise _bad(f"{where}give {noises[0]} or {noises[1]}, not both")
    facts = {name: _scalar(one, name, str, where) for name in _TEXTS}
    numbers = {name: _scalar(one, name, float, where) for name in _NUMBERS}
    unit = facts.pop("unit") or "angstrom"
    if unit not in UNIT_CHOICES:
        raise _bad(f"{where}unit {unit[:20]!r} is not one of {', '.join(UNIT_CHOICES)}")
    known = numbers.pop("redshift")
    known = redshift if known is None else check_redshift(known)
    if "variance" in arrays:
        arrays["ivar"] = [1.0 / v if v > 0 else 0.0 for v in arrays.pop("variance")]
    if "mask" in arrays:
        arrays["mask"] = [bool(v) for v in arrays["mask"]]
    try:
        spectrum = Spectrum(
            **arrays, unit=unit, air=bool(_scalar(one, "air", bool, where)), **facts, **numbers
        )
    except ReadError as error:
        return Item(failed=result.failed(error, object=facts["object"]))
    return Item(spectrum, redshift=known)


def _array(values: Any, where: str) -> list[Any]:
    if not isinstance(values, list):
        raise _bad(f"{where} must be a list of numbers")
    for place, value in enumerate(values):
        if value is not None and not isinstance(value, (float, bool)):
            raise _bad(f"{where}[{place}] is not a number; use null for a pixel without a value")
    return [math.nan if value is None else float(value) for value in values]


def _scalar(one: dict[str, Any], name: str, kind: type, where: str) -> Any:
    value = one.get(name)
    if value is None:
        return None
    if not isinstance(value, kind) or (isinstance(value, float) and not math.isfinite(value)):
        wanted = {str: "a text", float: "a finite number", bool: "true or false"}[kind]
        raise _bad(f"{where}{name} must be {wanted}")
    return value[:200] if isinstance(value, str) else value


def _bad(message: str) -> RequestFailure:
    return RequestFailure(400, "bad_request", message)
