"""FITS tables that call their columns wavelength and flux, whoever wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ReadError
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.fits_headers import (
    columns,
    described,
    first,
    is_air,
    noise,
    plain,
    says_air,
    text,
)
from specinfer.spectrum import Spectrum

NAME = "table-fits"
DESCRIPTION = "FITS table with columns of wavelength, flux and (optionally) noise"

FloatArray = NDArray[np.float64]

# Names are compared in lower case without their unit. They are whole names: a fibre
# map has FLUX_G and LAMBDA_REF, and is no spectrum.
_LINEAR = (
    *("wavelength", "wavelengths", "wave", "waves", "lambda", "lambdas", "lam", "wl", "wvl"),
    *("wav", "obs_wave", "wave_obs", "wavelength_obs", "lambda_obs"),
    *("wave_vac", "wavelength_vac", "lambda_vac", "lam_vac", "vacuum_wavelength"),
    *("wave_air", "wavelength_air", "lambda_air", "lam_air", "air_wavelength"),
)
_LOG10 = ("loglam", "log_lam", "loglambda", "log_lambda", "log10_lambda", "logwave", "log_wave")
_LN = ("lnlam", "ln_lam", "lnwave", "ln_wave", "ln_lambda")
_FLUX = (
    *("flux", "fluxes", "flam", "f_lambda", "flambda", "flux_lambda", "flux_density"),
    *("fluxdensity", "flux_opt", "spec", "spectrum", "intensity", "flux_calibrated"),
    *("calibrated_flux", "flux_reduced", "counts"),
)
_NOISE = {
    "ivar": ("ivar", "flux_ivar", "inv_var", "invvar", "inverse_variance", "ivar_flux"),
    "var": ("var", "variance", "flux_var", "flux_variance", "variances"),
    "sigma": (
        *("sigma", "sig", "err", "error", "errors", "fluxerr", "flux_err", "flux_error", "eflux"),
        *("e_flux", "err_flux", "error_flux", "dflux", "unc", "uncertainty", "flux_unc"),
        *("flux_uncertainty", "std", "stddev", "flux_std", "flux_sigma", "flux_sig", "noise"),
        *("sigma_flux", "fluxerror", "err_reduced"),
    ),
}
# Non-zero is bad in all but the last.
_MASKS = ("mask", "qual", "quality", "dq", "flag", "flags", "bad", "and_mask", "andmask", "good")
_OBJECTS = ("object", "objname", "name", "target", "targetid", "objid", "source_id", "id")
# Of several tables, one of these is the final spectrum.
_FINAL = ("SPECTRUM", "COADD", "SPLICED", "COMBINED", "FINAL")
_SUFFIX = re.compile(r"(?:[\s_]+|\s*[\[(])(angstroms?|ang|aa|a|nm|um|microns?)[\])]?$")


@dataclass(frozen=True, eq=False)
class _Layout:
    """A table, the columns in it, and what the noise column holds."""

    hdu: Any
    wave: str
    flux: str
    noise: str | None
    noise_kind: str
    mask: str | None
    unit: str | None
    several: bool = False


def identify(source: Source) -> bool:
    """Whether a table has a column of wavelengths and one of fluxes."""
    return source.is_fits and _layout(source) is not None


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The spectrum of the table, or one a row if its columns hold vectors.

    The unit of the wavelengths is that of TUNIT, of the column's name, or of the
    header; without any, values above 1500 are Angstrom and others an error. The
    noise is what its name says. Mask columns mark bad pixels, unless most pixels
    are marked.

    Flags: ``AIR_FROM_HEADER``, ``AIR_UNKNOWN``, ``MASK_ONE_IS_GOOD`` if the mask was
    taken the other way round, ``FIRST_OF_SEVERAL_TABLES``.

    Raises
    ------
    ReadError
        ``no_unit``, or ``compressed_table`` for tables that fpack compressed.
    """
    layout = _layout(source)
    if layout is None:
        raise ReadError(
            "wrong_format",
            "no table of the file has a column of wavelengths and one of fluxes; "
            "rename them to wavelength and flux, or leave --format out",
        )
    hdu = layout.hdu
    if hdu.header.get("ZTABLE", False):
        raise ReadError(
            "compressed_table", "the table is compressed by fpack; run funpack on the file first"
        )
    known = described(source, NAME, source.hdus[0].header, hdu.header)
    known["header"]["TABLE"] = hdu.name
    air = _air(source, layout)
    flags = _flags(layout, air, options)
    for row, pixels in _rows(layout):
        name = known["object"] if row is None else _object(hdu, row) or known["object"]
        try:
            spectrum = _spectrum(layout, pixels, options, air, flags, known | {"object": name}, row)
        except ReadError as error:
            if row is None:
                raise
            yield ReadError(error.code, error.message, row=row, object=name)
        else:
            yield spectrum


def _layout(source: Source) -> _Layout | None:
    found = []
    for hdu in source.hdus[1:]:
        names: dict[str, str] = {}
        for key, name in columns(hdu, packed=True).items():
            names.setdefault(_bare(key)[0], name)
        wave = _pick(names, (*_LINEAR, *_LOG10, *_LN))
        flux = _pick(names, _FLUX)
        if wave is None or flux is None:
            continue
        kinds = ((kind, _pick(names, wanted)) for kind, wanted in _NOISE.items())
        kind, column = next(((k, c) for k, c in kinds if c is not None), ("none", None))
        unit = _column_unit(hdu, wave)
        found.append(_Layout(hdu, wave, flux, column, kind, _pick(names, _MASKS), unit))
    if not found:
        return None
    chosen = next((layout for layout in found if layout.hdu.name in _FINAL), None)
    if chosen is not None or len(found) == 1:
        return chosen or found[0]
    return _Layout(**{**found[0].__dict__, "several": True})


def _bare(name: str) -> tuple[str, str | None]:
    """A column name without its unit, and the unit: ``wavelength [nm]``, ``lam_aa``."""
    match = _SUFFIX.search(name)
    if match is None or match.start() == 0:
        return name, None
    return name[: match.start()], match.group(1)


def _pick(names: Mapping[str, str], wanted: tuple[str, ...]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _column_unit(hdu: Any, column: str) -> str | None:
    """The unit that the name or TUNIT of the wavelength column states."""
    bare, suffix = _bare(column.lower())
    if bare in _LOG10:
        return "log10"
    if bare in _LN:
        return "ln"
    return _keyword(hdu, column, "TUNIT") or suffix


def _keyword(hdu: Any, column: str, keyword: str) -> str | None:
    for index in range(1, int(hdu.header["TFIELDS"]) + 1):
        if text(hdu.header, f"TTYPE{index}") == column:
            return text(hdu.header, f"{keyword}{index}")
    return None


def _air(source: Source, layout: _Layout) -> bool | None:
    """True for air, False for vacuum, None if nothing says."""
    name = _bare(layout.wave.lower())[0]
    if "obs.atmos" in str(_keyword(layout.hdu, layout.wave, "TUCD")).lower():
        return True
    if "air" in name or "vac" in name:
        return "air" in name
    said: bool | None = first(says_air(hdu.header) for hdu in (layout.hdu, source.hdus[0]))
    return said


def _flags(layout: _Layout, air: bool | None, options: ReadOptions) -> list[str]:
    flags = ["FIRST_OF_SEVERAL_TABLES"] if layout.several else []
    if options.air is None and air is not False:
        flags.append("AIR_FROM_HEADER" if air else "AIR_UNKNOWN")
    return flags


def _rows(layout: _Layout) -> Iterator[tuple[int | None, dict[str, Any]]]:
    """Arrays of each spectrum by column: all rows of scalars, or one row of vectors each."""
    table = layout.hdu.data
    wanted = [
        name for name in (layout.wave, layout.flux, layout.noise, layout.mask) if name is not None
    ]
    if np.ndim(table[layout.flux]) == 1 and table[layout.flux].dtype != object:
        yield None, {name: np.asarray(table[name]) for name in wanted}
        return
    for row in range(len(table)):
        yield (
            row if len(table) > 1 else None,
            {name: np.atleast_1d(np.asarray(table[name][row])) for name in wanted},
        )


def _object(hdu: Any, row: int) -> str | None:
    names = columns(hdu)
    for key in _OBJECTS:
        if key in names and (value := plain(hdu.data[names[key]][row])) is not None:
            return str(value)
    return None


def _spectrum(
    layout: _Layout,
    pixels: Mapping[str, Any],
    options: ReadOptions,
    air: bool | None,
    flags: list[str],
    known: Mapping[str, Any],
    row: int | None,
) -> Spectrum:
    wavelength = np.asarray(pixels[layout.wave], dtype=np.float64)
    # Vectors of fixed length are padded with zeros or NaN.
    there = np.isfinite(wavelength) & (wavelength > 0)
    flags = list(flags)
    mask = None
    if layout.mask is not None:
        marked = np.asarray(pixels[layout.mask])[there]
        mask = ~(marked > 0) if layout.mask.lower() == "good" else marked != 0
        # A mask that marks most pixels marks the good ones, as PypeIt's does.
        if mask.mean() > 0.5 and not mask.all():
            mask = ~mask
            flags.append("MASK_ONE_IS_GOOD")
    errors = None
    if layout.noise is not None:
        errors = np.asarray(pixels[layout.noise], dtype=np.float64)[there]
    return Spectrum(
        wavelength=wavelength[there],
        flux=np.asarray(pixels[layout.flux], dtype=np.float64)[there],
        **noise(errors, options.noise or layout.noise_kind),
        mask=mask,
        unit=options.unit or layout.unit or _plain_unit(layout, wavelength[there]),
        air=is_air(options, air),
        flags=tuple(flags),
        row=row,
        **known,
    )


def _plain_unit(layout: _Layout, wavelength: FloatArray) -> str:
    """The unit of the header, or Angstrom if the values leave no doubt."""
    unit = text(layout.hdu.header, "WAVEUNIT", "WAVUNIT", "WUNIT", "CUNIT1")
    if unit is not None:
        return unit
    if wavelength.size and wavelength.max() > 1500.0 and wavelength.min() > 500.0:
        return "angstrom"
    span = f"{wavelength.min():.6g} to {wavelength.max():.6g}" if wavelength.size else "nowhere"
    raise ReadError(
        "no_unit",
        f"the column {layout.wave} runs from {span} and has no unit; "
        "say which with --unit angstrom, nm, um or log10",
    )
