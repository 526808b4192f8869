"""The spectra of a simulated night: as the SEDM pipeline writes them, and as it should not.

Made of the examples with other noise of the stated size, so that no two are the same.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits

ROOT = Path(__file__).resolve().parent.parent
NIGHTS = ("20261121", "20261122")
# Shares of what is not simply good; the rest is.
SHARES = {
    "slow": 0.08,  # written in pieces, with pauses longer than the service waits
    "truncated": 0.04,  # the writer died: never complete
    "empty": 0.04,  # a failed extraction
    "repaired": 0.03,  # truncated, and written well some seconds later
    "rewritten": 0.04,  # the same content again under the same name
    "redone": 0.02,  # extracted again under the same name, with another result
    "copied": 0.03,  # the same content again under another name
    "standard": 0.02,
    "moving": 0.02,
    "uncalibrated": 0.02,
    "contsep": 0.10,  # the second extraction of an exposure
}
# Header and half of the flux: what is cut before cannot be read.
_HALF_OF_THE_FLUX = 2880 + 214 * 4
BAD = ("truncated", "empty")
STATES = {"standard": "STD", "moving": "MOVING", "uncalibrated": "UNCALIBRATED"}


@dataclass(frozen=True)
class Item:
    """A file of the night, with its text twin.

    Parameters
    ----------
    kind : str
        good, or one of `SHARES`.
    night, stem, obj : str
        Folder, name without ending, object.
    fits, text : bytes
        What it holds in the end; no text for a spectrum that is bad.
    same_as : str or None
        Stem of the file that has the same content.
    """

    kind: str
    night: str
    stem: str
    obj: str
    fits: bytes = field(repr=False)
    text: bytes = field(repr=False)
    same_as: str | None = None

    @property
    def good(self) -> bool:
        """Whether it is to be answered or skipped, and not to be reported as bad."""
        return self.kind not in BAD


class Maker:
    """Makes the files of a night.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._rng = np.random.default_rng(seed)
        self._templates = []
        for path in sorted((ROOT / "examples").glob("spec_auto_robot_*.fits")):
            with fits.open(path) as hdus:
                header, flux = hdus[0].header.copy(), np.array(hdus[0].data)
                self._templates.append((header, flux, np.array(hdus["VARIANCE"].data)))

    def night(self, count: int) -> list[Item]:
        """So many files, in the order in which they are written; two nights, half each."""
        kinds = self._random.choices(
            ["good", *SHARES], [1.0 - sum(SHARES.values()), *SHARES.values()], k=count
        )
        items: list[Item] = []
        for number, kind in enumerate(kinds):
            night = NIGHTS[0] if number < count / 2 else NIGHTS[1]
            # What was copied or extracted again stays as it is from then on.
            closed = {one.same_as for one in items if one.kind == "copied"}
            closed |= {one.stem for one in items if one.kind == "redone"}
            before = [
                one
                for one in items
                if one.kind == "good" and one.night == night and one.stem not in closed
            ]
            if kind in ("contsep", "copied", "rewritten", "redone") and not before:
                kind = "good"
            items.append(self._item(kind, number, night, before))
        return items

    def _item(self, kind: str, number: int, night: str, before: list[Item]) -> Item:
        obj = {"standard": "STD-Feige34"}.get(kind, f"ZTF26a{_letters(number)}")
        seconds = 3 * number
        when = f"{5 + seconds // 3600:02d}_{seconds // 60 % 60:02d}_{seconds % 60:02d}"
        stem = f"spec_auto_robot_lstep1__crr_b_ifu{night}_{when}_{obj}"
        if kind == "empty":
            return Item(kind, night, f"spec_auto_notfluxcal_{when}_failed", obj, b"", b"")
        if kind in ("copied", "rewritten"):
            old = self._random.choice(before)
            stem = old.stem if kind == "rewritten" else old.stem.replace("robot", f"redo{number}")
            return Item(kind, night, stem, old.obj, old.fits, old.text, old.stem)
        if kind == "contsep":
            old = self._random.choice(before)
            obj = old.obj
            stem = old.stem.replace("robot", f"contsep{number}")
        if kind == "redone":
            old = self._random.choice(before)
            obj, stem = old.obj, old.stem
        made, text = self._spectrum(obj, night, when, kind)
        if kind == "truncated":
            made, text = made[: self._random.randrange(100, _HALF_OF_THE_FLUX)], b""
        return Item(kind, night, stem, obj, made, text)

    def _spectrum(self, obj: str, night: str, when: str, kind: str) -> tuple[bytes, bytes]:
        """FITS and text of one spectrum."""
        header, flux, variance = self._random.choice(self._templates)
        header = header.copy()
        header["OBJECT"], header["NAME"] = f"{obj} [A]", obj
        header["OBSDATE"] = f"{night[:4]}-{night[4:6]}-{night[6:]}"
        header["UTC"] = f"2026:325:{when.replace('_', ':')}.0"
        header["FLUXCAL"] = kind != "uncalibrated"
        header["RA_RATE"] = 12.5 if kind == "moving" else 0.0
        header["DEC_RATE"] = 0.0
        noisy = flux + self._rng.normal(size=flux.size) * np.sqrt(np.nan_to_num(variance))
        noisy *= self._rng.uniform(0.5, 2.0)
        second = fits.ImageHDU(variance, name="VARIANCE")
        second.header["CRPIX1"], second.header["CRVAL1"] = 1.0, header["CRVAL1"]
        second.header["CDELT1"] = header["CDELT1"]
        buffer = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(noisy, header), second]).writeto(buffer)
        axis = header["CRVAL1"] + header["CDELT1"] * np.arange(flux.size)
        skipped = ("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "EXTEND")
        lines = [f"# {key}: {header[key]}" for key in header if key not in skipped]
        rows = zip(axis, noisy, variance, strict=True)
        lines += [f"{w:.1f} {f:.3e} {v:.3e}" for w, f, v in rows]
        return buffer.getvalue(), ("\n".join(lines) + "\n").encode()


def _letters(number: int) -> str:
    """A number as ZTF would name an object: aaaa, aaab, ..."""
    return "".join(chr(97 + number // 26**place % 26) for place in (3, 2, 1, 0))
