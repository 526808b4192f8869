"""Spectra of the Carnegie Supernova Project as published: in the rest frame."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.columns import air_flags, sentinel_pixels
from specinfer.readers.fits_headers import is_air, number
from specinfer.readers.text_rows import facts, parse, phase
from specinfer.spectrum import Spectrum
from specinfer.wavelengths import to_angstrom

NAME = "csp"
DESCRIPTION = "Carnegie Supernova Project .dat: rest-frame wavelengths, moved to the redshift"


def identify(source: Source) -> bool:
    """Whether the header has the keys of CSP."""
    if not source.is_text or source.is_fits:
        return False
    head = source.head.lower()
    return b"#redshift:" in head and b"#jdate_of_observation:" in head


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The spectrum of the file at the redshift that its header states.

    Flags: ``REST_FRAME``, ``AIR_UNKNOWN``, ``SENTINELS_MASKED``.

    Raises
    ------
    ReadError
        ``no_redshift`` if the header does not say to which redshift the wavelengths
        were corrected, and what `specinfer.readers.text_rows.parse` raises.
    """
    rows = parse(source.text)
    known = facts(source, NAME, rows.keys)
    if known["redshift"] is None:
        raise ReadError(
            "no_redshift",
            "these wavelengths are in the rest frame and the header has no valid Redshift; "
            "add it, or use --format ascii to take them as they are",
        )
    for name, value in (("PHASE", phase(rows.keys)), ("JD_MAX", number(rows.keys, "JDATE_OF_MAX"))):
        if value is not None:
            known["header"][name] = value
    flux = rows.values[1]
    mask = sentinel_pixels(flux)
    flags = [flag.REST_FRAME, *air_flags(options, None)]
    rest = to_angstrom(rows.values[0], options.unit or "angstrom")
    yield Spectrum(
        wavelength=np.asarray(rest * (1.0 + known["redshift"])),
        flux=flux,
        mask=mask,
        air=is_air(options, None),
        flags=(*flags, flag.SENTINELS_MASKED) if mask.any() else tuple(flags),
        **known,
    )
