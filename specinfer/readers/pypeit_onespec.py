"""PypeIt OneSpec files: the co-added spectrum of ``pypeit_coadd_1dspec`` (NGPS, DBSP...)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.fits_headers import columns, described, is_air, noise, text, vector
from specinfer.spectrum import Spectrum

NAME = "pypeit-onespec"
DESCRIPTION = "PypeIt OneSpec: the co-added spectrum of one object or channel"

KEPT = ("PYP_SPEC", "VERSPYP", "DISPNAME", "DECKER", "FLUXED", "EXT_MODE")


def identify(source: Source) -> bool:
    """Whether a table says DMODCLS OneSpec, or a PypeIt file has one with wave and flux."""
    return source.is_fits and _table(source) is not None


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The spectrum of the file, in vacuum; several channels are joined with `join`.

    Mask 1 is good. Pixels with wavelength 0 are padding and are left out.
    Flags: ``NOT_FLUX_CALIBRATED`` if the flux is in counts.
    """
    hdu = _table(source)
    names = columns(hdu)
    wavelength = vector(hdu, names["wave"])
    there = np.isfinite(wavelength) & (wavelength > 0)
    kind = "ivar" if "ivar" in names else "sigma" if "sigma" in names else "none"
    errors = None if kind == "none" else vector(hdu, names[kind])[there]
    bad = None if "mask" not in names else ~(vector(hdu, names["mask"])[there] > 0)
    known = described(source, NAME, source.hdus[0].header, hdu.header, keep=KEPT)
    known["object"] = text(source.hdus[0].header, "TARGET", "OBJECT") or known["object"]
    yield Spectrum(
        wavelength=wavelength[there],
        flux=vector(hdu, names["flux"])[there],
        **noise(errors, options.noise or kind),
        mask=bad,
        unit=options.unit or "angstrom",
        air=is_air(options, False),
        flags=(flag.NOT_FLUX_CALIBRATED,) if known["header"].get("FLUXED") is False else (),
        **known,
    )


def _table(source: Source) -> Any:
    pypeit = text(source.hdus[0].header, "VERSPYP") is not None
    for hdu in source.hdus[1:]:
        if not {"wave", "flux"} <= columns(hdu).keys():
            continue
        if text(hdu.header, "DMODCLS") == "OneSpec" or (pypeit and hdu.name == "SPECTRUM"):
            return hdu
    return None
