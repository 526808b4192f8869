"""Open Supernova Catalog (and Open TDE Catalog) files: one object, many spectra."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.columns import Layout, to_spectrum
from specinfer.readers.fits_headers import number, possible_redshift, text
from specinfer.spectrum import Spectrum
from specinfer.wavelengths import is_wavelength_unit, to_angstrom

NAME = "osc-json"
DESCRIPTION = "Open Supernova / TDE Catalog JSON: every spectrum of the object"

_KEPT = ("filename", "observer", "reducer", "survey", "telescope", "snr", "u_fluxes", "airmass")
# Offset from the Modified Julian date.
_DATES = {"MJD": 0.0, "JD": 2400000.5}


def identify(source: Source) -> bool:
    """Whether a text is JSON that speaks of spectra."""
    if not source.is_text or not source.head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return False
    return b'"spectra"' in source.data


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """Every spectrum of the object; those without usable data give a `ReadError` each.

    Flags: ``REST_FRAME`` for spectra marked as deredshifted, which are moved back to
    their redshift; those of `specinfer.readers.columns`, of which ``NOISE_COPIES_FLUX``
    is common here.

    Raises
    ------
    ReadError
        ``bad_json`` if the file is damaged, ``no_spectra`` if it has no spectra.
    """
    try:
        content = json.loads(source.text)
    except ValueError as error:
        raise ReadError(
            "bad_json", f"the JSON is damaged or cut off ({error}); fetch it again"
        ) from None
    entries = [
        (key, entry)
        for key, entry in content.items()
        if isinstance(entry, dict) and isinstance(entry.get("spectra"), list)
    ]
    if isinstance(content.get("spectra"), list):
        # The object itself, without the key around it.
        entries.append((str(content.get("name", "")), content))
    spectra = [(name, entry, item) for name, entry in entries for item in entry["spectra"]]
    if not spectra:
        raise ReadError("no_spectra", "the catalogue file holds no spectra of the object")
    for row, (key, entry, item) in enumerate(spectra):
        name = text(entry, "name") or key or None
        try:
            yield _spectrum(source, options, entry, item, name, row)
        except ReadError as error:
            yield ReadError(error.code, error.message, row=row, object=name)


def _spectrum(
    source: Source,
    options: ReadOptions,
    entry: Mapping[str, Any],
    item: Any,
    name: str | None,
    row: int,
) -> Spectrum:
    if not isinstance(item, dict) or not isinstance(item.get("data"), list):
        raise ReadError("no_good_pixels", "this spectrum has no data in the file; leave it out")
    columns = _columns(item["data"])
    unit = options.unit or text(item, "u_wavelengths")
    flags = []
    z = possible_redshift(number(item, "redshift"))
    z = _first_redshift(entry) if z is None else z
    if item.get("deredshifted") in (True, "true", "True", "1"):
        if z is None:
            raise ReadError(
                "no_redshift",
                "this spectrum is in the rest frame of an unknown redshift; leave it out",
            )
        if unit is None or not is_wavelength_unit(unit):
            raise ReadError("unknown_unit", "the wavelengths have no unit; say it with --unit")
        columns[0] = to_angstrom(columns[0], unit) * (1.0 + z)
        options, unit = _without_unit(options), "angstrom"
        flags.append(flag.REST_FRAME)
    layout = Layout("0", "1", "2" if len(columns) > 2 else None, "sigma", None, None, None)
    known = {
        "file": source.name,
        "reader": NAME,
        "object": name,
        "instrument": text(item, "instrument"),
        "mjd": _mjd(item),
        "redshift": z,
        "header": {key.upper(): item[key] for key in _KEPT if text(item, key) is not None},
    }
    return to_spectrum(
        {str(index): values for index, values in enumerate(columns)},
        layout,
        options,
        known=known,
        unit=unit,
        flags=flags,
        sentinels=True,
        row=row,
    )


def _columns(data: list[Any]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Wavelength, flux and perhaps error, from rows of texts; empty texts are NaN."""
    count = min((len(pixel) for pixel in data if isinstance(pixel, list)), default=0)
    if count < 2:
        raise ReadError("no_good_pixels", "this spectrum has no pixels in the file; leave it out")
    try:
        values = [[float(value or "nan") for value in pixel[: min(count, 3)]] for pixel in data]
    except (TypeError, ValueError) as error:
        raise ReadError(
            "bad_row", f"a pixel of this spectrum is no row of numbers ({error}); leave it out"
        ) from None
    return np.array(values, dtype=np.float64).T


def _first_redshift(entry: Mapping[str, Any]) -> float | None:
    """The catalogue's redshift of the object, whose first value is the preferred one."""
    values = entry.get("redshift")
    for value in values if isinstance(values, list) else []:
        found = possible_redshift(number(value, "value")) if isinstance(value, dict) else None
        if found is not None:
            return found
    return None


def _mjd(item: Mapping[str, Any]) -> float | None:
    time, offset = number(item, "time"), _DATES.get(text(item, "u_time") or "MJD")
    return None if time is None or offset is None else time - offset


def _without_unit(options: ReadOptions) -> ReadOptions:
    return ReadOptions(options.format, options.noise, None, options.air, options.sky)
