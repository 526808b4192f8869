"""SEDM spectra as pysedm writes them in FITS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ReadError
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.fits_headers import (
    described,
    first_image,
    is_air,
    named,
    noise,
    number,
    shape,
    text,
)
from specinfer.spectrum import Spectrum

NAME = "sedm-fits"
DESCRIPTION = "SEDM spec_*.fits as pysedm writes them"

FloatArray = NDArray[np.float64]

RESOLUTION = 100.0
# The grid of the cubes, and how many pixels are cut at each end of a spectrum.
GRID = (3700.0, 9300.0, 220)
EDGE = 3
# Header facts that the pipeline's gates and the portal need.
KEPT = (
    *("OBJECT", "NAME", "OBJRA", "OBJDEC", "OBSDATE", "UTC", "REQ_ID", "RA_RATE", "DEC_RATE"),
    *("QUALITY", "POSOK", "SRCPOS", "PSFFWHM", "EXTRTYPE", "FLUXCAL", "CALSRC", "IMGTYPE"),
    *("PYSEDMV", "P60PRID", "JD"),
)


def identify(source: Source) -> bool:
    """Whether the main image is one spectrum and its header is SEDM's."""
    if not source.is_fits:
        return False
    hdu = first_image(source.hdus)
    if len(shape(hdu)) != 1:
        return False
    return str(text(hdu.header, "INSTRUME")).upper().startswith("SEDM") or any(
        text(hdu.header, key) is not None for key in ("PYSEDMV", "EXTRTYPE")
    )


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The spectrum of the file, in vacuum.

    pysedm 0.42 and later may write a CRVAL1 that is 76.7 Angstrom too blue. So the
    header's axis is used only if it fits the number of pixels; otherwise the text
    twin beside the file, otherwise the standard grid if the number of pixels is
    that of its cut edges.

    Flags: ``AXIS_FROM_TWIN``, ``AXIS_FROM_STANDARD_GRID``, ``AXIS_FROM_LBDA``,
    ``AXIS_LN`` if the axis is not the header's linear one; ``CONSTANT_VARIANCE`` if
    the variance says nothing about the pixels.

    Raises
    ------
    ReadError
        ``no_wavelengths`` if no axis can be trusted, ``no_good_pixels`` if the
        target was outside the field of the instrument.
    """
    hdu = first_image(source.hdus)
    header = hdu.header
    flux = np.asarray(hdu.data, dtype=np.float64)
    if not np.isfinite(flux).any():
        quality = number(header, "QUALITY")
        why = " (QUALITY 3: the target was outside the IFU)" if quality == 3 else ""
        raise ReadError("no_good_pixels", f"the flux is NaN everywhere{why}; extract it again")
    if options.unit is None:
        wavelength, flags = _axis(source, header, flux.size)
    else:
        wavelength, flags = _plain_axis(header, flux.size), []
    variance, sigma = named(source.hdus, "VARIANCE"), named(source.hdus, "ERROR")
    extension = variance or sigma
    errors = None if extension is None else np.asarray(extension.data, dtype=np.float64)
    if errors is not None and errors.shape != flux.shape:
        raise ReadError(
            "shape_mismatch",
            f"{extension.name} has {errors.size} pixels and the flux {flux.size}; "
            "the file is damaged, extract it again",
        )
    if variance is not None and errors is not None:
        known_errors = errors[np.isfinite(errors)]
        if known_errors.size and np.ptp(known_errors) == 0:
            flags.append("CONSTANT_VARIANCE")
    known = described(source, NAME, header, keep=KEPT)
    if known["object"] is not None:
        # "ZTF20abwdwoa [A]": the letter is the slot of the observing queue.
        known["object"] = re.sub(r"\s*\[\w\]$", "", known["object"])
    known["instrument"] = known["instrument"] or "SEDM-P60"
    yield Spectrum(
        wavelength=wavelength,
        flux=flux,
        **noise(errors, options.noise or ("var" if variance is not None else "sigma")),
        unit=options.unit or "angstrom",
        air=is_air(options, False),
        resolution=RESOLUTION,
        flags=tuple(flags),
        **known,
    )


def _axis(source: Source, header: Any, n: int) -> tuple[FloatArray, list[str]]:
    """The wavelengths that can be trusted, in Angstrom, and a flag that says whence."""
    start, step = number(header, "CRVAL1"), number(header, "CDELT1")
    extension = named(source.hdus, "LBDA")
    if start is None and extension is not None and shape(extension) == (n,):
        return np.asarray(extension.data, dtype=np.float64), ["AXIS_FROM_LBDA"]
    if start is not None and step is not None:
        if 0 < start < 50.0 and step > 0:
            return np.exp(_plain_axis(header, n)), ["AXIS_LN"]
        fits = n == GRID[2] or start >= 3750.0
        if 3600.0 < start < 4000.0 and 20.0 < step < 30.0 and fits:
            return _plain_axis(header, n), []
    twin = _twin_axis(source, n)
    if twin is not None:
        return twin, ["AXIS_FROM_TWIN"]
    grid = np.linspace(*GRID)
    if n == grid.size:
        return grid, ["AXIS_FROM_STANDARD_GRID"]
    if n == grid.size - 2 * EDGE:
        return grid[EDGE:-EDGE], ["AXIS_FROM_STANDARD_GRID"]
    raise ReadError(
        "no_wavelengths",
        f"the wavelengths of this SEDM file cannot be trusted (CRVAL1 {start}, CDELT1 {step}, "
        f"{n} pixels); put its .txt twin beside it",
    )


def _plain_axis(header: Any, n: int) -> FloatArray:
    """CRVAL1 at the first pixel: CRPIX1 and CTYPE1 are left over from the raw image."""
    start, step = number(header, "CRVAL1"), number(header, "CDELT1")
    if start is None or step is None:
        raise ReadError("no_wavelengths", "the header lacks CRVAL1 or CDELT1; leave --unit out")
    return start + step * np.arange(n, dtype=np.float64)


def _twin_axis(source: Source, n: int) -> FloatArray | None:
    """The axis of the text file of the same name, if it has as many pixels."""
    if source.path is None:
        return None
    name = source.path.name
    for ending in (".gz", ".bz2", ".xz", ".fz"):
        name = name.removesuffix(ending)
    twin = source.path.with_name(Path(name).with_suffix(".txt").name)
    try:
        lines = twin.read_text(encoding="latin-1").splitlines()
        rounded = [float(line.split()[0]) for line in lines if line.strip() and line[0] != "#"]
    except (OSError, ValueError):
        return None
    if len(rounded) != n or n < 2:
        return None
    # The text is rounded to 0.1 Angstrom, the axis is linear.
    pixel = np.arange(n)
    slope, start = np.polyfit(pixel, np.asarray(rounded), 1)
    axis = start + slope * pixel
    if slope <= 0 or np.max(np.abs(axis - rounded)) > 0.5:
        return None
    return np.asarray(axis)
