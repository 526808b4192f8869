"""SNID template files: all epochs of one supernova, continuum divided out."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.columns import air_flags
from specinfer.readers.fits_headers import is_air
from specinfer.spectrum import Spectrum

NAME = "snid-lnw"
DESCRIPTION = "SNID template .lnw: every epoch, flattened, in the rest frame"

# nspec nw w0 w1 nknots name deltam15 type itype istype
_FIRST = re.compile(
    r"\s*(\d+)\s+(\d+)\s+([\d.]+)\s+([\d.]+)\s+(\d+)\s+(\S+)\s+(-?[\d.]+)\s+(\S+)\s+-?\d+\s+-?\d+\s*"
)


def identify(source: Source) -> bool:
    """Whether the first line is that of a SNID template."""
    if not source.is_text:
        return False
    first = source.head.decode("latin-1").split("\n", 1)[0]
    return _FIRST.fullmatch(first) is not None


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """Every epoch of the template, with 1 added so that the continuum is 1.

    Zeros at the ends are padding and unusable. Templates are in the rest frame, so the
    redshift is 0. ``header`` has the type (``TYPE``) and the phase in days (``PHASE``).

    Flags: ``REST_FRAME``, ``AIR_UNKNOWN``.

    Raises
    ------
    ReadError
        ``truncated_file`` if pixels are missing.
    """
    lines = source.text.split("\n")
    first = _FIRST.fullmatch(lines[0])
    if first is None:
        raise ReadError(
            "wrong_format",
            "the first line is not that of a SNID template (nspec nw w0 w1 nknots name ...); "
            "leave --format out",
        )
    epochs, pixels, knots = (int(first.group(index)) for index in (1, 2, 5))
    # The first line, the numbers of knots, the knots.
    start = 2 + knots
    table = _numbers(lines[start : start + 1 + pixels], epochs + 1)
    if table.shape[0] != pixels + 1:
        raise ReadError(
            "truncated_file",
            f"{max(table.shape[0] - 1, 0)} of {pixels} pixels are there; fetch the file again",
        )
    phases, values = table[0, 1:], table[1:]
    for row in range(epochs):
        flux = values[:, row + 1]
        there = np.flatnonzero(flux)
        padding = np.ones(flux.size, dtype=bool)
        if there.size:
            padding[there[0] : there[-1] + 1] = False
        try:
            yield Spectrum(
                wavelength=values[:, 0],
                flux=flux + 1.0,
                mask=padding,
                unit=options.unit or "angstrom",
                air=is_air(options, None),
                object=first.group(6),
                redshift=0.0,
                header={
                    "TYPE": first.group(8),
                    "PHASE": float(phases[row]),
                    # 0: days from maximum light; otherwise from something else.
                    "PHASE_FLAG": int(table[0, 0]),
                },
                flags=(flag.REST_FRAME, *air_flags(options, None)),
                file=source.name,
                row=row,
                reader=NAME,
            )
        except ReadError as error:
            yield ReadError(error.code, error.message, row=row, object=first.group(6))


def _numbers(lines: list[str], columns: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Rows of this many numbers, up to the first line that is something else."""
    rows = []
    for line in lines:
        try:
            row = [float(field) for field in line.split()]
        except ValueError:
            break
        if len(row) != columns:
            break
        rows.append(row)
    return np.array(rows, dtype=np.float64).reshape(len(rows), columns)
