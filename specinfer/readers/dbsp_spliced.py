"""DBSP_DRP files of the Palomar double spectrograph: the spliced spectrum."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.fits_headers import (
    columns,
    described,
    is_air,
    named,
    noise,
    text,
    vector,
)
from specinfer.spectrum import Spectrum

NAME = "dbsp-spliced"
DESCRIPTION = "DBSP_DRP: the spliced red and blue arms"


def identify(source: Source) -> bool:
    """Whether the HDU SPLICED is a table with wave and flux."""
    if not source.is_fits:
        return False
    return {"wave", "flux"} <= columns(named(source.hdus, "SPLICED")).keys()


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The spliced spectrum, in vacuum; the raw arms before it are not read.

    NaN at the dichroic becomes pixels without weight.
    """
    hdu = named(source.hdus, "SPLICED")
    names = columns(hdu)
    wavelength = vector(hdu, names["wave"])
    there = np.isfinite(wavelength) & (wavelength > 0)
    kind = "sigma" if "sigma" in names else "ivar" if "ivar" in names else "none"
    errors = None if kind == "none" else vector(hdu, names[kind])[there]
    # The primary may be empty: the arms carry the headers of their exposures.
    headers = [other.header for other in source.hdus]
    known = described(source, NAME, *headers, keep=("DBSP_VER", "PYP_SPEC"))
    known["object"] = text(source.hdus[0].header, "TARGET", "OBJECT") or known["object"]
    known["instrument"] = known["instrument"] or "DBSP"
    yield Spectrum(
        wavelength=wavelength[there],
        flux=vector(hdu, names["flux"])[there],
        **noise(errors, options.noise or kind),
        unit=options.unit or "angstrom",
        air=is_air(options, False),
        **known,
    )
