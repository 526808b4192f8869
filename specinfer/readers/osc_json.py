"""JSON of the Open Astronomy Catalogs: an object with all spectra ever taken of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.columns import (
    FloatArray,
    air_flags,
    plain_unit,
    sentinel_pixels,
    settle_noise,
)
from specinfer.readers.fits_headers import is_air
from specinfer.spectrum import Spectrum

NAME = "osc-json"
DESCRIPTION = "Open Supernova Catalog JSON (every epoch of an object)"

_SPECTRA = re.compile(r'"spectra"\s*:\s*\[')
# Facts worth keeping, as they are called there.
_KEPT = (
    *("filename", "observer", "reducer", "reduction", "survey", "telescope", "exposure"),
    *("snr", "u_fluxes", "dereddened"),
)


def identify(source: Source) -> bool:
    """Whether the text is a JSON object with a list of spectra."""
    return (
        source.is_text
        and source.head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
        and _SPECTRA.search(source.text) is not None
    )


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """Every epoch; `row` is its place in the list of spectra.

    All numbers are strings there. A third column is the error. Spectra that are
    marked as deredshifted are moved back to the redshift of the spectrum, or else
    of the object.

    Flags: ``REST_FRAME``, ``SENTINELS_MASKED`` and those of noise and air.

    Raises
    ------
    ReadError
        ``wrong_format`` if it is no such JSON; for one epoch ``no_redshift``,
        ``bad_content``, and whatever `Spectrum` refuses.
    """
    epochs = list(_epochs(source))
    for row, (name, event, epoch) in enumerate(epochs):
        number = row if len(epochs) > 1 else None
        try:
            spectrum = _spectrum(event, epoch, options, object=name, file=source.name, row=number)
        except ReadError as error:
            yield ReadError(error.code, error.message, row=number, object=name)
        else:
            yield spectrum


def _epochs(source: Source) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Name, event and spectrum of every epoch of the file."""
    try:
        content = json.loads(source.text)
    except (ValueError, RecursionError) as error:
        raise ReadError(
            "bad_content", f"the JSON is damaged or cut short ({error}); fetch the file again"
        ) from None
    events = content if isinstance(content, dict) else {}
    if isinstance(events.get("spectra"), list):
        events = {str(events.get("name", "")): events}
    found = False
    for key, event in events.items():
        spectra = event.get("spectra") if isinstance(event, dict) else None
        for epoch in spectra if isinstance(spectra, list) else ():
            found = True
            yield str(event.get("name") or key), event, epoch if isinstance(epoch, dict) else {}
    if not found:
        raise ReadError(
            "wrong_format",
            "the JSON holds no object with a list of spectra; give a file of the Open "
            "Supernova Catalog, or leave --format out",
        )


def _spectrum(
    event: Mapping[str, Any], epoch: Mapping[str, Any], options: ReadOptions, **known: Any
) -> Spectrum:
    wavelength, flux, errors = _columns(epoch)
    flags: list[str] = []
    redshift = _number(epoch.get("redshift"))
    if redshift is None:
        redshift = _number(_first(event.get("redshift")))
    if _yes(epoch.get("deredshifted")):
        if redshift is None:
            raise ReadError(
                "no_redshift",
                "the spectrum is deredshifted and no redshift is stated; add one to the JSON",
            )
        unit = options.unit or _unit(epoch, wavelength)
        wavelength = _shifted(wavelength, redshift, unit)
        flags.append(flag.REST_FRAME)
    else:
        unit = options.unit or _unit(epoch, wavelength)
    empty = sentinel_pixels(flux)
    if empty.any():
        flags.append(flag.SENTINELS_MASKED)
    noise, noise_flags = settle_noise(np.where(empty, np.nan, flux), errors, "sigma", options)
    vacuum = epoch.get("vacuum_wavelengths")
    air = None if vacuum is None else not _yes(vacuum)
    return Spectrum(
        wavelength=wavelength,
        flux=flux,
        **noise,
        mask=empty,
        unit=unit,
        air=is_air(options, air),
        instrument=_text(epoch.get("instrument")),
        mjd=_mjd(epoch),
        redshift=redshift,
        header={key.upper(): epoch[key] for key in _KEPT if key in epoch},
        flags=(*flags, *air_flags(options, air), *noise_flags),
        reader=NAME,
        **known,
    )


def _columns(epoch: Mapping[str, Any]) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    rows = epoch.get("data")
    if not isinstance(rows, list) or not rows:
        raise ReadError("bad_content", "the epoch has no data; leave it out")
    try:
        width = min(len(row) for row in rows)
        values = np.array([row[:3] if width > 2 else row[:2] for row in rows], dtype=np.float64)
    except (TypeError, ValueError):
        width = 0
    if width < 2:
        raise ReadError(
            "bad_content", "the epoch's data are not rows of two or three numbers; fetch it again"
        )
    return values[:, 0], values[:, 1], values[:, 2] if width > 2 else None


def _unit(epoch: Mapping[str, Any], wavelength: FloatArray) -> str:
    return _text(epoch.get("u_wavelengths")) or plain_unit(wavelength)


def _shifted(wavelength: FloatArray, redshift: float, unit: str) -> FloatArray:
    """Wavelengths moved to a redshift: a factor, or a term for logarithms."""
    if "log" in unit.lower():
        return wavelength + float(np.log10(1.0 + redshift))
    return wavelength * (1.0 + redshift)


def _mjd(epoch: Mapping[str, Any]) -> float | None:
    time = _number(_first(epoch.get("time")))
    if time is None:
        return None
    julian = str(epoch.get("u_time", "MJD")).upper() == "JD" or time > 2400000.5
    return time - 2400000.5 if julian else time


def _first(value: Any) -> Any:
    """The first of a list of values that are quoted with sources."""
    value = value[0] if isinstance(value, list) and value else value
    return value.get("value") if isinstance(value, dict) else value


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _text(value: Any) -> str | None:
    return str(value).strip() or None if value is not None else None


def _yes(value: Any) -> bool:
    return str(value).strip().lower() in ("true", "yes", "1")
