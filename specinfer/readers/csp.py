"""Spectra of the Carnegie Supernova Project: text in the rest frame under a header."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.columns import air_flags, sentinel_pixels, settle_noise
from specinfer.readers.fits_headers import is_air
from specinfer.spectrum import Spectrum
from specinfer.wavelengths import to_angstrom

NAME = "csp"
DESCRIPTION = "Carnegie Supernova Project text (rest frame, moved back to the observed one)"

_CARD = re.compile(r"#\s*(\w+)\s*:\s*(.*?)\s*")
# SN04dt_b01_DUP_WF_14sep04.fits: arm, telescope and instrument.
_INSTRUMENT = re.compile(r"_[a-z]\d\d_([A-Z0-9]+_[A-Z0-9]+)_")


def identify(source: Source) -> bool:
    """Whether the header is theirs: no one else's states these dates."""
    return source.is_text and {"Redshift", "JDate_of_observation", "Epoch"} <= set(
        _cards(source.head.decode("latin-1"))
    )


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum]:
    """The spectrum, moved from the rest frame back to the redshift of the header.

    ``header`` has EPOCH (rest-frame days from maximum light), JD_MAX and FITS_FILE.

    Flags: ``REST_FRAME``, ``SENTINELS_MASKED`` and those of noise and air.

    Raises
    ------
    ReadError
        ``no_redshift``, ``bad_content``, and whatever `Spectrum` refuses.
    """
    cards = _cards(source.text)
    redshift = _number(cards, "Redshift")
    if redshift is None or not redshift > -1.0:
        raise ReadError(
            "no_redshift",
            "spectra of this project are in the rest frame and the header states no redshift; "
            "write one as '#Redshift: 0.02', or give --format ascii",
        )
    lines = (line.split() for line in source.text.split("\n") if not line.startswith("#"))
    rows = [line for line in lines if line]
    try:
        table = np.array(rows, dtype=np.float64)
    except ValueError:
        table = np.empty((0, 0))
    if table.ndim != 2 or table.shape[1] < 2:
        raise ReadError(
            "bad_content", "the lines below the header are not columns of numbers; fetch it again"
        )
    flux = table[:, 1]
    empty = sentinel_pixels(flux)
    errors = table[:, 2] if table.shape[1] > 2 else None
    noise, noise_flags = settle_noise(np.where(empty, np.nan, flux), errors, "unknown", options)
    observed = to_angstrom(table[:, 0], options.unit or "angstrom") * (1.0 + redshift)
    julian = _number(cards, "JDate_of_observation")
    instrument = _INSTRUMENT.search(cards.get("FITS_file", ""))
    facts = {
        "EPOCH": _number(cards, "Epoch"),
        "JD_MAX": _number(cards, "JDate_of_max"),
        "FITS_FILE": cards.get("FITS_file"),
    }
    yield Spectrum(
        wavelength=observed,
        flux=flux,
        **noise,
        mask=empty,
        air=is_air(options, None),
        object=cards.get("Object"),
        instrument=instrument[1] if instrument else None,
        mjd=None if julian is None else julian - 2400000.5,
        redshift=redshift,
        header={key: value for key, value in facts.items() if value is not None},
        flags=(
            flag.REST_FRAME,
            *((flag.SENTINELS_MASKED,) if empty.any() else ()),
            *air_flags(options, None),
            *noise_flags,
        ),
        file=source.name,
        reader=NAME,
    )


def _cards(text: str) -> dict[str, str]:
    """``#KEY: value`` lines at the top, those without a value left out."""
    cards: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        match = _CARD.fullmatch(line)
        if match is not None and match[2]:
            cards[match[1]] = match[2]
    return cards


def _number(cards: dict[str, str], key: str) -> float | None:
    try:
        number = float(cards[key])
    except (KeyError, ValueError):
        return None
    return number if np.isfinite(number) else None
