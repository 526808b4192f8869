"""FITS images of spectra with the axis in the header: IRAF, and whatever imitates it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.fits_headers import (
    described,
    first_image,
    is_air,
    linear_axis,
    named,
    noise,
    number,
    says_air,
    shape,
    text,
)
from specinfer.readers.iraf_multispec import dispersion, multispec
from specinfer.spectrum import Spectrum
from specinfer.wavelengths import is_wavelength_unit

NAME = "iraf"
DESCRIPTION = "FITS spectra with the axis in the header: IRAF 1-D, bands, multispec"

FloatArray = NDArray[np.float64]

# Extensions that hold the noise, by what they hold.
_NOISE = {
    "var": ("VARIANCE", "VAR"),
    "sigma": ("ERROR", "ERR", "ERRS", "ERRORS", "SIGMA", "UNCERT", "STDDEV", "NOISE"),
    "ivar": ("IVAR",),
}
_WAVELENGTHS = ("WAVELENGTH", "WAVE", "LAMBDA", "LBDA")
# Axes that are spectral but not wavelengths.
_OTHER_AXES = ("FREQ", "ENER", "VELO", "VRAD", "VOPT", "ZOPT", "BETA", "WAVN")
# Rows of an image that has a dispersion but no list of apertures.
MAX_PLAIN_ROWS = 10


@dataclass(frozen=True)
class _Axis:
    """Wavelengths (n,), their unit, whether the file says air, and what was decided."""

    values: FloatArray
    unit: str
    air: bool | None
    flags: tuple[str, ...] = ()


def identify(source: Source) -> bool:
    """Whether the file holds an image at all: this is the last FITS reader to be asked."""
    return source.is_fits and _image(source) is not None


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The spectra of the image: one, or one an aperture.

    The axis is linear, or logarithmic if DC-FLAG is 1 or the values are too small
    for Angstrom; multispec images have one a row. Bands (BANDIDn) are not apertures:
    the first is the flux, the one called sigma the errors.

    Flags: ``AXIS_LOG10`` and ``AXIS_LN`` for logarithmic axes, ``AIR_FROM_HEADER``,
    ``AIR_UNKNOWN`` if the file says neither air nor vacuum (then they are taken as
    vacuum), ``NOISE_GUESSED_SIGMA`` if the last of four nameless bands is taken for
    the errors.

    Raises
    ------
    ReadError
        ``not_a_spectrum`` for images and cubes, ``no_wavelengths`` without an axis,
        ``no_unit`` if the unit is neither given nor plain.
    """
    hdu = _image(source)
    if hdu is None:
        raise ReadError("not_a_spectrum", "the FITS file holds no image; leave --format out")
    header = hdu.header
    cube = _cube(hdu)
    bands = _bands(header, cube.shape[0])
    extension, kind, noise_flags = _noise(source, hdu, cube, bands)
    kind = options.noise or kind
    rows = cube.shape[1]
    dispersions = multispec(header) if _is_multispec(header) else {}
    known = described(source, NAME, header, keep=("DC-FLAG", "VHELIO", "APNUM1", "GRATING"))
    for row in range(rows):
        name = known["object"]
        if rows > 1:
            name = text(header, f"APID{row + 1}") or (
                f"{name} aperture {row + 1}" if name else None
            )
        try:
            axis = _axis(source, hdu, cube.shape[2], dispersions.get(row + 1), options)
            # A row of a multispec image may be shorter than the image.
            there = np.isfinite(axis.values)
            errors = None if extension is None else extension[row][there]
            spectrum = Spectrum(
                wavelength=axis.values[there],
                flux=cube[bands["flux"], row][there],
                **noise(errors, kind),
                unit=axis.unit,
                air=is_air(options, axis.air),
                flags=(*axis.flags, *noise_flags),
                row=row if rows > 1 else None,
                **(known | {"object": name}),
            )
        except ReadError as error:
            if rows == 1:
                raise
            yield ReadError(error.code, error.message, row=row, object=name)
        else:
            yield spectrum


def _image(source: Source) -> Any:
    """The first HDU with an image, primary or extension."""
    main = first_image(source.hdus)
    if shape(main):
        return main
    return next((hdu for hdu in source.hdus if shape(hdu)), None)


def _is_multispec(header: Any) -> bool:
    return "multispec" in str(text(header, "WAT0_001", "CTYPE1")).lower() or (
        str(text(header, "CTYPE1")).upper().startswith("MULTISPE")
    )


def _cube(hdu: Any) -> NDArray[Any]:
    """The data as (bands, apertures, n); an error if they are an image or a cube."""
    header, dims = hdu.header, shape(hdu)
    if max(dims) == dims[-1] and all(size == 1 for size in dims[:-1]):
        return np.asarray(hdu.data).reshape(1, 1, -1)
    listed = (
        _is_multispec(header)
        or "equispec" in str(text(header, "WAT0_001")).lower()
        or any(text(header, key) is not None for key in ("BANDID1", "APNUM1", "APID1"))
        or (number(header, "DC-FLAG") is not None and dims[-2] <= MAX_PLAIN_ROWS)
    )
    if len(dims) > 3 or not listed:
        what = "an image" if len(dims) == 2 else "a cube"
        raise ReadError(
            "not_a_spectrum",
            f"the FITS file holds {what} of {' x '.join(str(size) for size in reversed(dims))} "
            "pixels, not a spectrum; extract a spectrum first",
        )
    data = np.asarray(hdu.data)
    if len(dims) == 3:
        return data
    # Two dimensions: bands of one aperture if they are called so, else apertures.
    if text(header, f"BANDID{dims[0]}") is not None:
        return data[:, np.newaxis, :]
    return data[np.newaxis, :, :]


def _bands(header: Any, count: int) -> Mapping[str, int]:
    """Which band is the flux, and which the errors (by name, or the last of four)."""
    names = [str(text(header, f"BANDID{band + 1}") or "").lower() for band in range(count)]
    found = {"flux": 0}
    for band, name in enumerate(names[1:], start=1):
        if "sigma" in name or "error" in name:
            found["sigma"] = band
    if not any(names) and count == 4:
        # IRAF's apall: optimal, plain, sky, sigma.
        found["guessed"] = 3
    return found


def _noise(
    source: Source, hdu: Any, cube: NDArray[Any], bands: Mapping[str, int]
) -> tuple[NDArray[Any] | None, str, tuple[str, ...]]:
    """Noise of each aperture (apertures, n), what it is, and flags."""
    for name, flags in (("sigma", ()), ("guessed", ("NOISE_GUESSED_SIGMA",))):
        if name in bands:
            return cube[bands[name]], "sigma", flags
    for kind, names in _NOISE.items():
        extension = named(source.hdus, *names)
        if extension is not None and extension is not hdu and shape(extension) == shape(hdu):
            return np.asarray(extension.data).reshape(cube.shape[1:]), kind, ()
    return None, "none", ()


def _axis(
    source: Source, hdu: Any, n: int, row_dispersion: str | None, options: ReadOptions
) -> _Axis:
    header = hdu.header
    ctype = str(text(header, "CTYPE1") or "").upper()
    if ctype.startswith(_OTHER_AXES):
        raise ReadError(
            "no_wavelengths",
            f"the axis is {ctype}, not a wavelength; convert it to wavelengths first",
        )
    air = says_air(header)
    flags: tuple[str, ...] = ()
    if options.air is None and air is not False:
        flags = (flag.AIR_FROM_HEADER,) if air else (flag.AIR_UNKNOWN,)
    unit = options.unit or _unit(header)
    extension = named(source.hdus, *_WAVELENGTHS)
    if row_dispersion is not None:
        values = dispersion(row_dispersion, n)
        return _Axis(values, unit or _plain_unit(values), air, flags)
    if extension is not None and shape(extension) in ((n,), (1, n)):
        values = np.asarray(extension.data, dtype=np.float64).reshape(-1)
        unit = options.unit or text(extension.header, "BUNIT", "CUNIT1") or unit
    else:
        found = linear_axis(header, n)
        if found is None or number(header, "DC-FLAG") == -1:
            raise ReadError(
                "no_wavelengths",
                "the header gives no wavelengths (CRVAL1 with CDELT1 or CD1_1); "
                "calibrate the spectrum in wavelength first",
            )
        values = found
    if options.unit is not None:
        return _Axis(values, options.unit, air, flags)
    start, last = float(np.nanmin(values)), float(np.nanmax(values))
    if ctype.endswith("-LOG") and start > 50.0:
        # FITS Paper III (Greisen et al. 2006): the reference value is a wavelength.
        reference = number(header, "CRVAL1") or start
        values = reference * np.exp((values - reference) / reference)
    elif start > 0 and last < 5.0 and unit not in ("um", "micron"):
        # No wavelength in Angstrom or nm is that small, whatever the unit card says.
        return _Axis(values, "log10", air, (*flags, "AXIS_LOG10"))
    elif start > 5.0 and last < 12.0:
        return _Axis(values, "ln", air, (*flags, "AXIS_LN"))
    return _Axis(values, unit or _plain_unit(values), air, flags)


def _unit(header: Any) -> str | None:
    """Unit of the axis by CUNIT1 or IRAF's WAT1, if it is one of wavelength."""
    unit = text(header, "CUNIT1")
    if unit is None:
        found = re.search(r"units\s*=\s*([\w.]+)", str(text(header, "WAT1_001") or ""))
        unit = found.group(1) if found else None
    return unit if unit is not None and is_wavelength_unit(unit) else None


def _plain_unit(values: FloatArray) -> str:
    """Angstrom if the values leave no doubt; no unit is guessed from doubtful ones."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if high > 1500.0 and low > 500.0:
        return "angstrom"
    raise ReadError(
        "no_unit",
        f"the wavelengths run from {low:.6g} to {high:.6g} and the header gives no unit; "
        "say which with --unit angstrom, nm or um",
    )
