"""SEDM spectra as pysedm writes them in FITS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers import sedm
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.fits_headers import first_image, is_air, named, noise, number, shape
from specinfer.spectrum import Spectrum

NAME = "sedm-fits"
DESCRIPTION = "SEDM spec_*.fits as pysedm writes them"

FloatArray = NDArray[np.float64]


def identify(source: Source) -> bool:
    """Whether the main image is one spectrum and its header is SEDM's."""
    if not source.is_fits:
        return False
    hdu = first_image(_hdus(source))
    if len(shape(hdu)) != 1:
        return False
    return sedm.is_sedm(hdu.header)


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
    hdus = _hdus(source)
    hdu = first_image(hdus)
    header = hdu.header
    flux = np.asarray(hdu.data, dtype=np.float64)
    sedm.refuse_empty(flux, header)
    if options.unit is None:
        wavelength, flags = _axis(source, header, flux.size)
    else:
        wavelength, flags = _plain_axis(header, flux.size), []
    variance, sigma = named(hdus, "VARIANCE"), named(hdus, "ERROR")
    extension = variance or sigma
    errors = None if extension is None else np.asarray(extension.data, dtype=np.float64)
    if errors is not None and errors.shape != flux.shape:
        raise ReadError(
            "shape_mismatch",
            f"{extension.name} has {errors.size} pixels and the flux {flux.size}; "
            "the file is damaged, extract it again",
        )
    if variance is not None and errors is not None:
        flags += sedm.variance_flags(errors)
    yield Spectrum(
        wavelength=wavelength,
        flux=flux,
        **noise(errors, options.noise or ("var" if variance is not None else "sigma")),
        unit=options.unit or "angstrom",
        air=is_air(options, False),
        resolution=sedm.RESOLUTION,
        flags=tuple(flags),
        **sedm.facts(source, NAME, header),
    )


def _hdus(source: Source) -> Any:
    """What is in the file, without astropy if it is as plain as the pipeline writes it."""
    return source.plain_images or source.hdus


def _axis(source: Source, header: Any, n: int) -> tuple[FloatArray, list[str]]:
    """The wavelengths that can be trusted, in Angstrom, and a flag that says whence."""
    extension = named(_hdus(source), "LBDA")
    if number(header, "CRVAL1") is None and extension is not None and shape(extension) == (n,):
        return np.asarray(extension.data, dtype=np.float64), [flag.AXIS_FROM_LBDA]
    trusted = sedm.trusted_header_axis(header, n)
    if trusted is not None:
        return trusted
    twin = _twin_axis(source, n)
    if twin is not None:
        return twin, [flag.AXIS_FROM_TWIN]
    grid = sedm.standard_axis(n)
    if grid is not None:
        return grid, [flag.AXIS_FROM_STANDARD_GRID]
    start, step = number(header, "CRVAL1"), number(header, "CDELT1")
    raise ReadError(
        "no_wavelengths",
        f"the wavelengths of this SEDM file cannot be trusted (CRVAL1 {start}, CDELT1 {step}, "
        f"{n} pixels); put its .txt twin beside it",
    )


def _plain_axis(header: Any, n: int) -> FloatArray:
    """The axis of the header, whose unit the user knows better."""
    axis = sedm.header_axis(header, n)
    if axis is None:
        raise ReadError("no_wavelengths", "the header lacks CRVAL1 or CDELT1; leave --unit out")
    return axis


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
    if len(rounded) != n:
        return None
    axis, flags = sedm.relinearised(np.asarray(rounded))
    return axis if flags and axis[-1] > axis[0] else None
