"""DESI coadd and spectra files: many targets, three overlapping arms.

Layout: https://desidatamodel.readthedocs.io, ``coadd-*.fits`` and ``spectra-*.fits``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specinfer.errors import ReadError
from specinfer.readers import flags as flag
from specinfer.readers.base import ReadOptions, Source
from specinfer.readers.fits_headers import columns, facts, is_air, mjd, named, plain, shape
from specinfer.readers.join import Arm, IntArray, coadd, common_grid, merge
from specinfer.spectrum import Spectrum

NAME = "desi"
DESCRIPTION = "DESI coadd-*.fits and spectra-*.fits: one spectrum a target, arms co-added"

FloatArray = NDArray[np.float64]

# Names of the arms; BRZ, BR and RZ are what desispec calls arms that are co-added.
ARMS = ("B", "R", "Z", "BR", "RZ", "BRZ")
# Columns of the fibre map that are kept with each spectrum.
KEPT = (
    "TARGETID",
    "FIBER",
    "OBJTYPE",
    "COADD_FIBERSTATUS",
    "FIBERSTATUS",
    "TARGET_RA",
    "TARGET_DEC",
    "TILEID",
    "COADD_NUMEXP",
    "COADD_EXPTIME",
    "EXPTIME",
    "NIGHT",
)


@dataclass(frozen=True, eq=False)
class _ArmData:
    """One arm of all rows: wavelength (n,), flux, ivar and mask (rows, n)."""

    name: str
    wavelength: FloatArray
    flux: NDArray[Any]
    ivar: NDArray[Any]
    mask: NDArray[Any] | None


def identify(source: Source) -> bool:
    """Whether the file has DESI's arms, or is a DESI file that lacks them."""
    if not source.is_fits:
        return False
    names = {hdu.name for hdu in source.hdus}
    if any(f"{arm}_WAVELENGTH" in names or f"{arm}_FLUX" in names for arm in ARMS):
        return True
    if _is_catalogue(source):
        return True
    fibermap = columns(named(source.hdus, "FIBERMAP"))
    return "targetid" in fibermap


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """The targets of the file, in the order in which they first appear.

    The arms are averaged by inverse variance where they overlap. They share a grid
    of 0.8 Angstrom, so nothing is resampled. Several exposures of a target, as in
    ``spectra-*.fits``, are averaged by inverse variance too.

    Flags: ``MISSING_ARM`` (``header["MISSING_ARMS"]`` names them),
    ``EXPOSURES_COADDED``.

    Raises
    ------
    ReadError
        ``redshift_catalogue`` for a redrock file, ``no_arms`` if no arm is complete.
    """
    arms = _arms(source)
    rows = arms[0].flux.shape[0]
    present = set("".join(arm.name for arm in arms))
    missing = [name for name in "BRZ" if name not in present]
    grid = common_grid([arm.wavelength for arm in arms])
    fibermap = named(source.hdus, "FIBERMAP")
    table: Any = None if not columns(fibermap) else fibermap.data
    if table is not None and len(table) != rows:
        raise ReadError(
            "bad_content",
            f"the FIBERMAP has {len(table)} rows but the spectra have {rows}; "
            "the file is damaged, fetch it again",
        )
    kept = {} if table is None else {n: table[n] for n in KEPT if n in table.columns.names}
    shared = facts([source.hdus[0].header], ("SURVEY", "PROGRAM", "TILEID", "SPGRP"))
    file_mjd = mjd(source.hdus[0].header)

    for members in _targets(kept.get("TARGETID"), rows):
        row = int(members[0])
        header = shared | {
            name: value
            for name, column in kept.items()
            if (value := plain(column[row])) is not None
        }
        if str(header.get("OBJTYPE", "")).upper() == "SKY" and not options.sky:
            continue
        flags = []
        if missing:
            flags.append(flag.MISSING_ARM)
            header["MISSING_ARMS"] = "".join(missing)
        if len(members) > 1:
            flags.append(flag.EXPOSURES_COADDED)
            header["COADD_NUMEXP"] = len(members)
        name = str(header["TARGETID"]) if "TARGETID" in header else None
        wavelength, flux, ivar = _one(arms, members, grid)
        try:
            yield Spectrum(
                wavelength=wavelength,
                flux=flux,
                ivar=ivar,
                unit=options.unit or "angstrom",
                air=is_air(options, False),
                object=name,
                instrument="DESI",
                mjd=_target_mjd(source, header.get("TARGETID"), file_mjd),
                header=header,
                flags=tuple(flags),
                file=source.name,
                row=row,
                rows=rows,
                reader=NAME,
            )
        except ReadError as error:
            yield ReadError(error.code, error.message, row=row, object=name)


def _is_catalogue(source: Source) -> bool:
    return any(
        hdu.name in ("REDSHIFTS", "ZBEST", "ZCATALOG") and "targetid" in columns(hdu)
        for hdu in source.hdus
    )


def _arms(source: Source) -> list[_ArmData]:
    """The arms that have wavelength, flux and ivar; an error if there is none."""
    hdus = {hdu.name: hdu for hdu in source.hdus}
    found: list[_ArmData] = []
    incomplete: list[str] = []
    for name in ARMS:
        wave, flux, ivar = (hdus.get(f"{name}_{part}") for part in ("WAVELENGTH", "FLUX", "IVAR"))
        if wave is None or flux is None or ivar is None:
            if wave is not None or flux is not None or ivar is not None:
                incomplete.append(name)
            continue
        n = shape(flux)
        if len(n) != 2 or shape(ivar) != n or shape(wave) != n[1:]:
            raise ReadError(
                "shape_mismatch",
                f"arm {name} has wavelengths {shape(wave)}, flux {n} and ivar {shape(ivar)}, "
                "which do not fit together; the file is damaged, fetch it again",
            )
        mask = hdus.get(f"{name}_MASK")
        found.append(
            _ArmData(
                name,
                np.asarray(wave.data, dtype=np.float64),
                flux.data,
                ivar.data,
                mask.data if mask is not None and shape(mask) == n else None,
            )
        )
    if not found:
        _refuse(source, incomplete)
    if len({arm.flux.shape[0] for arm in found}) > 1:
        raise ReadError(
            "shape_mismatch",
            "the arms have different numbers of rows; the file is damaged, fetch it again",
        )
    # An arm beside a co-added BRZ would be counted twice.
    widest = max(found, key=lambda arm: len(arm.name))
    return [widest] if len(widest.name) == 3 else found


def _refuse(source: Source, incomplete: list[str]) -> None:
    if _is_catalogue(source):
        name = Path(source.name).name
        other = name.replace("redrock", "coadd", 1).replace("zbest", "coadd", 1)
        hint = f"{other} (or the spectra- file)" if other != name else "coadd- or spectra- file"
        raise ReadError(
            "redshift_catalogue",
            "this is a table of DESI redshifts, which holds no spectra; "
            f"give the {hint} of the same targets instead",
        )
    names = ", ".join(hdu.name or "PRIMARY" for hdu in source.hdus)
    if not identify(source):
        raise ReadError("wrong_format", f"no DESI file (found {names}); leave --format out")
    what = (
        f"arm {' and '.join(incomplete)} lacks its flux, ivar or wavelengths"
        if incomplete
        else ("none of the arms B, R and Z is there")
    )
    raise ReadError(
        "no_arms", f"a DESI file without spectra: {what} (found {names}); fetch the file again"
    )


def _targets(targetids: Any, rows: int) -> list[NDArray[np.intp]]:
    """Rows of each target, in order of first appearance."""
    if targetids is None:
        return [np.array([row]) for row in range(rows)]
    groups: dict[int, list[int]] = {}
    for row, targetid in enumerate(targetids):
        groups.setdefault(int(targetid), []).append(row)
    return [np.array(members) for members in groups.values()]


def _one(
    arms: list[_ArmData],
    members: NDArray[np.intp],
    grid: tuple[FloatArray, list[IntArray]] | None,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Wavelength, flux and ivar of one target."""
    fluxes, ivars = [], []
    for arm in arms:
        flux = arm.flux[members].astype(np.float64)
        ivar = arm.ivar[members].astype(np.float64)
        if arm.mask is not None:
            ivar[arm.mask[members] != 0] = 0.0
        if len(members) > 1:
            same = [np.arange(arm.wavelength.size)] * len(members)
            combined = coadd(arm.wavelength.size, same, list(flux), list(ivar))
        else:
            combined = flux[0], ivar[0]
        fluxes.append(combined[0])
        ivars.append(combined[1])
    if grid is None:
        whole, _ = merge(
            [
                Arm(arm.wavelength, np.nan_to_num(flux), np.where(np.isfinite(flux), ivar, 0.0))
                for arm, flux, ivar in zip(arms, fluxes, ivars, strict=True)
            ],
            match_scale=False,
        )
        return whole.wavelength, whole.flux, whole.ivar
    wavelength, indices = grid
    return wavelength, *coadd(wavelength.size, indices, fluxes, ivars)


def _target_mjd(source: Source, targetid: Any, fallback: float | None) -> float | None:
    """Mean date of a target's exposures, from EXP_FIBERMAP or FIBERMAP."""
    for name in ("EXP_FIBERMAP", "FIBERMAP"):
        hdu = named(source.hdus, name)
        known = columns(hdu)
        if targetid is None or "mjd" not in known or "targetid" not in known:
            continue
        table = hdu.data
        dates = np.asarray(table[known["mjd"]][table[known["targetid"]] == targetid], dtype=float)
        dates = dates[dates > 0]
        if dates.size:
            return float(np.mean(dates))
    return fallback
