"""Templates of SNID: all epochs of a supernova, divided by their continuum."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.columns import air_flags, sentinel_pixels
from specinfer.readers.fits_headers import is_air
from specinfer.spectrum import Spectrum

NAME = "snid-lnw"
DESCRIPTION = "SNID template (.lnw): all epochs, rest frame, divided by the continuum"

# Number of spectra, of pixels, first and last wavelength, number of spline knots, name,
# decline rate, type and its two indices.
_FIRST_LINE = re.compile(
    r"\s*(?P<spectra>\d+)\s+(?P<pixels>\d+)\s+\d+\.\d*\s+\d+\.\d*\s+(?P<knots>\d+)\s+"
    r"(?P<name>\S+)\s+(?P<dm15>-?\d+\.\d*)\s+(?P<type>\S+)\s+-?\d+\s+-?\d+\s*"
)
# SNID writes this where the decline rate is unknown.
_NO_DM15 = -9.0


def identify(source: Source) -> bool:
    """Whether the first line is that of a SNID template."""
    first = source.head.split(b"\n", 1)[0].decode("latin-1")
    return source.is_text and _FIRST_LINE.fullmatch(first) is not None


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """Every epoch, on the rest-frame axis of the file (so the redshift is 0).

    The file holds flux / continuum - 1, so 1 is added. Zeros at the ends are padding
    and unusable. There is no noise. ``header`` has PHASE (days) or AGE if it is not
    counted from maximum light, TYPE and DM15.

    Flags: ``SENTINELS_MASKED``, ``AIR_UNKNOWN``.

    Raises
    ------
    ReadError
        ``wrong_format``, or ``bad_content`` if lines or columns are missing; for one
        epoch whatever `Spectrum` refuses.
    """
    lines = source.text.rstrip().split("\n")
    match = _FIRST_LINE.fullmatch(lines[0])
    if match is None:
        raise ReadError(
            "wrong_format", "the first line is not that of a SNID template; leave --format out"
        )
    count, pixels, knots = (int(match[key]) for key in ("spectra", "pixels", "knots"))
    if len(lines) != 3 + knots + pixels:
        raise ReadError(
            "bad_content",
            f"the template has {len(lines)} lines instead of {3 + knots + pixels}; "
            "it is cut short or edited, fetch it again",
        )
    try:
        ages = np.array(lines[2 + knots].split(), dtype=np.float64)
        table = np.array([line.split() for line in lines[3 + knots :]], dtype=np.float64)
    except ValueError:
        ages, table = np.empty(0), np.empty((0, 0))
    if ages.size != count + 1 or table.shape != (pixels, count + 1):
        raise ReadError(
            "bad_content",
            f"the template does not hold {count} columns of numbers beside the wavelengths; "
            "fetch it again",
        )
    facts = {"TYPE": match["type"], "CONTINUUM": "divided"}
    if float(match["dm15"]) > _NO_DM15:
        facts["DM15"] = match["dm15"]
    for index in range(count):
        row = index if count > 1 else None
        flux = table[:, index + 1]
        empty = sentinel_pixels(flux)
        try:
            yield Spectrum(
                wavelength=table[:, 0],
                flux=flux + 1.0,
                # A column of zeros is padding all over.
                mask=empty if flux.any() else np.ones(flux.shape, dtype=bool),
                unit=options.unit or "angstrom",
                air=is_air(options, None),
                object=match["name"],
                redshift=0.0,
                header=facts | {"PHASE" if ages[0] == 0 else "AGE": float(ages[index + 1])},
                flags=(
                    *((flag.SENTINELS_MASKED,) if empty.any() else ()),
                    *air_flags(options, None),
                ),
                file=source.name,
                reader=NAME,
                row=row,
            )
        except ReadError as error:
            yield ReadError(error.code, error.message, row=row, object=match["name"])
