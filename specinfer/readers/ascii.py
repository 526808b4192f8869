"""Texts of two to eight columns of numbers, under any header."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.columns import (
    FloatArray,
    Layout,
    choose,
    guess_noise,
    sentinel_pixels,
    to_spectrum,
)
from specinfer.readers.text_lines import described_text, has_rows, parse
from specinfer.spectrum import Spectrum

NAME = "ascii"
DESCRIPTION = "text with columns of wavelength, flux and (optionally) noise"

_MOST_COLUMNS = 8


def identify(source: Source) -> bool:
    """Whether the file is text with rows of numbers, or the junk that macOS leaves."""
    return has_rows(source) or _is_junk(source)


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The spectrum of the file.

    Without names the columns are wavelength, flux and perhaps noise: which column is
    noise and of what kind is tested against the scatter of the flux, and left out if
    none fits.

    Flags: those of `specinfer.readers.columns`.

    Raises
    ------
    ReadError
        ``junk_file``, ``no_numbers``, ``ragged_rows``, ``too_many_columns``, ``no_unit``.
    """
    if _is_junk(source):
        raise ReadError(
            "junk_file",
            "macOS leaves ._ files like this one beside the real ones; "
            "give the file without ._ in its name",
        )
    table = parse(source)
    if table.names:
        layout = choose(table.names)
        assert layout is not None  # parse gives only names that can be chosen from
        pixels = table.columns
    else:
        layout, pixels = _nameless(table.values, options)
    yield to_spectrum(
        pixels,
        layout,
        options,
        known=described_text(source, NAME, table.header),
        unit=table.unit,
        air=layout.air if layout.air is not None else table.air,
        sentinels=True,
    )


def _is_junk(source: Source) -> bool:
    """Whether it is an AppleDouble file, by its name."""
    return PurePath(source.name).name.startswith("._") and not source.is_fits


def _nameless(values: FloatArray, options: ReadOptions) -> tuple[Layout, dict[str, FloatArray]]:
    """Layout of columns without names: wavelength, flux, and the first that can be noise."""
    n = values.shape[1]
    if n > _MOST_COLUMNS:
        raise ReadError(
            "too_many_columns",
            f"the rows have {n} numbers and no names; keep wavelength, flux and noise, "
            "or write a line of column names above them",
        )
    pixels = {str(index): values[:, index] for index in range(n)}
    flux = np.where(sentinel_pixels(pixels["1"]), np.nan, pixels["1"])
    others = [str(index) for index in range(2, n)]
    fitting = (name for name in others if guess_noise(flux, pixels[name]) is not None)
    chosen = next(iter(others), None) if options.noise else next(fitting, None)
    # If none fits the first of them is asked again, so that the flag says why.
    noise = chosen or next(iter(others), None)
    kind = "none" if noise is None else "unknown"
    return Layout("0", "1", noise, kind, None, None, None), pixels
