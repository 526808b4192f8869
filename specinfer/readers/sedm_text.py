"""SEDM spectra as text, from pysedm or with the header that Fritz adds to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers import sedm
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.columns import choose, is_variance, settle_noise
from specinfer.readers.fits_headers import is_air
from specinfer.readers.text_lines import has_rows, header_facts, header_lines, parse
from specinfer.spectrum import Spectrum

NAME = "sedm-text"
DESCRIPTION = "SEDM spec_*.txt of pysedm, or its copies on Fritz"


def identify(source: Source) -> bool:
    """Whether the file is rows of numbers under a header of SEDM."""
    return has_rows(source) and sedm.is_sedm(header_facts(header_lines(source)))


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The spectrum of the file, in vacuum.

    The wavelengths are rounded to 0.1 Angstrom, so the axis is taken from the header
    if that agrees, otherwise from a straight line. A third column is the variance, also
    where a line of names calls it an error, unless it is too large for a variance.

    Flags: ``AXIS_FROM_HEADER``, ``AXIS_FROM_STANDARD_GRID`` or ``AXIS_RELINEARISED``;
    ``VARIANCE_AS_ERROR`` if it was called an error; ``CONSTANT_VARIANCE`` if the
    variance says nothing about the pixels;
    ``NOISE_ALL_ZERO`` and ``NOISE_COPIES_FLUX`` if it is none.

    Raises
    ------
    ReadError
        ``no_numbers``, ``ragged_rows``, ``no_good_pixels``.
    """
    table = parse(source)
    wavelength, flux = table.values[:, 0], table.values[:, 1]
    sedm.refuse_empty(flux, table.header)
    flags: list[str] = []
    if options.unit is None:
        wavelength, flags = sedm.relinearised(wavelength, table.header)
    variance = table.values[:, 2] if table.values.shape[1] > 2 else None
    kind = "var" if variance is None else _stated_kind(table.names)
    if kind == "sigma" and variance is not None and is_variance(flux, variance):
        kind = "var"
        if options.noise is None:
            flags = [*flags, flag.VARIANCE_AS_ERROR]
    noise, noise_flags = settle_noise(flux, variance, kind, options)
    if variance is not None and np.any(variance > 0):
        flags = flags + sedm.variance_flags(variance)
    yield Spectrum(
        wavelength=wavelength,
        flux=flux,
        **noise,
        unit=options.unit or "angstrom",
        air=is_air(options, False),
        resolution=sedm.RESOLUTION,
        flags=(*flags, *noise_flags),
        **sedm.facts(source, NAME, table.header),
    )


def _stated_kind(names: tuple[str, ...]) -> str:
    """What the noise is by a line of names; the variance without any, as pysedm writes it."""
    layout = choose(names)
    return "var" if layout is None or layout.noise is None else layout.noise_kind
