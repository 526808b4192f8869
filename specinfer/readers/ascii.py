"""Columns of numbers without names, under any header."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.columns import FloatArray, Layout, guess_noise, to_spectrum
from specinfer.readers.text_rows import count_columns, facts, parse, stated_air, stated_unit
from specinfer.spectrum import Spectrum

NAME = "ascii"
DESCRIPTION = "2-8 columns of numbers under any header: wavelength, flux, noise"

MAX_COLUMNS = 8


def identify(source: Source) -> bool:
    """Whether some line of a text holds two numbers."""
    return _is_leftover(source) or count_columns(source) > 0


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The spectrum of the file: the first two columns, and the noise if one fits.

    The noise has no name here. It is the third column, or the only one of several, that
    the scatter of the flux confirms; without confirmation it is left out.

    Flags: ``NOISE_GUESSED_SIGMA``, ``NOISE_GUESSED_VAR``, ``NOISE_GUESSED_IVAR``,
    ``NOISE_UNKNOWN``, and those of `specinfer.readers.columns`.

    Raises
    ------
    ReadError
        ``junk_file``, ``not_a_spectrum`` for more than eight columns, ``no_unit``, and
        what `specinfer.readers.text_rows.parse` raises.
    """
    if _is_leftover(source):
        raise ReadError(
            "junk_file",
            "this is what macOS leaves beside a file (._name), not a spectrum; "
            "give the file without ._",
        )
    rows = parse(source.text)
    # A comma at the end of every line makes a column of nothing.
    columns = [c for n, c in enumerate(rows.values) if n < 2 or not np.all(np.isnan(c))]
    count = len(columns)
    if count > MAX_COLUMNS:
        raise ReadError(
            "not_a_spectrum",
            f"{count} columns without names; write their names (wavelength, flux, error) "
            "above them",
        )
    column = _noise_column(columns[1], columns[2:], options)
    layout = Layout("0", "1", None if column is None else str(column), "unknown", None, None, None)
    yield to_spectrum(
        {str(number): values for number, values in enumerate(columns)},
        layout,
        options,
        known=facts(source, NAME, rows.keys),
        unit=stated_unit(rows),
        air=stated_air(rows),
        sentinels=True,
    )


def _noise_column(flux: FloatArray, others: list[FloatArray], options: ReadOptions) -> int | None:
    """Number of the column that is to be tested as noise, or None if there is none."""
    if len(others) == 0:
        return None
    if len(others) == 1 or options.noise is not None:
        return 2
    # The sky is a likely third column. It often looks like noise, so one must stand out.
    fitting = [
        number
        for number, values in enumerate(others, start=2)
        if guess_noise(np.where(flux == 0, np.nan, flux), values) is not None
    ]
    return fitting[0] if len(fitting) == 1 else len(others) + 1


def _is_leftover(source: Source) -> bool:
    return os.path.basename(source.name).startswith("._") and not source.is_fits
