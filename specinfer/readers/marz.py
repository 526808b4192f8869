"""2dF, AAOmega and OzDES files in the layout of Marz: many fibres of one field.

Layout: Hinton et al. 2016, Astronomy and Computing 15, 61, and the Marz manual.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.fits_headers import (
    card,
    columns,
    described,
    first_image,
    is_air,
    linear_axis,
    named,
    noise,
    plain,
    shape,
    switch,
)
from specinfer.spectrum import Spectrum

NAME = "marz"
DESCRIPTION = "2dF, AAOmega and OzDES: VARIANCE and FIBRES beside the spectra (Marz)"

FloatArray = NDArray[np.float64]

# Columns of the fibre table that are kept with each spectrum.
KEPT = ("TYPE", "RA", "DEC", "MAGNITUDE", "COMMENT", "PID")
# Cards about the velocity frame: recorded, not applied.
FRAME = ("VACUUM", "DO_HELIO", "DO_CMB", "HELIO", "CMB", "LOGSCALE", "EXPOSED")


def identify(source: Source) -> bool:
    """Whether the file has spectra, a VARIANCE image of the same shape, and FIBRES."""
    if not source.is_fits:
        return False
    main, variance = _main(source), named(source.hdus, "VARIANCE")
    fibres = named(source.hdus, "FIBRES", "FIBERS")
    return len(shape(main)) in (1, 2) and shape(variance) == shape(main) and bool(columns(fibres))


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The fibres that were on a target; sky and parked fibres only on demand.

    The extension WAVELENGTH wins over the header's axis, whose CRPIX1 is
    mid-spectrum. LOGSCALE means log10. A file without VACUUM is in air, and is
    converted (flag ``AIR_ASSUMED``). Heliocentric and CMB corrections are recorded
    in the header, not applied.
    """
    main = _main(source)
    flux = np.atleast_2d(main.data)
    variance = np.atleast_2d(named(source.hdus, "VARIANCE").data)
    header = main.header
    waves, unit = _wavelengths(source, main, flux.shape)
    vacuum = switch(header, "VACUUM")
    air = is_air(options, not vacuum)
    known = described(source, NAME, header, keep=(*FRAME, "SPECTID", "GRATID"))
    field = known["object"]
    fibres = _fibres(source, flux.shape[0])
    for row in range(flux.shape[0]):
        fibre = {key: plain(column[row]) for key, column in fibres.items()}
        kind = str(fibre.get("TYPE") or "P").strip().upper()
        if kind != "P" and not options.sky:
            continue
        name = fibre.pop("NAME", None) or (f"{field} fibre {row + 1}" if field else None)
        facts = known["header"] | {k: v for k, v in fibre.items() if v is not None}
        facts |= {"FIELD": field} if field else {}
        for key in ("RA", "DEC"):
            # Of this fibre, in radians.
            if key in fibre and fibre[key] is not None:
                facts[key] = float(np.degrees(fibre[key]))
        try:
            yield Spectrum(
                wavelength=waves[row if len(waves) > 1 else 0],
                flux=flux[row],
                **noise(variance[row], options.noise or "var"),
                unit=options.unit or unit,
                air=air,
                row=row,
                rows=flux.shape[0],
                flags=(flag.AIR_ASSUMED,) if air and vacuum is None and options.air is None else (),
                **(known | {"object": name, "header": facts}),
            )
        except ReadError as error:
            yield ReadError(error.code, error.message, row=row, object=name)


def _main(source: Source) -> Any:
    """The HDU with the spectra: INTENSITY where it is named, else the primary."""
    return named(source.hdus, "INTENSITY", "INTENS", "FLUX") or first_image(source.hdus)


def _wavelengths(source: Source, main: Any, rows: tuple[int, ...]) -> tuple[FloatArray, str]:
    """Wavelengths, shape (1 or rows, n), and their unit."""
    hdu = named(source.hdus, "WAVELENGTH", "WAVE")
    header = main.header
    if hdu is not None:
        waves = np.atleast_2d(np.asarray(hdu.data, dtype=np.float64))
        if waves.shape[1] != rows[1] or waves.shape[0] not in (1, rows[0]):
            raise ReadError(
                "shape_mismatch",
                f"WAVELENGTH has shape {waves.shape} but the spectra have {rows}; "
                "the file is damaged, fetch it again",
            )
    else:
        axis = linear_axis(header, rows[1])
        if axis is None:
            raise ReadError(
                "no_wavelengths",
                "neither a WAVELENGTH extension nor CRVAL1 and CDELT1 give the wavelengths; "
                "the header is incomplete",
            )
        waves = axis[np.newaxis]
    # An axis that ends below 10 cannot be in Angstrom or nm.
    if switch(header, "LOGSCALE") or float(np.nanmax(waves)) < 10.0:
        return waves, "log10"
    return waves, str(card(header, "CUNIT1") or "angstrom")


def _fibres(source: Source, rows: int) -> dict[str, Any]:
    """The kept columns of the fibre table, by upper-case name."""
    hdu = named(source.hdus, "FIBRES", "FIBERS")
    if hdu is None or hdu.header["NAXIS2"] != rows:
        return {}
    names, table = columns(hdu), hdu.data
    return {key: table[names[key.lower()]] for key in ("NAME", *KEPT) if key.lower() in names}
