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
from specinfer.readers.desi_dates import TargetDates
from specinfer.readers.fits_headers import (
    columns,
    facts,
    is_air,
    mjd,
    named,
    plain,
    shape,
    wanted_rows,
)
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

# Targets that are read and co-added together: many enough that no time goes into the calls,
# few enough to stay small (six arrays of 8,000 pixels each).
_BLOCK = 16


@dataclass(frozen=True, eq=False)
class _Arm:
    """One arm: wavelength (n,), and the images (rows, n), which stay in the file."""

    name: str
    wavelength: FloatArray
    flux: Any
    ivar: Any
    mask: Any | None

    @property
    def rows(self) -> int:
        """Rows of the images."""
        return shape(self.flux)[0]


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
    ``spectra-*.fits``, are averaged by inverse variance too. With ``options.rows`` only
    the targets that first appear in these rows are read.

    Flags: ``MISSING_ARM`` (``header["MISSING_ARMS"]`` names them),
    ``EXPOSURES_COADDED``.

    Raises
    ------
    ReadError
        ``redshift_catalogue`` for a redrock file, ``no_arms`` if no arm is complete.
    """
    arms = _arms(source)
    rows = arms[0].rows
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
    dates = TargetDates(source.hdus)
    file_mjd = mjd(source.hdus[0].header)
    targets = []
    start, stop = wanted_rows(options, rows)
    for members in _targets(kept.get("TARGETID"), rows):
        row = int(members[0])
        if not start <= row < stop:
            continue
        header = shared | {
            name: value
            for name, column in kept.items()
            if (value := plain(column[row])) is not None
        }
        if str(header.get("OBJTYPE", "")).upper() != "SKY" or options.sky:
            targets.append((members, header))

    arrays = _spectra(arms, [members for members, _ in targets], grid)
    for (members, header), (wavelength, flux, ivar) in zip(targets, arrays, strict=True):
        row = int(members[0])
        flags = []
        if missing:
            flags.append(flag.MISSING_ARM)
            header["MISSING_ARMS"] = "".join(missing)
        if len(members) > 1:
            flags.append(flag.EXPOSURES_COADDED)
            header["COADD_NUMEXP"] = len(members)
        name = str(header["TARGETID"]) if "TARGETID" in header else None
        date = dates.mean(header.get("TARGETID"))
        try:
            yield Spectrum(
                wavelength=wavelength,
                flux=flux,
                ivar=ivar,
                unit=options.unit or "angstrom",
                air=is_air(options, False),
                object=name,
                instrument="DESI",
                mjd=file_mjd if date is None else date,
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


def _arms(source: Source) -> list[_Arm]:
    """The arms that have wavelength, flux and ivar; an error if there is none."""
    hdus = {hdu.name: hdu for hdu in source.hdus}
    found: list[_Arm] = []
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
            _Arm(
                name,
                np.asarray(wave.data, dtype=np.float64),
                flux,
                ivar,
                mask if mask is not None and shape(mask) == n else None,
            )
        )
    if not found:
        _refuse(source, incomplete)
    if len({arm.rows for arm in found}) > 1:
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


def _spectra(
    arms: list[_Arm],
    targets: list[IntArray],
    grid: tuple[FloatArray, list[IntArray]] | None,
) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
    """Wavelength, flux and ivar of targets, each given by its rows."""
    for first in range(0, len(targets), _BLOCK):
        block = targets[first : first + _BLOCK]
        read = [_read(arm, block) for arm in arms]
        if grid is None:
            for i in range(len(block)):
                yield _merged(arms, [(flux[i], ivar[i]) for flux, ivar in read])
            continue
        wavelength, indices = grid
        fluxes, ivars = coadd(
            wavelength.size, indices, [flux for flux, _ in read], [ivar for _, ivar in read]
        )
        for flux, ivar in zip(fluxes, ivars, strict=True):
            yield wavelength, flux, ivar


def _read(arm: _Arm, targets: list[IntArray]) -> tuple[FloatArray, FloatArray]:
    """Flux and ivar of some targets in one arm, shape (targets, n); exposures are averaged."""
    members = np.concatenate(targets)
    low, high = int(members.min()), int(members.max()) + 1
    if high - low > 2 * members.size:
        # Far apart: what lies between may be many times as much.
        flux, ivar, mask = (_rows(hdu, members) for hdu in (arm.flux, arm.ivar, arm.mask))
    else:
        flux, ivar, mask = (
            None if hdu is None else hdu.section[low:high][members - low]
            for hdu in (arm.flux, arm.ivar, arm.mask)
        )
    assert flux is not None
    assert ivar is not None
    flux, ivar = flux.astype(np.float64), ivar.astype(np.float64)
    if mask is not None:
        ivar[mask != 0] = 0.0
    if members.size == len(targets):
        return flux, ivar
    every = np.arange(arm.wavelength.size)
    averaged, at = [], 0
    for target in targets:
        part = slice(at, at + target.size)
        at += target.size
        if target.size == 1:
            averaged.append((flux[part][0], ivar[part][0]))
        else:
            same = [every] * target.size
            averaged.append(coadd(every.size, same, list(flux[part]), list(ivar[part])))
    return np.stack([f for f, _ in averaged]), np.stack([i for _, i in averaged])


def _rows(hdu: Any | None, members: IntArray) -> NDArray[Any] | None:
    return None if hdu is None else np.stack([hdu.section[int(row)] for row in members])


def _merged(
    arms: list[_Arm], parts: list[tuple[FloatArray, FloatArray]]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """One target whose arms do not share a grid."""
    whole, _ = merge(
        [
            Arm(arm.wavelength, np.nan_to_num(flux), np.where(np.isfinite(flux), ivar, 0.0))
            for arm, (flux, ivar) in zip(arms, parts, strict=True)
        ],
        match_scale=False,
    )
    return whole.wavelength, whole.flux, whole.ivar
