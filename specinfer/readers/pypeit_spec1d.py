"""PypeIt spec1d files: one table an extracted object."""

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
from specinfer.readers.fits_headers import columns, described, is_air, noise, text, vector
from specinfer.readers.join import Arm, merge
from specinfer.spectrum import Spectrum

NAME = "pypeit-spec1d"
DESCRIPTION = "PypeIt spec1d: one spectrum an object; NGPS's slices are one source"

FloatArray = NDArray[np.float64]

# SPAT0234-SLIT0237-DET01 or MSC01; echelle: OBJ0512-DET01-ORDER0055 in any order.
_NAME = re.compile(r"^(SPAT|OBJ)\d+[-_]")
_SLIT = re.compile(r"SLIT(\d+)")
_OBJ = re.compile(r"^(OBJ\d+).*ORDER\d+|^(OBJ\d+)")
# Flux-calibrated before counts, optimal before boxcar extraction.
_KINDS = (
    ("opt_flam", "opt", True),
    ("box_flam", "box", True),
    ("opt_counts", "opt", False),
    ("box_counts", "box", False),
)
# Slices of one source are joined if they have this part of the best one's S/N.
MIN_SLICE_SNR = 0.1


@dataclass(frozen=True, eq=False)
class _Extraction:
    """One table: its arm, and what was taken from it."""

    name: str
    arm: Arm
    flags: tuple[str, ...]

    @property
    def snr(self) -> float:
        """Median signal to noise of the usable pixels."""
        good = self.arm.ivar > 0
        if not good.any():
            return 0.0
        return float(np.median(self.arm.flux[good] * np.sqrt(self.arm.ivar[good])))


def identify(source: Source) -> bool:
    """Whether the file holds PypeIt's tables of extracted objects."""
    return source.is_fits and bool(_tables(source))


def read(source: Source, options: ReadOptions) -> Iterator[Spectrum | ReadError]:
    """One spectrum an object, in vacuum.

    The slices of NGPS's image slicer (one slit each) are one source: the brightest
    object of each is joined to one spectrum, which keeps the scale of the best one.
    Orders of an echelle spectrograph are joined too.

    Flags: ``BOXCAR`` if there is no optimal extraction, ``NOT_FLUX_CALIBRATED`` if
    the flux is in counts, ``SLICES_JOINED``, ``ORDERS_JOINED``.
    """
    primary = source.hdus[0].header
    found: list[_Extraction | ReadError] = [
        _extraction(hdu, options.noise) for hdu in _tables(source)
    ]
    groups = _groups(found, "ngps" in str(text(primary, "PYP_SPEC", "INSTRUME")).lower())
    target = text(primary, "TARGET", "OBJECT")
    for row, (members, why) in enumerate(groups):
        first = members[0]
        if isinstance(first, ReadError):
            yield ReadError(first.code, first.message, row=row, object=first.object)
            continue
        extractions = [member for member in members if isinstance(member, _Extraction)]
        whole, _ = merge([extraction.arm for extraction in extractions])
        known = described(source, NAME, primary, keep=("PYP_SPEC", "VERSPYP", "DISPNAME"))
        known["header"]["PYPEIT_NAME"] = " ".join(e.name for e in extractions)
        name = target
        if len(groups) > 1:
            name = f"{target}/{first.name}" if target else first.name
        known["object"] = name
        flags = dict.fromkeys(flag for e in extractions for flag in e.flags)
        if why is not None and len(extractions) > 1:
            flags[why] = None
        try:
            yield Spectrum(
                wavelength=whole.wavelength,
                flux=whole.flux,
                ivar=None if options.noise == "none" else whole.ivar,  # type: ignore[arg-type]
                mask=~(whole.ivar > 0),
                unit=options.unit or "angstrom",
                air=is_air(options, False),
                row=row,
                flags=tuple(flags),
                **known,
            )
        except ReadError as error:
            yield ReadError(error.code, error.message, row=row, object=name)


def _tables(source: Source) -> list[Any]:
    found = []
    for hdu in source.hdus[1:]:
        names = columns(hdu)
        has_flux = any(kind in names for kind, _, _ in _KINDS)
        has_wave = "opt_wave" in names or "box_wave" in names
        named = text(hdu.header, "DMODCLS") == "SpecObj" or _NAME.match(hdu.name)
        if has_flux and has_wave and named:
            found.append(hdu)
    return found


def _extraction(hdu: Any, kind: str | None) -> _Extraction | ReadError:
    """The best extraction that a table holds."""
    names = columns(hdu)
    for flux_name, method, calibrated in _KINDS:
        wave_name = f"{method}_wave"
        if flux_name not in names or wave_name not in names:
            continue
        arm = _arm(hdu, names, flux_name, method, kind)
        # A failed optimal extraction is all zero or masked: then the next best.
        if np.any((arm.ivar > 0) & (arm.flux != 0)):
            flags = [] if method == "opt" else [flag.BOXCAR]
            flags += [] if calibrated else [flag.NOT_FLUX_CALIBRATED]
            return _Extraction(hdu.name, arm, tuple(flags))
    return ReadError(
        "no_good_pixels",
        f"neither the optimal nor the boxcar extraction of {hdu.name} has usable pixels; "
        "extract it again",
        object=hdu.name,
    )


def _arm(hdu: Any, names: Mapping[str, str], flux_name: str, method: str, kind: str | None) -> Arm:
    wavelength = vector(hdu, names[f"{method}_wave"])
    flux = vector(hdu, names[flux_name])
    good = np.isfinite(flux) & np.isfinite(wavelength)
    ivar = good.astype(np.float64)
    for suffix, default in (("_ivar", "ivar"), ("_sig", "sigma")):
        if flux_name + suffix in names and kind != "none":
            given = noise(vector(hdu, names[flux_name + suffix]), kind or default)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                ivar = given["ivar"] if "ivar" in given else given["sigma"] ** -2.0
            break
    good &= np.isfinite(ivar) & (ivar > 0)
    if f"{method}_mask" in names:
        good &= vector(hdu, names[f"{method}_mask"]) > 0
    # Pixels off the detector have wavelength 0.
    there = np.isfinite(wavelength) & (wavelength > 0)
    flux, ivar = np.where(good, flux, 0.0), np.where(good, ivar, 0.0)
    wavelength, flux, ivar = wavelength[there], flux[there], ivar[there]
    if wavelength.size > 1 and wavelength[0] > wavelength[-1]:
        wavelength, flux, ivar = wavelength[::-1], flux[::-1], ivar[::-1]
    return Arm(wavelength, flux, ivar)


def _groups(
    found: list[_Extraction | ReadError], slicer: bool
) -> list[tuple[list[_Extraction | ReadError], str | None]]:
    """Extractions that belong to one object, best first, and why they do."""
    good = [item for item in found if isinstance(item, _Extraction)]
    if slicer and len(good) > 1:
        best: dict[str, _Extraction] = {}
        for extraction in sorted(good, key=lambda extraction: -extraction.snr):
            slit = _SLIT.search(extraction.name)
            best.setdefault(slit.group(1) if slit else extraction.name, extraction)
        slices = list(best.values())
        others = [item for item in found if not any(item is member for member in slices)]
        # A slice that the source hardly touches has no scale to be matched by.
        bright = [member for member in slices if member.snr >= MIN_SLICE_SNR * slices[0].snr]
        return [(list(bright), flag.SLICES_JOINED), *(([item], None) for item in others)]
    groups: dict[str, list[_Extraction | ReadError]] = {}
    for number, item in enumerate(found):
        echelle = _OBJ.match(item.name) if isinstance(item, _Extraction) else None
        key = next(filter(None, echelle.groups())) if echelle else f"#{number}"
        groups.setdefault(key, []).append(item)
    return [(members, flag.ORDERS_JOINED) for members in groups.values()]
